"""python -m training.synthesize: procedural vehicles in VeRi layout, or in videos; nothing downloaded."""

import argparse
import json
import os
import sys
from pathlib import Path

from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports

with extra_imports(__name__):
    from training.synthesize.dataset import make_dataset
    from training.synthesize.difficulty import DIFFICULTIES
    from training.synthesize.site_videos import VideoParameters, make_videos
    from training.synthesize.vehicle_pictures import MAX_IDS, Parameters

_PICTURES_A_WORKER = 300
"""With fewer, one more process takes longer to start and to draw the streets anew than it saves."""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        module="training.synthesize",
        examples=[
            "--out data/synthetic --train-ids 1000 --test-ids 100 --images-per-id 12",
            "--out data/site --videos --cameras 4 --vehicles 30 --seconds 300",
        ],
        description=__doc__,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--train-ids", type=int, default=300, help="vehicles to train on (default %(default)s)"
    )
    parser.add_argument("--test-ids", type=int, default=100, help="vehicles to test on (default %(default)s)")
    parser.add_argument(
        "--images-per-id", type=int, default=16, help="pictures of each (default %(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="long side in pixels (default %(default)s)")
    parser.add_argument("--cameras", type=int, default=20, help="cameras in the city (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default %(default)s)")
    parser.add_argument(
        "--difficulty", choices=list(DIFFICULTIES), default="normal", help="default %(default)s"
    )
    parser.add_argument(
        "--plain-share",
        type=float,
        default=0.0,
        help="odds of a vehicle without stripes, stickers and parts of another colour (default %(default)s)",
    )
    parser.add_argument(
        "--lookalike-share",
        type=float,
        default=0.0,
        help="odds that two neighbours are a pair which differs in one small thing (default %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help=f"processes (default: all cores, and of pictures one for each {_PICTURES_A_WORKER} at most)",
    )
    parser.add_argument("--heatmaps", action="store_true", help="also write 36 keypoint heatmaps a picture")
    parser.add_argument("--segments", action="store_true", help="also write 13 surface segments a picture")
    videos = parser.add_argument_group(
        "videos in place of pictures", "an MP4 a camera, boxes in MOTChallenge's format, and journeys"
    )
    videos.add_argument("--videos", action="store_true", help="draw a site of cameras and streets")
    videos.add_argument("--vehicles", type=int, help="that drive through it (default 30)")
    videos.add_argument("--seconds", type=float, help="of each video (default 120)")
    videos.add_argument("--rate", type=int, help="frames a second (default 10)")
    parser.add_argument("--json", action="store_true", help="print a JSON object as the last line")
    return parser


_LIMITS: dict[str, tuple[int, int]] = {
    "train_ids": (0, MAX_IDS),
    "test_ids": (0, MAX_IDS),
    "images_per_id": (2, 1000),
    "size": (32, 1024),
    "cameras": (2, 999),
    "seed": (0, 2**63 - 1),
    "workers": (1, 256),
    "plain_share": (0, 1),
    "lookalike_share": (0, 1),
}
_VIDEO_LIMITS: dict[str, tuple[int, int]] = {
    "vehicles": (1, MAX_IDS),
    "seconds": (1, 86_400),
    "rate": (1, 60),
}
_PICTURES_ONLY = ("train_ids", "test_ids", "images_per_id", "size", "heatmaps", "segments")
_VIDEOS_ONLY = {"vehicles": 30, "seconds": 120.0, "rate": 10}


def _draw_videos(arguments: argparse.Namespace) -> int:
    defaults = _parser().parse_args(["--out", "."])
    for name in _PICTURES_ONLY:
        if getattr(arguments, name) != getattr(defaults, name):
            raise UserError(
                f"--{name.replace('_', '-')}: is of pictures, and --videos draws none; leave one out."
            )
    for name, default in _VIDEOS_ONLY.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    if arguments.workers is None:
        arguments.workers = os.cpu_count() or 1
    shared = ("cameras", "seed", "workers", "plain_share", "lookalike_share")
    _check_limits(arguments, {name: _LIMITS[name] for name in shared} | _VIDEO_LIMITS)
    parameters = VideoParameters(
        seed=arguments.seed,
        cameras=arguments.cameras,
        vehicles=arguments.vehicles,
        seconds=arguments.seconds,
        rate=arguments.rate,
        difficulty=arguments.difficulty,
        plain_share=arguments.plain_share,
        lookalike_share=arguments.lookalike_share,
    )
    made = make_videos(arguments.out, parameters, arguments.workers)
    print(
        f"{arguments.out}: {arguments.cameras} videos, {made['passages']} passages; "
        f"{made['frames_a_second']} frames/s"
    )
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), **made}))
    return 0


def _check_limits(arguments: argparse.Namespace, limits: dict[str, tuple[int, int]]) -> None:
    for name, (low, high) in limits.items():
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} {value}: choose a number from {low} to {high}.")


def _check(arguments: argparse.Namespace) -> None:
    for name in _VIDEOS_ONLY:
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name}: is of videos; give --videos as well, or leave it out.")
    if arguments.workers is None:
        pictures = (arguments.train_ids + arguments.test_ids) * arguments.images_per_id
        arguments.workers = max(1, min(os.cpu_count() or 1, pictures // _PICTURES_A_WORKER))
    _check_limits(arguments, _LIMITS)
    if arguments.train_ids + arguments.test_ids == 0:
        raise UserError("--train-ids 0 --test-ids 0: nothing to make; ask for at least one vehicle.")


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = _parser().parse_args(argv)
    if arguments.videos:
        return _draw_videos(arguments)
    _check(arguments)
    parameters = Parameters(
        seed=arguments.seed,
        train_ids=arguments.train_ids,
        test_ids=arguments.test_ids,
        images_per_id=arguments.images_per_id,
        size=arguments.size,
        difficulty=arguments.difficulty,
        cameras=arguments.cameras,
        heatmaps=arguments.heatmaps,
        segments=arguments.segments,
        plain_share=arguments.plain_share,
        lookalike_share=arguments.lookalike_share,
    )
    make_dataset(arguments.out, parameters, arguments.workers)
    statistics = json.loads((arguments.out / "statistics.json").read_text(encoding="utf-8"))
    print((arguments.out / "statistics.md").read_text(encoding="utf-8"))
    print(f"{arguments.out}: {sum(statistics['images'].values())} images; look at contact_sheet.jpg.")
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), **statistics}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
