"""`python -m benchmarks.site_gallery`: a drawn site's videos through tracker and encoder into a gallery.

The boxes are the truth's, in place of a detector: those of the zoo were trained on photographs, and find few
drawn vehicles. All after it is what `retrieval.ingest --video` does.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.site_truth import TrueDetector, camera_names
from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Facts, GalleryModel
from retrieval.sources.cameras import find_cameras
from retrieval.sources.decoding import VideoFrame, decode, open_video
from retrieval.sources.passes import Pass, Passes
from retrieval.sources.pipeline import ingest
from serving import open_encoder
from zoo.errors import UserError, exit_on_user_error

_START = 1_777_622_400.0
"""8:00 on 1 May 2026, UTC."""
_EXAMPLES = 12


def passes_of(site: Path, camera: int, name: str) -> Iterator[Pass]:
    """The passes of one camera."""
    detector, path = TrueDetector(site / name / "gt" / "gt.txt"), (site / f"{name}.mp4").resolve()
    passes = Passes(path.name, str(path), detector)  # type: ignore[arg-type]
    facts, time = Facts(camera=camera, time=_START), 0.0
    with open_video(str(path)) as container:
        # More frames a second than there are: every one has its boxes.
        for number, frame in enumerate(decode(container, 1000)):
            if not isinstance(frame, VideoFrame):
                raise UserError(f"{path}: {frame.reason}; draw the site again")
            detector.frame, time = number, frame.time
            facts = Facts(camera=camera, time=round(_START + time, 3))
            yield from passes.add(frame, facts)
    yield from passes.finish(facts, time)


def write_examples(gallery: Gallery, folder: Path) -> None:
    """Write the pictures of some passes into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(gallery.pictures(gallery.sample_keys(_EXAMPLES)).values(), 1):
        (folder / f"{number:02}.jpg").write_bytes(picture)


@exit_on_user_error
def main() -> int:
    """Fill the gallery, and print how many passes it has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True, help="of `vehicle-reid synthesize --videos`")
    parser.add_argument("--gallery", required=True)
    parser.add_argument("--model", default="lite0_osnet.real")
    parser.add_argument("--examples", type=Path, help="a folder for pictures to search with")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if not (names := camera_names(args.site)):
        raise UserError(f"{args.site}: no videos in it; draw some with `vehicle-reid synthesize --videos`")
    with closing(open_encoder(args.model)) as encoder:
        model = GalleryModel(encoder.card, encoder.model_hash, args.model)
        with open_gallery(args.gallery, model=model, writable=True) as gallery:
            gallery.set_cameras(find_cameras(args.site))
            for camera, name in enumerate(names, 1):
                ingest(passes_of(args.site, camera, name), gallery, encoder)
            if args.examples is not None:
                write_examples(gallery, args.examples)
            print(json.dumps({"passes": len(gallery)}) if args.json else f"{len(gallery)} passes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
