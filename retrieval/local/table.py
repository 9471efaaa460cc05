"""The gallery's columns in memory, one row an image; a row's position never changes while it is there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.local.keys import Keys, with_room

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
    "checksum": (np.int64, 0),
}
"""Name -> number type, and what stands for a value that is not known."""

ALWAYS = ("ids", "alive")
"""Columns that every row has a value for."""


def has_values(name: str, column: np.ndarray) -> bool:
    """Whether any row of a column is known."""
    missing = np.broadcast_to(column.dtype.type(COLUMNS[name][1]), len(column))
    return not np.array_equal(column, missing, equal_nan=True)


@dataclass(frozen=True)
class Row:
    """One image as the store gives it to the index; `values` are those of `COLUMNS` after `alive`."""

    id: int
    key: str
    embedding: np.ndarray
    values: tuple[float | None, ...]


class Table:
    """Columns that searches filter by and results are made of; one without any value takes no memory.

    A table never changes: adding and removing make another one, which shares the arrays. A removed row stays
    where it is and is no longer `alive`, so that positions can be shared with the vector file and the FAISS
    index. Only the newest table may be added to, by one thread at a time.

    Attributes:
        keys: the rows' names.
        dead: how many of the N rows have been removed.
    """

    def __init__(
        self,
        columns: dict[str, np.ndarray] | None = None,
        keys: Keys | None = None,
        rows: int | None = None,
        dead: int | None = None,
    ) -> None:
        self.keys = Keys.of() if keys is None else keys
        self._rows = len(self.keys) if rows is None else rows
        self._columns = columns or {name: np.zeros(0, COLUMNS[name][0]) for name in ALWAYS}
        self.dead = int(np.count_nonzero(~self["alive"])) if dead is None else dead

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> np.ndarray:
        """A column [N], without a copy."""
        if name in self._columns:
            return self._columns[name][: self._rows]
        kind, missing = COLUMNS[name]
        return np.broadcast_to(np.array(missing, kind), self._rows)

    @property
    def filled(self) -> dict[str, np.ndarray]:
        """The columns that any row has a value for."""
        return {name: self[name] for name in self._columns}

    @property
    def checksum(self) -> int:
        """The sum of the checksums of the rows that are alive."""
        return int(self["checksum"][self["alive"]].sum())

    def key(self, position: int) -> str:
        """The name of a row."""
        return self.keys[position]

    def with_rows(self, rows: Sequence[Row]) -> "Table":
        """This table and rows at its end, by ascending id."""
        start, count = self._rows, self._rows + len(rows)
        columns = self._columns
        for name, column in columns.items():
            # In the dictionary that tables share, so that one column at a time is there twice. An older table
            # that looks into it meets more rows than its own, and what was missing is missing there, too.
            columns[name] = with_room(column, start, count)
        columns["ids"][start:count] = [row.id for row in rows]
        columns["alive"][start:count] = True
        for place, name in enumerate(list(COLUMNS)[2:]):
            kind, missing = COLUMNS[name]
            values = [row.values[place] for row in rows]
            if name not in columns:
                if all(value is None for value in values):
                    continue
                roomy = with_room(np.zeros(0, kind), 0, count)
                roomy[:start] = missing
                columns[name] = roomy
            columns[name][start:count] = [missing if value is None else value for value in values]
        return Table(columns, self.keys.with_keys([row.key for row in rows]), count, self.dead)

    def without(self, ids: Sequence[int]) -> "Table":
        """This table with rows marked as removed; ids that are not in it are passed over."""
        positions = self.positions(ids)
        positions = positions[self["alive"][positions]]
        if not positions.size:
            return self
        alive = self._columns["alive"].copy()
        alive[positions] = False
        return Table({**self._columns, "alive": alive}, self.keys, self._rows, self.dead + len(positions))

    def positions(self, ids: Sequence[int]) -> np.ndarray:
        """Where these ids are, int64, ascending; ids that are not in the table are left out."""
        wanted = np.asarray(ids, np.int64)
        if not len(self) or not wanted.size:
            return np.zeros(0, np.int64)
        found = np.searchsorted(self["ids"], wanted)
        inside = found < len(self)
        return np.unique(found[inside][self["ids"][found[inside]] == wanted[inside]])
