"""Fill a gallery: `python -m retrieval.ingest --images DIR --gallery DIR --encoder SPEC`."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from retrieval.centring import add_centring, warn_of_traffic
from retrieval.detector_options import add_detector, open_detector
from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.clock import parse_time, parse_zone
from retrieval.sources.cameras import find_cameras
from retrieval.sources.folder import Walk, lines_of, walk_images
from retrieval.sources.image_list import read_image_list
from retrieval.sources.manifest import COLUMNS, read_manifest
from retrieval.sources.passes import CROPS
from retrieval.sources.pipeline import BATCH_SIZE, ingest
from retrieval.sources.scenes import cut_scenes
from retrieval.sources.source import Source
from retrieval.sources.streams import is_stream, without_secrets
from retrieval.sources.video import Shot, read_video
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text

REPORT_NAME = "ingest-report.json"


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


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.ingest",
        section="ingest",
        examples=[
            "--images pictures --gallery build/gallery --encoder build/bundle",
            "--video gate.mp4 --camera 3 --start 2026-05-01T08:00 --zone Asia/Tokyo --gallery build/gallery",
            "--video rtsp://10.0.0.7/stream1 --camera 3 --gallery build/gallery",
        ],
        description="Encode the images of a folder, a table, a stream or a video into a gallery. Run it "
        "again to add what is new; images already there are skipped, and an interrupted run resumes.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    source.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help=f"table, CSV or Parquet, with the columns {', '.join(COLUMNS)}",
    )
    source.add_argument(
        "--stdin",
        action="store_true",
        help="a path a line, or a JSON object with the names of the table's columns",
    )
    source.add_argument(
        "--video",
        metavar="FILE",
        help="frames of a video; of a folder of recordings; or of a stream: rtsp://..., http://...",
    )
    parser.add_argument(
        "--gallery",
        required=True,
        metavar="GALLERY",
        help="a folder, milvus[+tls]://HOST:PORT/NAME, or milvus:FILE.db; made when it is not there",
    )
    parser.add_argument(
        "--encoder",
        metavar="SPEC",
        help="a model's name, a bundle, or triton:grpc://HOST:PORT (default: the gallery's own)",
    )
    parser.add_argument(
        "--fps", type=float, default=25.0, help="of the recordings, for VeRi names (default: 25)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="images encoded at a time"
    )
    parser.add_argument(
        "--index",
        metavar="SPEC",
        help="auto, exact, or a FAISS factory string such as IVF4096,SQ8; in Milvus, one of its kinds, such "
        "as HNSW; the gallery remembers it",
    )
    add_centring(parser)
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help=f"what was done, as JSON (default: {REPORT_NAME} in the gallery's folder, or here)",
    )
    video = parser.add_argument_group("of a video")
    video.add_argument(
        "--rate", type=float, help="frames a second to look at (default: 1; where passes are followed, 5)"
    )
    video.add_argument(
        "--per",
        choices=("pass", "image"),
        default="pass",
        help="with --detector, an entry for each time that a vehicle passes, or for each box (default: pass)",
    )
    video.add_argument(
        "--crops", type=int, default=CROPS, metavar="K", help="that a pass is made of (default: %(default)s)"
    )
    video.add_argument("--camera", type=int, help="whose it is")
    video.add_argument("--start", metavar="TIME", help="of its first frame (default: 0)")
    video.add_argument(
        "--zone",
        default="UTC",
        metavar="NAME",
        help="that --start, and the times in the names of a folder's recordings, are in (default: UTC)",
    )
    video.add_argument("--follow", action="store_true", help="wait for new recordings in the folder")
    video.add_argument(
        "--seconds", type=float, metavar="N", help="end a stream after so many (default: never)"
    )
    video.add_argument(
        "--hardware", metavar="NAME", help="a device that decodes, such as cuda or vaapi, where there is one"
    )
    scenes = parser.add_argument_group("of whole scenes, in pictures and videos")
    add_detector(scenes)
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when at least one of the images is in the gallery."""
    args = build_parser().parse_args(argv)
    if not args.fps > 0:
        raise UserError(f"--fps {args.fps:g}: frames a second have to be more than 0")
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: at least 1")
    if args.rate is None:
        args.rate = 5.0 if args.detector is not None and args.per == "pass" else 1.0
    if args.crops < 1:
        raise UserError(f"--crops {args.crops}: at least 1")
    if not args.rate > 0:
        raise UserError(f"--rate {args.rate:g}: --rate has to be more than 0")
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
                    is_live=args.video is not None and (args.follow or is_stream(args.video)),
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
    if len(summary.bad) == summary.found:
        raise UserError(f"{given.name}: none of the {summary.found} images can be used; see {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
