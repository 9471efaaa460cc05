"""The truth of a gallery: one SQLite file in WAL mode, written by one process and read by many."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from retrieval.entries import Camera, Entry
from retrieval.table import UNKNOWN, Row
from zoo.errors import UserError

SCHEMA_VERSION = 1
# AUTOINCREMENT never gives an id twice, so a reader that knows the last id it has seen, and the last
# removal, catches up by reading what came after.
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cameras (id INTEGER PRIMARY KEY, name TEXT NOT NULL, latitude REAL, longitude REAL);
CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    vehicle_id INTEGER,
    camera INTEGER,
    time REAL,
    color TEXT,
    type TEXT,
    color_probs BLOB NOT NULL,
    type_probs BLOB NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    embedding BLOB NOT NULL
);
CREATE TABLE pictures (id INTEGER PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE, jpeg BLOB NOT NULL);
CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL);
"""
_CONTENT = "vehicle_id, camera, time, color, type, color_probs, type_probs, source, digest, embedding"


class Store:
    """A connection to `gallery.sqlite`, safe to use from several threads.

    A writer holds `writer.lock` for as long as it is open; the lock goes with the process, however it ends.
    """

    def __init__(self, folder: Path, writable: bool) -> None:
        self.path = folder / "gallery.sqlite"
        self._mutex = threading.RLock()
        self._lock_file: IO[bytes] | None = None
        if writable:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock_file = _lock(folder)
            except OSError as error:
                raise UserError(
                    f"{folder}: no gallery can be written there ({error.strerror}); mend the permissions or "
                    "choose another folder"
                ) from error
        elif not self.path.is_file():
            raise UserError(f"{folder}: no gallery there; make one with `python -m retrieval.ingest`")
        try:
            with _faults_told(self.path):
                self._database = sqlite3.connect(
                    self.path, timeout=30, isolation_level=None, check_same_thread=False
                )
                self._prepare(writable)
        except BaseException:
            self._unlock()
            raise

    def _prepare(self, writable: bool) -> None:
        self._database.execute("PRAGMA foreign_keys = ON")
        if not writable:
            self._database.execute("PRAGMA query_only = ON")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and writable:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
        elif version == 0:
            # A writer that had no space for more than the file's name leaves this behind.
            raise UserError(
                f"{self.path.parent}: the gallery is empty; fill it with `python -m retrieval.ingest`"
            )
        elif version != SCHEMA_VERSION:
            raise UserError(
                f"{self.path}: its layout is version {version}, this program reads {SCHEMA_VERSION}; "
                "ingest the images again into a new folder"
            )
        # FULL: a commit that returned is on the disk, not in a cache that a power cut empties.
        self._database.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        with self._connection() as database:
            try:
                database.execute(f"BEGIN {kind}")
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone."""
        with self._mutex, _faults_told(self.path):
            yield self._database

    def _one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        with self._connection() as database:
            return database.execute(sql, values).fetchone()

    def version(self) -> int:
        """A number that changes when another process has committed something."""
        row = self._one("PRAGMA data_version")
        return int(row[0]) if row else 0

    def meta(self) -> dict[str, str]:
        """What is recorded of the gallery as a whole."""
        with self._connection() as database:
            return dict(database.execute("SELECT name, value FROM meta"))

    def set_meta(self, values: dict[str, str]) -> None:
        """Record facts about the gallery as a whole."""
        with self._transaction("IMMEDIATE") as database:
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def cameras(self) -> list[Camera]:
        """The cameras that are described, by id."""
        with self._connection() as database:
            rows = database.execute("SELECT id, name, latitude, longitude FROM cameras ORDER BY id")
            return [Camera(*row) for row in rows]

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        rows = [(camera.id, camera.name, camera.latitude, camera.longitude) for camera in cameras]
        with self._transaction("IMMEDIATE") as database:
            database.executemany("INSERT OR REPLACE INTO cameras VALUES (?, ?, ?, ?)", rows)

    def add(self, entries: Iterable[tuple[Entry, str | None, str | None]]) -> int:
        """Write entries with their colour and type names in one transaction; return how many made a change.

        When this returns, they are on the disk. An equal entry is left alone, a different one is replaced.
        """
        changed = 0
        with self._transaction("IMMEDIATE") as database:
            for entry, color, kind in entries:
                content = (
                    *(entry.vehicle_id, entry.camera, entry.time, color, kind),
                    *(_blob(entry.color_probs), _blob(entry.type_probs)),
                    *(entry.source, entry.digest, _blob(entry.embedding)),
                )
                old = database.execute(
                    f"SELECT id, jpeg, {_CONTENT} FROM images JOIN pictures USING (id) WHERE key = ?",
                    (entry.key,),
                ).fetchone()
                if old is not None:
                    if old[1:] == (entry.picture, *content):
                        continue
                    _delete(database, old[0])
                row = database.execute(
                    f"INSERT INTO images (key, {_CONTENT}) VALUES (?{', ?' * len(content)})",
                    (entry.key, *content),
                )
                database.execute("INSERT INTO pictures VALUES (?, ?)", (row.lastrowid, entry.picture))
                changed += 1
        return changed

    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; return how many there were. When this returns, that is on the disk."""
        removed = 0
        with self._transaction("IMMEDIATE") as database:
            for key in keys:
                row = database.execute("SELECT id FROM images WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    _delete(database, row[0])
                    removed += 1
        return removed

    def changes(
        self, last_id: int, last_removal: int, colors: tuple[str, ...], types: tuple[str, ...]
    ) -> tuple[list[Row], list[int], int]:
        """What one moment's gallery has after `last_id` and `last_removal`.

        Returns:
            the new rows by id, the removed ids, and the sequence number of the newest removal.
        """
        color_index = {name: index for index, name in enumerate(colors)}
        type_index = {name: index for index, name in enumerate(types)}
        with self._transaction() as database:
            removals = database.execute(
                "SELECT sequence, id FROM removals WHERE sequence > ? ORDER BY sequence", (last_removal,)
            ).fetchall()
            found = database.execute(
                "SELECT id, key, vehicle_id, camera, time, color, type, embedding FROM images "
                "WHERE id > ? ORDER BY id",
                (last_id,),
            )
            rows = [
                Row(
                    id=image_id,
                    key=key,
                    vehicle_id=vehicle_id,
                    camera=camera,
                    time=time,
                    color=color_index.get(color, UNKNOWN),
                    type=type_index.get(kind, UNKNOWN),
                    embedding=np.frombuffer(embedding, "<f4"),
                )
                for image_id, key, vehicle_id, camera, time, color, kind, embedding in found
            ]
        newest = removals[-1][0] if removals else last_removal
        return rows, [removed for _, removed in removals], newest

    def digests(self) -> dict[str, str]:
        """Every key with the digest of the file that it was made from."""
        with self._connection() as database:
            return dict(database.execute("SELECT key, digest FROM images"))

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image, None where the gallery does not have the key."""
        row = self._one("SELECT jpeg FROM pictures JOIN images USING (id) WHERE key = ?", key)
        return None if row is None else row[0]

    def close(self) -> None:
        """Close the connection and let the next writer in."""
        with self._mutex:
            self._database.close()
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


def _blob(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()


def _lock(folder: Path) -> IO[bytes]:
    file = open(folder / "writer.lock", "a+b", buffering=0)  # noqa: SIM115 - open as long as the store
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip()
        file.close()
        raise UserError(
            f"{folder}: another process{f' ({holder})' if holder else ''} is writing to this gallery; "
            "wait for it to end, or stop it (searching needs no lock)"
        ) from None
    # The pid is a courtesy; on a full disk the lock holds without it.
    with suppress(OSError):
        file.truncate(0)
        file.write(f"pid {os.getpid()}".encode())
    return file
