"""Several data sets as one to train on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from training.datasets.layout import read_split
from training.datasets.records import Record

VEHICLES = 1_000_000
CAMERAS = 1_000
TRACKS = 1_000_000
"""Ids of each further data set begin at a multiple of these, so that a person still sees whose they are."""


def read_training(datasets: Sequence[str | Path]) -> list[Record]:
    """Read the training splits of several data sets, one after the other.

    Vehicles, cameras and tracks of different data sets are kept apart: those of the first keep their
    numbers, so that a model trained on it alone and one trained on more know them by the same ones.

    Args:
        datasets: paths, or `name:path`, at least one.

    Raises:
        UserError: see `read_split`.
    """
    joined: list[Record] = []
    for dataset in datasets:
        records = read_split(dataset, "train")
        if joined:
            vehicles = _offset(joined, lambda record: record.vehicle_id, VEHICLES)
            cameras = _offset(joined, lambda record: record.camera_id, CAMERAS)
            tracks = _offset(joined, lambda record: record.track or 0, TRACKS)
            records = [
                replace(
                    record,
                    vehicle_id=record.vehicle_id + vehicles,
                    camera_id=record.camera_id + cameras,
                    track=None if record.track is None else record.track + tracks,
                )
                for record in records
            ]
        joined += records
    return joined


def _offset(records: list[Record], number: Callable[[Record], int], step: int) -> int:
    """The first multiple of `step` above all numbers used so far."""
    return (max(map(number, records)) // step + 1) * step
