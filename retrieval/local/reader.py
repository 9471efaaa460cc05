"""Reads of a gallery's database, all of one state of it."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.gallery.entries import ROW, Camera, Entry, Origin
from retrieval.local.rows import CONTENT, entry_of
from retrieval.local.table import UNKNOWN, Row
from zoo.card import Card

CHUNK = 4096
"""Rows read at once when catching up, and values of one query's list."""

_INDEXED = (
    "id, key, embedding, color, type, color_confidence, type_confidence, camera, vehicle_id, track_id, time, "
    "latitude, longitude"
)


@dataclass(frozen=True)
class State:
    """How far a database has gone: an image's id and a removal's number are given once and never again."""

    last_id: int = 0
    last_removal: int = 0


@dataclass(frozen=True)
class Changes:
    """What a database has that was not there in an earlier state.

    Attributes:
        rows: new ones by ascending id, at most `CHUNK`; where there are fewer, there are no more.
        removed: ids.
        state: what somebody has seen who has seen these as well.
    """

    rows: list[Row]
    removed: list[int]
    state: State


class Reader:
    """A connection inside a read transaction: whatever is asked, the answer is of the same state."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._database.execute(sql, values).fetchall()

    def _among(self, columns: str, name: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Columns of the images whose value of `name` is among these."""
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            yield from self._all(f"SELECT {columns} FROM images WHERE {name} IN ({marks})", part)

    def meta(self) -> dict[str, str]:
        """What is recorded of the gallery as a whole."""
        return dict(self._all("SELECT name, value FROM meta"))

    def state(self) -> State:
        """Which state it is."""
        counters = dict(self._all("SELECT name, seq FROM sqlite_sequence"))
        return State(counters.get("images", 0), counters.get("removals", 0))

    def changes(self, since: State, card: Card) -> Changes:
        """What came after a state."""
        colors = {name: index for index, name in enumerate(card.colors)}
        types = {name: index for index, name in enumerate(card.types)}
        removals = self._all("SELECT id FROM removals WHERE sequence > ?", (since.last_removal,))
        found = self._all(
            f"SELECT {_INDEXED} FROM images WHERE id > ? ORDER BY id LIMIT {CHUNK}", (since.last_id,)
        )
        rows = [
            Row(
                image_id,
                key,
                np.frombuffer(embedding, "<f4"),
                (colors.get(color, UNKNOWN), types.get(kind, UNKNOWN), *others),
            )
            for image_id, key, embedding, color, kind, *others in found
        ]
        state = self.state()
        if len(rows) == CHUNK:
            state = State(rows[-1].id, state.last_removal)
        return Changes(rows, [removed for (removed,) in removals], state)

    def knows(self, state: State, key: str) -> bool:
        """Whether this database has gone through that state: its counters are as far, the id is the key's.

        A database that was put back from an older copy has not.
        """
        now = self.state()
        if now.last_id < state.last_id or now.last_removal < state.last_removal:
            return False
        row = self._all("SELECT key FROM images WHERE id = ?", (state.last_id,))
        return not row or row[0][0] == key

    def cameras(self) -> dict[int, Camera]:
        """The cameras that are described, by id."""
        rows = self._all("SELECT id, name, latitude, longitude FROM cameras ORDER BY id")
        return {row[0]: Camera(*row) for row in rows}

    def rows(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """What results are made of: the values of `ROW` by name, in the order of the ids."""
        found = {row[0]: row[1:] for row in self._among(f"id, {', '.join(ROW)}", "id", ids)}
        return [dict(zip(ROW, found[id], strict=True)) for id in ids]

    def ids(self, keys: Sequence[str]) -> dict[str, int]:
        """Of those keys that are there, the ids."""
        return dict(self._among("key, id", "key", keys))

    def embeddings(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Of those keys that are there, the embeddings, float32 [D]."""
        found = self._among("key, embedding", "key", keys)
        return {key: np.frombuffer(embedding, "<f4") for key, embedding in found}

    def origins(self, keys: Sequence[str]) -> dict[str, Origin]:
        """Of those keys that are there, what they were made from."""
        return {key: Origin(*origin) for key, *origin in self._among("key, source, digest", "key", keys)}

    def pictures(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Of those keys that are there, the small JPEGs."""
        jpeg = "key, (SELECT jpeg FROM pictures WHERE pictures.id = images.id)"
        return dict(self._among(jpeg, "key", keys))

    def entries(self, last_id: int, count: int) -> list[tuple[int, Entry]]:
        """The `count` whole entries that follow an id, with their ids."""
        return [
            (row[0], entry_of(row[1], row[2], row[3:]))
            for row in self._all(
                f"SELECT id, key, jpeg, {CONTENT} FROM images JOIN pictures USING (id) WHERE id > ? "
                "ORDER BY id LIMIT ?",
                (last_id, count),
            )
        ]

    def entry(self, key: str) -> Entry | None:
        """One whole entry, None where the gallery does not have the key."""
        rows = self._all(
            f"SELECT key, jpeg, {CONTENT} FROM images JOIN pictures USING (id) WHERE key = ?", (key,)
        )
        return entry_of(rows[0][0], rows[0][1], rows[0][2:]) if rows else None
