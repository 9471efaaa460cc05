"""Fill a gallery: `python -m retrieval.ingest --images DIR --gallery DIR --encoder SPEC`."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from retrieval.centring import warn_of_traffic
from retrieval.detector_options import open_detector
from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.clock import parse_time, parse_zone
from retrieval.ingest_options import REPORT_NAME, read_arguments
from retrieval.sources.cameras import find_cameras
from retrieval.sources.folder import Walk, lines_of, walk_images
from retrieval.sources.image_list import read_image_list
from retrieval.sources.manifest import read_manifest
from retrieval.sources.pipeline import ingest
from retrieval.sources.scenes import cut_scenes
from retrieval.sources.source import Source
from retrieval.sources.streams import is_stream, without_secrets
from retrieval.sources.video import Shot, read_video
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text


@dataclass(frozen=True)
class Given:
    """What the command is to take in.

    Attributes:
        sources: the images.
        total: how many there are, where that is known beforehand.
        name: what messages call it all.
        folder: where `cameras.json` may lie.
        walk: what a folder holds beside images.
    """

    sources: Iterable[Source]
    total: int | None
    name: str
    folder: Path
    walk: Walk = field(default_factory=Walk)


def open_sources(args: argparse.Namespace) -> Given:
    """Find what the command line names.

    Raises:
        UserError: it is not there, cannot be read, or is empty.
    """
    detector = open_detector(args)
    crops = args.crops if args.per == "pass" and detector is not None else 0
    if args.video is not None:
        return Given(read_video(args.video, _shot(args), detector, crops), None, *_named(args.video))
    walk = Walk()
    found: Iterable[Source]
    if args.images is not None:
        walk = walk_images(args.images)
        found, total, name, folder = walk.files, len(walk.files), str(args.images), args.images
    elif args.manifest is not None:
        rows = read_manifest(args.manifest)
        found, total, name, folder = rows, len(rows), str(args.manifest), args.manifest.parent
    else:
        found, total = read_image_list(sys.stdin, Path(".")), None
        name, folder = "standard input", Path(".")
    if detector is not None:
        found, total = cut_scenes(found, detector), None
    return Given(found, total, name, folder, walk)


def _shot(args: argparse.Namespace) -> Shot:
    zone = parse_zone(args.zone)
    if is_stream(args.video) and args.start is not None:
        raise UserError(f"--start {args.start}: a stream's time is that of the clock; leave it out")
    if args.follow and not Path(args.video).is_dir():
        raise UserError(
            f"--follow: {without_secrets(args.video)} is no folder; new files are waited for in one"
        )
    start = parse_time(args.start or "0", zone)
    return Shot(args.rate, args.camera, start, zone, args.hardware, args.follow, args.seconds)


def _named(video: str) -> tuple[str, Path]:
    """What messages call a video, and where `cameras.json` may lie."""
    if is_stream(video):
        return without_secrets(video), Path(".")
    path = Path(video)
    return video, path if path.is_dir() else path.parent


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when at least one of the images is in the gallery."""
    args = read_arguments(argv)
    is_live = args.video is not None and (args.follow or is_stream(args.video))
    given = open_sources(args)
    cameras = find_cameras(given.folder)
    encoder, model = open_gallery_encoder(args.gallery, args.encoder)
    try:
        with open_gallery(
            args.gallery, model=model, writable=True, index=args.index, camera_centring=args.camera_centring
        ) as gallery:
            gallery.set_cameras(cameras)
            with tqdm(total=given.total, unit="image", desc="ingest", file=sys.stderr) as bar:
                summary = ingest(
                    given.sources,
                    gallery,
                    encoder,
                    fps=args.fps,
                    batch_size=args.batch_size,
                    is_live=is_live,
                    advance=bar.update,
                )
            size = len(gallery)
            warning = warn_of_traffic(gallery)
            report = args.report or gallery.folder / REPORT_NAME
    finally:
        encoder.close()
    content = {
        **asdict(summary),
        "passed_over": given.walk.report(),
        "gallery": args.gallery,
        "size": size,
    }
    if warning:
        content["warning"] = warning
    write_text(report, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    for reason in list(summary.bad.values())[:10]:
        print(f"skipped: {reason}", file=sys.stderr)
    for line in lines_of(given.walk):
        print(f"passed over: {line}", file=sys.stderr)
    print(
        f"{summary.added} added, {summary.known} known, {len(summary.bad)} bad of {summary.found} images in "
        f"{summary.seconds:.1f} s; {args.gallery} holds {size}. Report: {report}"
    )
    if args.json:
        print(json.dumps({**content, "bad": len(summary.bad), "report": str(report)}, ensure_ascii=False))
    if not summary.found and args.detector is not None:
        if is_live:
            return 0
        raise UserError(
            f"{given.name}: the detector finds no vehicle in it; try a --detector-confidence below "
            f"{args.detector_confidence:g}, other --detector-classes, or another --detector"
        )
    if len(summary.bad) == summary.found:
        raise UserError(f"{given.name}: none of the {summary.found} images can be used; see {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
