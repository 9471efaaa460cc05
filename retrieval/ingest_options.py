"""The options of `retrieval.ingest`, and which of them go together."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from retrieval.centring import add_centring
from retrieval.detector_options import add_detector
from retrieval.sources.manifest import COLUMNS
from retrieval.sources.passes import CROPS
from retrieval.sources.pipeline import BATCH_SIZE
from retrieval.sources.streams import is_stream, without_secrets
from zoo.command_line import CommandParser
from zoo.errors import UserError

REPORT_NAME = "ingest-report.json"

_OF_VIDEOS = ("rate", "per", "crops", "camera", "start", "zone", "follow", "seconds", "hardware")


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


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; `rate` has a value where nobody gave one.

    Raises:
        UserError: a value that makes no sense, or an option that would do nothing.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    _check_used(args, parser)
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
    return args


def _check_used(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse options that would do nothing: who gives one counts on it."""

    def given(*names: str) -> str:
        return ", ".join(f"--{name}" for name in names if getattr(args, name) != parser.get_default(name))

    if args.video is None and (idle := given(*_OF_VIDEOS)):
        raise UserError(
            f"{idle}: of a video alone; name one with --video, or leave that out. Pictures have cameras and "
            "times by --manifest"
        )
    if args.detector is None and (idle := given("per", "crops")):
        raise UserError(f"{idle}: needs a detector, such as --detector yolox-nano; else leave that out")
    if args.seconds is not None and not is_stream(args.video):
        video = without_secrets(args.video)
        raise UserError(f"--seconds {args.seconds:g}: ends a stream, which {video} is not; leave it out")
