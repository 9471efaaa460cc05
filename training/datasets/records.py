"""What training and evaluation know of one image."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.errors import UserError

UNKNOWN = -1
"""The class index of a colour or type that nobody labelled."""

_MAX_DIGITS = 15
"""Of an id that is kept as a number; longer ones would not fit into 64 bits after joining."""


@dataclass(frozen=True)
class Record:
    """One labelled image of a vehicle.

    Attributes:
        path: the image file.
        vehicle_id: as the data set numbers its vehicles; not a class index.
        camera_id: as the data set numbers its cameras.
        color: index into the colour names, `UNKNOWN` where not labelled.
        type: index into the type names, `UNKNOWN` where not labelled.
        frame: frame number in its camera's video; 0 where the data set has none.
        track: number of the drive past one camera that the image is of, where the data set numbers them.
        orientation: of the vehicle in degrees, where the data set tells it.
        keypoints: float32 [36, 3] of x, y in pixels of the image file and confidence, or None. Left out of
            comparisons, since the same image may be labelled with and without.
    """

    path: Path
    vehicle_id: int
    camera_id: int
    color: int = UNKNOWN
    type: int = UNKNOWN
    frame: int = 0
    track: int | None = None
    orientation: float | None = None
    keypoints: np.ndarray | None = field(default=None, compare=False, repr=False)


def label_map(records: list[Record]) -> dict[int, int]:
    """Number the vehicles of `records` for the identity classifier: vehicle id -> class, in id order.

    Sorted, so that every process and every run over the same data agrees.
    """
    return {vehicle: index for index, vehicle in enumerate(sorted({r.vehicle_id for r in records}))}


def number_ids(texts: Iterable[str]) -> dict[str, int]:
    """Number ids that may be any text: whole numbers as they are, else all by order; empty ones not."""
    ids = sorted({text for text in texts if text})
    if all(text.removeprefix("-").isdecimal() and len(text) <= _MAX_DIGITS for text in ids):
        return {text: int(text) for text in ids}
    return {text: number for number, text in enumerate(ids, start=1)}


def keypoints_of(record: Record) -> np.ndarray:
    """A record's keypoints, float32 [36, 3].

    Raises:
        UserError: it has none.
    """
    if record.keypoints is None:
        raise UserError(
            f"{record.path}: has no keypoint labels, and the model takes keypoints or maps drawn from them; "
            "use one without"
        )
    return record.keypoints
