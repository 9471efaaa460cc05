"""Reads of a gallery's database, all of one state of it."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import ROW, Camera, Entry, Origin
from retrieval.local import checksums, crops
from retrieval.local.rows import CONTENT, entry_of
from retrieval.local.schema import SMALL_TABLES
from retrieval.local.table import UNKNOWN, Row
from zoo.card import Card
from zoo.preprocess import ImageError, decode_image

CHUNK = 4096
"""Rows read at once when catching up, and values of one query's list."""

_IMAGES = f"SELECT id, key, {CONTENT}, checksum FROM images"
_COLUMNS = CONTENT.split(", ")
_PICTURES = "SELECT id, jpeg, checksum FROM pictures"
_INDEXED = (
    *("color_confidence", "type_confidence"),
    *("camera", "vehicle_id", "track_id", "time", "latitude", "longitude"),
)
"""What the table in memory has of an image, besides its class indices and checksum, in that order."""


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

    def _images(self, condition: str, values: Sequence[Any]) -> Iterator["_Image"]:
        """The images that meet a condition, each as it was written.

        Raises:
            sqlite3.DatabaseError: one is not.
        """
        for row in self._all(f"{_IMAGES} {condition}", values):
            image = _image(row)
            if not image.is_whole:
                raise sqlite3.DatabaseError(f"the image {image.key!r} is not as it was written")
            yield image

    def _among(self, name: str, values: Sequence[Any]) -> Iterator["_Image"]:
        """The images whose value of `name` is among these."""
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            yield from self._images(f"WHERE {name} IN ({', '.join('?' * len(part))})", part)

    def _by_id(self, ids: Sequence[int]) -> dict[int, "_Image"]:
        """These images, all of them there."""
        found = {image.id: image for image in self._among("id", ids)}
        if not found.keys() >= set(ids):
            raise sqlite3.DatabaseError("an image is not where it was written")
        return found

    def _jpegs(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The pictures of images that are there, by their ids."""
        found: dict[int, bytes] = {}
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            for row in self._all(f"{_PICTURES} WHERE id IN ({', '.join('?' * len(part))})", part):
                found[row[0]] = row[1]
                # One without a checksum is from before version 3, or no picture at all: a page of another
                # table may stand in its place.
                is_whole = isinstance(row[1], bytes)
                if not is_whole or row[2] not in (None, checksums.of_values(*row[:2])):
                    raise sqlite3.DatabaseError(f"the picture of the image {row[0]} is not as it was written")
        if len(found) != len(set(ids)):
            raise sqlite3.DatabaseError("an image has lost its picture")
        return found

    def _small(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of one of `SMALL_TABLES`."""
        rows = self._all(SMALL_TABLES[table])
        if (len(rows), checksums.of_values(*rows)) != self._sum(table):
            raise sqlite3.DatabaseError(f"the table {table} is not as it was written")
        return rows

    def _sum(self, table: str) -> tuple[int, int]:
        """How many rows were written, and their checksum."""
        rows = self._all("SELECT count, checksum FROM sums WHERE name = ?", (table,))
        if not rows:
            raise sqlite3.DatabaseError(f"the checksum of the table {table} is gone")
        return rows[0][0], rows[0][1]

    def meta(self) -> dict[str, str]:
        """What is recorded of the gallery as a whole."""
        return dict(self._small("meta"))

    def content(self) -> tuple[int, int]:
        """How many images there are, and the sum of their checksums."""
        return self._sum("images")

    def state(self) -> State:
        """Which state it is."""
        counters = dict(self._all("SELECT name, seq FROM sqlite_sequence"))
        last_id, last_removal = _numbers([counters.get(name, 0) for name in ("images", "removals")])
        return State(last_id, last_removal)

    def counted(self) -> tuple[int, int]:
        """The same, counted."""
        rows = self._all("SELECT COUNT(*), ifnull(SUM(checksum), 0) FROM images")
        return rows[0][0], rows[0][1]

    def copy_to(self, path: Path, advance: Callable[[int, int], object]) -> None:
        """Write this state of the whole database into a new file; others go on writing meanwhile.

        Args:
            path: of the file.
            advance: called with the pages that are done and all of them.

        Raises:
            sqlite3.Error: see `Store.reading`; of the disk that is written to as well.
        """
        # The copy is of the state that is read, and from now on that is one.
        self.state()

        def note(_: int, remaining: int, total: int) -> None:
            advance(total - remaining, total)

        with closing(sqlite3.connect(path)) as copy:
            self._database.backup(copy, pages=CHUNK, progress=note)

    def changes(self, since: State, card: Card) -> Changes:
        """What came after a state."""
        colors = {name: index for index, name in enumerate(card.colors)}
        types = {name: index for index, name in enumerate(card.types)}
        removals = self._all("SELECT id FROM removals WHERE sequence > ?", (since.last_removal,))
        found = self._images(f"WHERE id > ? ORDER BY id LIMIT {CHUNK}", (since.last_id,))
        rows = [
            Row(
                image.id,
                image.key,
                np.frombuffer(image.values["embedding"], "<f4"),
                (
                    colors.get(image.values["color"], UNKNOWN),
                    types.get(image.values["type"], UNKNOWN),
                    *(image.values[name] for name in _INDEXED),
                    image.checksum,
                ),
            )
            for image in found
        ]
        state = self.state()
        if len(rows) == CHUNK:
            state = State(rows[-1].id, state.last_removal)
        return Changes(rows, _numbers([removed for (removed,) in removals]), state)

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
        return {row[0]: Camera(*row) for row in self._small("cameras")}

    def rows(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """What results are made of: the values of `ROW` by name, in the order of the ids, which are there."""
        found = self._by_id(ids)
        rows = [{"key": found[id].key, **found[id].values} for id in ids]
        return [{name: row[name] for name in ROW} for row in rows]

    def ids(self, keys: Sequence[str]) -> dict[str, int]:
        """Of those keys that are there, the ids."""
        return {image.key: image.id for image in self._among("key", keys)}

    def embeddings(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Of those keys that are there, the embeddings, float32 [D]."""
        found = self._among("key", keys)
        return {image.key: np.frombuffer(image.values["embedding"], "<f4") for image in found}

    def origins(self, keys: Sequence[str]) -> dict[str, Origin]:
        """Of those keys that are there, what they were made from."""
        found = self._among("key", keys)
        return {image.key: Origin(image.values["source"], image.values["digest"]) for image in found}

    def pictures(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Of those keys that are there, the small JPEGs."""
        ids = self.ids(keys)
        jpegs = self._jpegs(list(ids.values()))
        return {key: jpegs[id] for key, id in ids.items()}

    def holds_passes(self) -> bool:
        """Whether some image is a pass of several."""
        return crops.is_any(self._database)

    def crops(self, keys: Sequence[str]) -> dict[str, tuple[PassCrop, ...]]:
        """Of those keys that are there and are passes, the images that they are made of."""
        ids = self.ids(keys)
        found = self._crops(list(ids.values()))
        return {key: found[id] for key, id in ids.items() if id in found}

    def _crops(self, ids: Sequence[int]) -> dict[int, tuple[PassCrop, ...]]:
        found: dict[int, tuple[PassCrop, ...]] = {}
        for start in range(0, len(ids), CHUNK):
            found |= crops.read(self._database, ids[start : start + CHUNK])
        return found

    def entries(self, ids: Sequence[int]) -> list[Entry]:
        """Whole entries in the order of the ids, all of them there."""
        found = self._by_id(ids)
        return self._entries([found[id] for id in ids])

    def entry(self, key: str) -> Entry | None:
        """One whole entry, None where the gallery does not have the key."""
        found = self._entries(list(self._among("key", [key])))
        return found[0] if found else None

    def examined(self, decode: bool) -> Iterator[tuple[int, str, bool]]:
        """Every image's id and key, and whether it is as it was written, with its picture.

        Args:
            decode: whether pictures are decoded too, which takes a hundred times as long.
        """
        last_id = -1
        while rows := self._all(f"{_IMAGES} WHERE id > ? ORDER BY id LIMIT {CHUNK}", (last_id,)):
            for row in rows:
                is_whole = row[0] > last_id and _image(row).is_whole
                last_id = max(last_id, row[0])
                try:
                    (jpeg,) = self._jpegs([row[0]]).values()
                    parts = [each.picture for each in self._crops([row[0]]).get(row[0], ())]
                    # Who adds images without pictures has none to show.
                    for picture in (jpeg, *parts) if decode else ():
                        if picture:
                            decode_image(picture)
                except (sqlite3.DatabaseError, ImageError):
                    is_whole = False
                yield row[0], str(row[1]), is_whole

    def faults(self) -> list[str]:
        """What SQLite finds wrong, table by table and index by index."""
        found = [str(row[0]) for row in self._all("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else [fault.splitlines()[-1] for fault in found]

    def _entries(self, images: Sequence["_Image"]) -> list[Entry]:
        jpegs = self._jpegs([image.id for image in images])
        made_of = self._crops([image.id for image in images])
        return [
            entry_of(image.key, jpegs[image.id], image.values, made_of.get(image.id, ())) for image in images
        ]


def _numbers(values: Sequence[Any]) -> list[int]:
    """These values, which are whole numbers: a page of another table may stand in the place of theirs."""
    if not all(isinstance(value, int) for value in values):
        raise sqlite3.DatabaseError(
            "a number of the table removals or sqlite_sequence is not as it was written"
        )
    return list(values)


def _image(row: Sequence[Any]) -> "_Image":
    return _Image(row[0], row[1], dict(zip(_COLUMNS, row[2:-1], strict=True)), row[-1])


@dataclass(frozen=True)
class _Image:
    """A row of the table `images`; the values are those of `CONTENT` by name."""

    id: int
    key: str
    values: dict[str, Any]
    checksum: int | None

    @property
    def is_whole(self) -> bool:
        """Whether it is what was written; of a row from before version 3, nobody knows."""
        if self.checksum is None:
            return isinstance(self.values["embedding"], bytes)
        return self.checksum == checksums.of_values(self.id, self.key, *self.values.values())
