"""The truth of a gallery: one SQLite file in WAL mode, written by one process and read by many."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retrieval.gallery.entries import Camera, Entry
from retrieval.local import schema
from retrieval.local.locks import lock_writer
from retrieval.local.reader import Reader
from retrieval.local.rows import CONTENT, values_of
from zoo.card import Card
from zoo.errors import UserError

FILE_NAME = "gallery.sqlite"


class Store:
    """Connections to `gallery.sqlite`, safe to use from several threads.

    Each transaction that reads has a connection of its own, so that no reader waits for another one, or for a
    commit to reach the disk. A writer holds `writer.lock` for as long as it is open; the lock goes with the
    process, however it ends.
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
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_open = True
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        try:
            with _faults_told(self.path):
                database = self._connect()
                self._prepare(database, writable)
                if writable:
                    # FULL: a commit that returned is on the disk, not in a cache that a power cut empties.
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute("PRAGMA foreign_keys = ON")
                    self._writer = database
                else:
                    database.execute("PRAGMA query_only = ON")
                    self._idle.append(database)
        except BaseException:
            self._unlock()
            raise

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)

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
        database = self._writer
        if database is None:
            raise UserError(f"{self.path}: was opened for searching (readonly); open it for writing")
        with self._writing, _faults_told(self.path):
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A transaction that reads; its state is that of its first read."""
        with _faults_told(self.path):
            database = self._taken()
            try:
                database.execute("BEGIN")
                yield Reader(database)
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                self._give_back(database)

    def _taken(self) -> sqlite3.Connection:
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        database = self._connect()
        database.execute("PRAGMA query_only = ON")
        return database

    def _give_back(self, database: sqlite3.Connection) -> None:
        with self._mutex:
            if self._is_open:
                self._idle.append(database)
                return
        database.close()

    def set_meta(self, values: dict[str, str]) -> None:
        """Record facts about the gallery as a whole."""
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

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

    def close(self) -> None:
        """Close the connections and let the next writer in."""
        with self._mutex:
            self._is_open = False
            idle, self._idle = self._idle, []
        for database in idle:
            database.close()
        if self._writer is not None:
            with self._writing:
                self._writer.close()
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
