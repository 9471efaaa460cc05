"""What training and evaluation know of one image."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.errors import UserError
from zoo.labels import COLORS, TYPES

Attribute = Literal["color", "type"]

UNKNOWN = -1
"""The class index of a colour or type that nobody labelled, or that the classes do not have."""

_WHOLE = re.compile(r"-?[0-9]+")
_WITH_POINT = re.compile(r"^(-?[0-9]+)\.0+$")
_MAX_DIGITS = 15
"""Of an id that is kept as a number; longer ones would not fit into 64 bits after joining."""


@dataclass(frozen=True)
class Record:
    """One labelled image of a vehicle.

    Attributes:
        path: the image file.
        vehicle_id: as the data set numbers its vehicles; not a class index.
        camera_id: as the data set numbers its cameras.
        color: the colour's name, empty where not labelled.
        type: the type's name, likewise.
        frame: frame number in its camera's video; 0 where the data set has none.
        track: number of the drive past one camera that the image is of, where the data set numbers them.
        orientation: of the vehicle in degrees, where the data set tells it.
        keypoints: float32 [36, 3] of x, y in pixels of the image file and confidence, or None. Left out of
            comparisons, since the same image may be labelled with and without.
    """

    path: Path
    vehicle_id: int
    camera_id: int
    color: str = ""
    type: str = ""
    frame: int = 0
    track: int | None = None
    orientation: float | None = None
    keypoints: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Classes:
    """The colours and types that a model or a data set tells apart, in class order; any number, or none."""

    colors: tuple[str, ...]
    types: tuple[str, ...]

    def indices(self, records: Sequence[Record], attribute: Attribute) -> np.ndarray:
        """The class index of each record's `color` or `type`, int64 [N]; `UNKNOWN` where it has none."""
        names = self.colors if attribute == "color" else self.types
        index = {name: number for number, name in enumerate(names)}
        return np.array([index.get(getattr(record, attribute), UNKNOWN) for record in records], np.int64)

    def extended(self, records: Iterable[Record]) -> "Classes":
        """These, and behind them those of records: VeRi's in VeRi's order, then others by name."""
        found = {(record.color, record.type) for record in records}
        colors, types = ({pair[position] for pair in found} - {""} for position in (0, 1))
        return Classes(_joined(self.colors, colors, COLORS), _joined(self.types, types, TYPES))


VERI = Classes(COLORS, TYPES)
NO_CLASSES = Classes((), ())


def _joined(first: tuple[str, ...], others: set[str], known: tuple[str, ...]) -> tuple[str, ...]:
    more = others - set(first)
    return (*first, *(name for name in known if name in more), *sorted(more - set(known)))


def label_map(records: list[Record]) -> dict[int, int]:
    """Number the vehicles of `records` for the identity classifier: vehicle id -> class, in id order.

    Sorted, so that every process and every run over the same data agrees.
    """
    return {vehicle: index for index, vehicle in enumerate(sorted({r.vehicle_id for r in records}))}


def can_match(query: Iterable[Record], gallery: Iterable[Record]) -> bool:
    """Whether any query's vehicle is in the gallery at another camera: without, there are no figures."""
    cameras: dict[int, set[int]] = {}
    for record in gallery:
        cameras.setdefault(record.vehicle_id, set()).add(record.camera_id)
    return any(cameras.get(record.vehicle_id, set()) - {record.camera_id} for record in query)


def number_ids(texts: Iterable[str]) -> dict[str, int]:
    """Number ids that may be any text: whole numbers as they are, else all by order; empty ones not.

    A whole number that a table program has written with a point, as 5001.0, is the same one; digits of other
    scripts than ASCII are text.
    """
    names = {text: _WITH_POINT.sub(r"\1", text) for text in texts if text}
    ids = sorted(set(names.values()))
    if all(_WHOLE.fullmatch(text) and len(text) <= _MAX_DIGITS for text in ids):
        numbers = {text: int(text) for text in ids}
    else:
        numbers = {text: number for number, text in enumerate(ids, start=1)}
    return {text: numbers[name] for text, name in names.items()}


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
