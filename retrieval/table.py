"""The gallery's columns in memory, one row an image; a row's position never changes while it is there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UNKNOWN = -1
"""Class index of an image whose colour or type is not known."""

NO_ID = np.iinfo(np.int64).min
"""Camera, vehicle or track id of an image that has none; no real id can be it."""

COLUMNS: dict[str, tuple[type, float]] = {
    "ids": (np.int64, 0),
    "alive": (np.bool_, False),
    "color": (np.int16, UNKNOWN),
    "type": (np.int16, UNKNOWN),
    "color_confidence": (np.float32, np.nan),
    "type_confidence": (np.float32, np.nan),
    "camera": (np.int64, NO_ID),
    "vehicle": (np.int64, NO_ID),
    "track": (np.int64, NO_ID),
    "time": (np.float64, np.nan),
    "latitude": (np.float64, np.nan),
    "longitude": (np.float64, np.nan),
}
"""Name -> number type, and what stands for a value that is not known."""


@dataclass(frozen=True)
class Row:
    """One image as the store gives it to the index; `values` are those of `COLUMNS` after `alive`."""

    id: int
    key: str
    embedding: np.ndarray
    values: tuple[float | None, ...]


class Table:
    """Columns that searches filter by and results are made of.

    A removed row stays where it is and is no longer `alive`, so that positions can be shared with the vector
    file and the FAISS index. Not thread-safe: the gallery holds its lock around every call.

    Attributes:
        keys: N names.
        dead: how many of the N rows have been removed.
    """

    def __init__(self, columns: dict[str, np.ndarray] | None = None, keys: list[str] | None = None) -> None:
        self.keys: list[str] = keys or []
        self._columns = columns or {name: np.zeros(0, kind) for name, (kind, _) in COLUMNS.items()}
        self.dead = int(np.count_nonzero(~self["alive"]))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column [N], without a copy."""
        return self._columns[name][: len(self.keys)]

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows at the end, by ascending id."""
        start, count = len(self), len(self) + len(rows)
        if count > len(self._columns["ids"]):
            # Doubling, because a gallery that is filled grows by a batch many thousand times.
            room = max(count, 2 * start, 1024)
            for name, column in self._columns.items():
                grown = np.empty(room, column.dtype)
                grown[:start] = column[:start]
                self._columns[name] = grown
        self._columns["ids"][start:count] = [row.id for row in rows]
        self._columns["alive"][start:count] = True
        for place, name in enumerate(list(COLUMNS)[2:]):
            missing = COLUMNS[name][1]
            values = [row.values[place] for row in rows]
            self._columns[name][start:count] = [missing if value is None else value for value in values]
        self.keys.extend(row.key for row in rows)

    def remove(self, ids: Sequence[int]) -> None:
        """Mark rows as removed; ids that are not in the table are passed over."""
        positions = self.positions(ids)
        self.dead += int(np.count_nonzero(self["alive"][positions]))
        self["alive"][positions] = False

    def positions(self, ids: Sequence[int]) -> np.ndarray:
        """Where these ids are, int64, ascending; ids that are not in the table are left out."""
        wanted = np.asarray(ids, np.int64)
        if not len(self) or not wanted.size:
            return np.zeros(0, np.int64)
        found = np.searchsorted(self["ids"], wanted)
        inside = found < len(self)
        return np.unique(found[inside][self["ids"][found[inside]] == wanted[inside]])

    def value(self, name: str, position: int) -> float | int | None:
        """One value as plain Python, None where it is not known."""
        value = self._columns[name][position].item()
        missing = COLUMNS[name][1]
        return None if value == missing or value != value else value  # noqa: PLR0124, NaN alone differs from itself
