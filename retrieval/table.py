"""The gallery's columns in memory, one row an image, in the order of the vectors of the index."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

UNKNOWN = -1
"""Class index of an image whose colour or type is not known."""

NO_ID = np.iinfo(np.int64).min
"""Camera or vehicle id of an image that has none; no real id can be it."""


@dataclass(frozen=True)
class Row:
    """One image as the store gives it to the index."""

    id: int
    key: str
    vehicle_id: int | None
    camera: int | None
    time: float | None
    color: int
    type: int
    embedding: np.ndarray


@dataclass
class Table:
    """Columns that searches filter by and results are made of.

    Attributes:
        ids: int64 [N], ascending: the store counts up and never gives an id again.
        keys: N names.
        color, type: int16 [N], class indices, `UNKNOWN` where not known.
        camera, vehicle: int64 [N], `NO_ID` where not known.
        time: float64 [N] seconds, NaN where not known.
    """

    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    keys: list[str] = field(default_factory=list)
    color: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    type: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    camera: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    vehicle: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    time: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float64))

    def __len__(self) -> int:
        return len(self.keys)

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows at the end."""

        def extended(column: np.ndarray, values: list[object]) -> np.ndarray:
            return np.concatenate([column, np.array(values, column.dtype)])

        self.ids = extended(self.ids, [row.id for row in rows])
        self.keys.extend(row.key for row in rows)
        self.color = extended(self.color, [row.color for row in rows])
        self.type = extended(self.type, [row.type for row in rows])
        self.camera = extended(self.camera, [NO_ID if row.camera is None else row.camera for row in rows])
        self.vehicle = extended(
            self.vehicle, [NO_ID if row.vehicle_id is None else row.vehicle_id for row in rows]
        )
        self.time = extended(self.time, [np.nan if row.time is None else row.time for row in rows])

    def drop(self, positions: np.ndarray) -> None:
        """Take rows out; the others keep their order."""
        keep = np.ones(len(self), bool)
        keep[positions] = False
        self.ids = self.ids[keep]
        self.keys = [key for key, kept in zip(self.keys, keep, strict=True) if kept]
        self.color = self.color[keep]
        self.type = self.type[keep]
        self.camera = self.camera[keep]
        self.vehicle = self.vehicle[keep]
        self.time = self.time[keep]

    def positions(self, ids: Sequence[int]) -> np.ndarray:
        """Where these ids are, int64; ids that are not in the table are left out."""
        wanted = np.asarray(ids, np.int64)
        if not len(self) or not wanted.size:
            return np.zeros(0, np.int64)
        found = np.searchsorted(self.ids, wanted)
        inside = found < len(self)
        return np.unique(found[inside][self.ids[found[inside]] == wanted[inside]])
