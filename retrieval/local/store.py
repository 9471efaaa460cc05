"""The truth of a gallery: one SQLite file in WAL mode, written by one process and read by many."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from retrieval.gallery.entries import Camera, Entry
from retrieval.local import schema
from retrieval.local.locks import lock_writer
from retrieval.local.rows import CONTENT, entry_of, values_of
from retrieval.local.table import UNKNOWN, Row
from zoo.card import Card
from zoo.errors import UserError

FILE_NAME = "gallery.sqlite"
CHUNK = 4096
"""Rows read in one transaction when catching up."""

_INDEXED = (
    "id, key, embedding, color, type, color_confidence, type_confidence, camera, vehicle_id, track_id, time, "
    "latitude, longitude"
)


@dataclass(frozen=True)
class Changes:
    """What one moment's gallery has that its reader has not.

    Attributes:
        rows: new ones by ascending id, at most `CHUNK`; where there are fewer, there are no more.
        removed: ids.
        last_removal: the sequence number of the newest removal.
    """

    rows: list[Row]
    removed: list[int]
    last_removal: int


class _Connection:
    """A connection and what one thread at a time holds while it uses it."""

    def __init__(self, path: Path) -> None:
        self.mutex = threading.RLock()
        self.database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)


class Store:
    """Connections to `gallery.sqlite`, safe to use from several threads.

    A writer has one of its own for reading, so that no reader waits for a commit to reach the disk. It holds
    `writer.lock` for as long as it is open; the lock goes with the process, however it ends.
    """

    def __init__(self, folder: Path, writable: bool) -> None:
        self.path = folder / FILE_NAME
        self._lock_file: IO[bytes] | None = None
        if writable:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock_file = lock_writer(folder)
            except OSError as error:
                raise UserError(
                    f"{folder}: no gallery can be written there ({error.strerror}); mend the permissions or "
                    "choose another folder"
                ) from error
        elif not self.path.is_file():
            raise UserError(f"{folder}: no gallery there; make one with `python -m retrieval.ingest`")
        try:
            with _faults_told(self.path):
                self._reads = _Connection(self.path)
                self._prepare(self._reads.database, writable)
                self._writes = _Connection(self.path) if writable else self._reads
                # FULL: a commit that returned is on the disk, not in a cache that a power cut empties.
                self._writes.database.execute("PRAGMA synchronous = FULL")
                self._writes.database.execute("PRAGMA foreign_keys = ON")
                self._reads.database.execute("PRAGMA query_only = ON")
        except BaseException:
            self._unlock()
            raise

    def _prepare(self, database: sqlite3.Connection, writable: bool) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > schema.VERSION:
            raise UserError(
                f"{self.path}: its layout is version {version}, this program reads up to {schema.VERSION}; "
                "update the program"
            )
        if writable and version < schema.VERSION:
            database.execute("PRAGMA journal_mode = WAL")
            schema.migrate(database)
        elif version == 0:
            # A writer that had no space for more than the file's name leaves this behind.
            raise UserError(
                f"{self.path.parent}: the gallery is empty; fill it with `python -m retrieval.ingest`"
            )
        elif version < schema.VERSION:
            self._upgrade()

    def _upgrade(self) -> None:
        """Bring an older file to today's layout; for a moment a reader has to write for that."""
        try:
            Store(self.path.parent, writable=True).close()
        except UserError as error:
            raise UserError(
                f"{self.path}: is of an older version and has to be upgraded once, which failed: {error}"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One that writes."""
        with self._writes.mutex, _faults_told(self.path):
            database = self._writes.database
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def _moment(self) -> Iterator[sqlite3.Connection]:
        """Reads of one state of the database."""
        with self._reads.mutex, _faults_told(self.path):
            database = self._reads.database
            try:
                database.execute("BEGIN")
                yield database
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    def _one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        with self._reads.mutex, _faults_told(self.path):
            return self._reads.database.execute(sql, values).fetchone()

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._reads.mutex, _faults_told(self.path):
            return self._reads.database.execute(sql, values).fetchall()

    def version(self) -> int:
        """A number that changes when another process has committed something."""
        row = self._one("PRAGMA data_version")
        return int(row[0]) if row else 0

    def meta(self) -> dict[str, str]:
        """What is recorded of the gallery as a whole."""
        return dict(self._all("SELECT name, value FROM meta"))

    def set_meta(self, values: dict[str, str]) -> None:
        """Record facts about the gallery as a whole."""
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def cameras(self) -> list[Camera]:
        """The cameras that are described, by id."""
        rows = self._all("SELECT id, name, latitude, longitude FROM cameras ORDER BY id")
        return [Camera(*row) for row in rows]

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        rows = [(camera.id, camera.name, camera.latitude, camera.longitude) for camera in cameras]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO cameras VALUES (?, ?, ?, ?)", rows)

    def add(self, entries: Iterable[Entry], card: Card) -> int:
        """Write entries in one transaction; return how many made a change.

        When this returns, they are on the disk. An equal entry is left alone, a different one is replaced.
        """
        changed = 0
        with self._transaction() as database:
            for entry in entries:
                values = values_of(entry, card)
                old = database.execute(
                    f"SELECT id, jpeg, {CONTENT} FROM images JOIN pictures USING (id) WHERE key = ?",
                    (entry.key,),
                ).fetchone()
                if old is not None:
                    if old[1:] == (entry.picture, *values):
                        continue
                    _delete(database, old[0])
                row = database.execute(
                    f"INSERT INTO images (key, {CONTENT}) VALUES (?{', ?' * len(values)})",
                    (entry.key, *values),
                )
                database.execute("INSERT INTO pictures VALUES (?, ?)", (row.lastrowid, entry.picture))
                changed += 1
        return changed

    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; return how many there were. When this returns, that is on the disk."""
        removed = 0
        with self._transaction() as database:
            for key in keys:
                row = database.execute("SELECT id FROM images WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    _delete(database, row[0])
                    removed += 1
        return removed

    def changes(self, last_id: int, last_removal: int, card: Card) -> Changes:
        """Read what came after `last_id` and `last_removal`, as of one moment."""
        colors = {name: index for index, name in enumerate(card.colors)}
        types = {name: index for index, name in enumerate(card.types)}
        with self._moment() as database:
            removals = database.execute(
                "SELECT sequence, id FROM removals WHERE sequence > ? ORDER BY sequence", (last_removal,)
            ).fetchall()
            found = database.execute(
                f"SELECT {_INDEXED} FROM images WHERE id > ? ORDER BY id LIMIT {CHUNK}", (last_id,)
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
        newest = removals[-1][0] if removals else last_removal
        return Changes(rows, [removed for _, removed in removals], newest)

    def knows(self, last_id: int, last_removal: int, key: str) -> bool:
        """Whether this database has gone through that state: its counters are as far, the id is the key's.

        A database that was put back from an older copy has not.
        """
        counters = dict(self._all("SELECT name, seq FROM sqlite_sequence"))
        if counters.get("images", 0) < last_id or counters.get("removals", 0) < last_removal:
            return False
        row = self._one("SELECT key FROM images WHERE id = ?", last_id)
        return row is None or row[0] == key

    def digests(self, keys: Sequence[str]) -> dict[str, str]:
        """Of those keys that are there, the digests of the files that they were made from."""
        return dict(self._of_keys("key, digest", keys))

    def _of_keys(self, columns: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            yield from self._all(f"SELECT {columns} FROM images WHERE key IN ({marks})", part)

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
        row = self._one(
            f"SELECT key, jpeg, {CONTENT} FROM images JOIN pictures USING (id) WHERE key = ?", key
        )
        return None if row is None else entry_of(row[0], row[1], row[2:])

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image, None where the gallery does not have the key."""
        row = self._one("SELECT jpeg FROM pictures JOIN images USING (id) WHERE key = ?", key)
        return None if row is None else row[0]

    def close(self) -> None:
        """Close the connection and let the next writer in."""
        for connection in {self._reads, self._writes}:
            with connection.mutex:
                connection.database.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    """Say what a user can do about a full disk or a damaged file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"{path}: {error}; nothing of this step was kept, and everything before it is. "
            "Free some space or mend the permissions, and try again"
        ) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # a mistake of ours
        raise UserError(
            f"{path}: not a gallery that can be read ({error}); ingest the images again into a new folder"
        ) from error


def _delete(database: sqlite3.Connection, image_id: int) -> None:
    database.execute("DELETE FROM images WHERE id = ?", (image_id,))
    database.execute("INSERT INTO removals (id) VALUES (?)", (image_id,))
