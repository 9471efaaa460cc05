"""Options that several commands share, and the values they take; light, so that `--help` answers at once."""

import argparse
from pathlib import Path
from typing import Literal

RECIPES = Path(__file__).parent / "recipes"
"""The recipes that come with the project."""

RANKS = (1, 5, 10)
"""Of the cumulative match characteristic, where nothing else is asked for."""

TRAIN_OPTIONS = (
    *("data_root", "evaluate_on", "recipe", "gpus", "npus", "cpus", "nnodes", "rdzv_endpoint", "rdzv_id"),
    *("seed", "out", "overwrite", "resume", "checkpoint_every", "threads", "profile", "json"),
)
"""Options of `training.launch` that no recipe has."""

Level = Literal["O0", "O1", "O2", "bf16"]
"""Of mixed precision; see `training.distributed.amp`."""


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Give a command the data set that it reads."""
    parser.add_argument(
        "--data-root", required=True, metavar="[NAME:]PATH", help="a data set (docs/datasets.md)"
    )


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command the options whose values `training.distributed.devices` chooses by."""
    devices = parser.add_mutually_exclusive_group()
    for name in ("gpus", "npus", "cpus"):
        what = f"{name[:-1].upper()} processes" if name == "cpus" else f"{name[:-1].upper()}s"
        devices.add_argument(
            f"--{name}", type=int, metavar="N", help=f"number of {what} [what the machine has]"
        )
