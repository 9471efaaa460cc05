"""`python -m benchmarks.site_gallery`: a drawn site's videos through tracker and encoder into a gallery.

With `--detector` that is what `retrieval.ingest --video` does for each camera. Without one the boxes are the
truth's, and all after them is the same.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from benchmarks.site_truth import TrueDetector, camera_names
from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Facts, GalleryModel
from retrieval.sources.cameras import find_cameras
from retrieval.sources.decoding import VideoFrame, decode, open_video
from retrieval.sources.detector import Detector
from retrieval.sources.passes import CROPS, Pass, Passes
from retrieval.sources.pipeline import ingest
from retrieval.sources.source import Source
from retrieval.sources.video import Shot, read_video
from serving import open_encoder
from zoo.errors import UserError, exit_on_user_error

_START = 1_777_622_400.0
"""8:00 on 1 May 2026, UTC."""
_RATE = 5.0
"""Frames a second that a detector looks at."""


def sources_of(site: Path, camera: int, name: str, detector: Detector | None) -> Iterable[Source]:
    """The passes of one camera, by a detector's boxes or the truth's."""
    if detector is None:
        return true_passes(site, camera, name)
    shot = Shot(rate=_RATE, camera=camera, start=_START)
    return read_video(str(site / f"{name}.mp4"), shot, detector, CROPS)


def true_passes(site: Path, camera: int, name: str) -> Iterator[Pass]:
    """The passes of one camera by the truth's boxes."""
    detector, path = TrueDetector(site / name / "gt" / "gt.txt"), (site / f"{name}.mp4").resolve()
    passes = Passes(path.name, str(path), detector.confidence)
    facts, time = Facts(camera=camera, time=_START), 0.0
    with open_video(str(path)) as container:
        # More frames a second than there are: every one has its boxes.
        for number, frame in enumerate(decode(container, 1000)):
            if not isinstance(frame, VideoFrame):
                raise UserError(f"{path}: {frame.reason}; draw the site again")
            detector.frame, time = number, frame.time
            facts = Facts(camera=camera, time=round(_START + time, 3))
            yield from passes.add(frame, facts, detector.find())
    yield from passes.finish(facts, time)


@exit_on_user_error
def main() -> int:
    """Fill the gallery, and print how many passes it has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True, help="of `vehicle-reid synthesize --videos`")
    parser.add_argument("--gallery", required=True)
    parser.add_argument("--model", default="lite0_osnet.real")
    parser.add_argument("--detector", help="an ONNX file, or a name of the zoo (default: the truth's boxes)")
    parser.add_argument("--confidence", type=float, default=0.4, help="of the detector (default 0.4)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if not (names := camera_names(args.site)):
        raise UserError(f"{args.site}: no videos in it; draw some with `vehicle-reid synthesize --videos`")
    detector = Detector(args.detector, confidence=args.confidence) if args.detector else None
    with closing(open_encoder(args.model)) as encoder:
        model = GalleryModel(encoder.card, encoder.model_hash, args.model)
        with open_gallery(args.gallery, model=model, writable=True) as gallery:
            gallery.set_cameras(find_cameras(args.site))
            for camera, name in enumerate(tqdm(names, unit="camera", desc="videos", file=sys.stderr), 1):
                ingest(sources_of(args.site, camera, name, detector), gallery, encoder)
            print(json.dumps({"passes": len(gallery)}) if args.json else f"{len(gallery)} passes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
