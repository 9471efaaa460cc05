"""The options that name a detector, alike for every command that has one."""

import argparse
from typing import Any

from retrieval.sources.detector import MIN_SIZE, Detector
from zoo.errors import UserError

_CONFIDENCE = 0.4


def add_detector(parser: Any) -> None:
    """Add the options to a parser or a group of one."""
    parser.add_argument(
        "--detector",
        metavar="NAME_OR_ONNX",
        help="finds vehicles in scenes: a file, or one that `zoo fetch` brought, such as yolox-nano "
        "(default: pictures and frames are taken whole)",
    )
    parser.add_argument(
        "--detector-classes",
        metavar="A,B",
        help="that are vehicles, by name or number (default: its cars, buses, trucks, vans)",
    )
    parser.add_argument(
        "--detector-confidence",
        type=float,
        default=_CONFIDENCE,
        metavar="P",
        help="least score (default: %(default)s)",
    )
    parser.add_argument(
        "--min-size",
        type=int,
        default=MIN_SIZE,
        metavar="PIXELS",
        help="of a vehicle's shorter side in a scene (default: %(default)s)",
    )


def open_detector(args: argparse.Namespace) -> Detector | None:
    """Open the detector that the options name, None where they name none.

    Raises:
        UserError: see `Detector`; a value that makes no sense; or options of a detector without one.
    """
    if not 0 <= args.detector_confidence <= 1:
        raise UserError(f"--detector-confidence {args.detector_confidence:g}: lies between 0 and 1")
    if args.min_size < 2:
        raise UserError(f"--min-size {args.min_size}: at least 2 pixels")
    if args.detector is None:
        values = (args.detector_classes, args.detector_confidence, args.min_size)
        if values != (None, _CONFIDENCE, MIN_SIZE):
            raise UserError(
                "--detector-classes, --detector-confidence and --min-size do nothing without --detector; "
                "name one, such as --detector yolox-nano, or leave them out"
            )
        return None
    classes = args.detector_classes.split(",") if args.detector_classes else None
    return Detector(args.detector, classes, args.detector_confidence, min_size=args.min_size)
