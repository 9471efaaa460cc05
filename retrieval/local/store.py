"""The truth of a gallery: one SQLite file in WAL mode, written by one process and read by many."""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retrieval.gallery.entries import Camera, Entry
from retrieval.local import checksums, crops, schema
from retrieval.local.locks import FILE_NAME as LOCK_NAME
from retrieval.local.locks import lock_writer
from retrieval.local.reader import Reader
from retrieval.local.rows import CONTENT, values_of
from zoo.card import Card
from zoo.errors import MORE_FILES, UserError
from zoo.files import lacks_files

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
            raise no_gallery(folder)
        self._mutex = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_open = True
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._identities: dict[Path, tuple[int, int]] = {}
        try:
            with _faults_told(self.path):
                database = self._connect()
                self._prepare(database, writable)
                if writable:
                    # FULL: a commit that returned is on the disk, not in a cache that a power cut empties.
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute("PRAGMA foreign_keys = ON")
                    database.execute(crops.CREATE)
                    self._writer = database
                else:
                    database.execute("PRAGMA query_only = ON")
                    self._idle.append(database)
            lock = [folder / LOCK_NAME] if writable else []
            self._identities = {path: _identity(path) for path in (self.path, *lock)}
        except BaseException:
            self._unlock()
            raise

    def _connect(self) -> sqlite3.Connection:
        name: str | Path = self.path
        if self._is_frozen():
            name = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(
            name, timeout=30, isolation_level=None, check_same_thread=False, uri=isinstance(name, str)
        )

    def _is_frozen(self) -> bool:
        """Whether SQLite's own files cannot be made beside the database, and nobody has made them.

        SQLite reads such a database only when it is told that nobody writes to it. That holds for as long as
        one transaction, which has a connection of its own then.
        """
        if self._lock_file is not None or os.access(self.path.parent, os.W_OK):
            return False
        return not self.path.with_name(f"{FILE_NAME}-wal").exists()

    def _check_place(self) -> None:
        """Refuse to go on with files that are no longer those of the folder: nobody would find them again."""
        for path, identity in self._identities.items():
            try:
                is_same = _identity(path) == identity
            except OSError:
                is_same = False
            if not is_same:
                raise UserError(
                    f"{path}: has been deleted or replaced since this process opened it, so nothing more is "
                    "read or written; put it back, or start this process again"
                )

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
            self._check_place()
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                self._check_place()
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A transaction that reads; its state is that of its first read."""
        with _faults_told(self.path):
            self._check_place()
            database = self._taken()
            try:
                # A connection that was just made is to what was in the place then.
                self._check_place()
                database.execute("BEGIN")
                yield Reader(database)
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                self._give_back(database)

    def _taken(self) -> sqlite3.Connection:
        with self._mutex:
            if self._idle and not self._is_frozen():
                return self._idle.pop()
        database = self._connect()
        database.execute("PRAGMA query_only = ON")
        return database

    def _give_back(self, database: sqlite3.Connection) -> None:
        with self._mutex:
            if self._is_open and not self._is_frozen():
                self._idle.append(database)
                return
        database.close()

    def set_meta(self, values: dict[str, str]) -> None:
        """Record facts about the gallery as a whole."""
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
            schema.seal(database, "meta")

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        rows = [(camera.id, camera.name, camera.latitude, camera.longitude) for camera in cameras]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO cameras VALUES (?, ?, ?, ?)", rows)
            schema.seal(database, "cameras")

    def add(self, entries: Iterable[Entry], card: Card) -> int:
        """Write entries in one transaction; return how many made a change.

        When this returns, they are on the disk. An equal entry is left alone, a different one is replaced.
        """
        changed = 0
        with self._transaction() as database:
            last = database.execute(
                "SELECT max(ifnull((SELECT max(id) FROM images), 0), "
                "ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'images'), 0))"
            ).fetchone()[0]
            for entry in entries:
                values = values_of(entry, card)
                old = database.execute(
                    f"SELECT id, jpeg, {CONTENT} FROM images JOIN pictures USING (id) WHERE key = ?",
                    (entry.key,),
                ).fetchone()
                if old is not None:
                    is_same = old[1:] == (entry.picture, *values)
                    if is_same and crops.are_kept(database, old[0], entry.crops):
                        continue
                    _delete(database, old[0])
                last += 1
                row = (last, entry.key, *values)
                database.execute(
                    f"INSERT INTO images (id, key, {CONTENT}, checksum) VALUES ({'?, ' * len(row)}?)",
                    (*row, checksums.of_values(*row)),
                )
                database.execute(
                    "INSERT INTO pictures VALUES (?, ?, ?)",
                    (last, entry.picture, checksums.of_values(last, entry.picture)),
                )
                crops.write(database, last, entry.crops)
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

    def repair(self) -> list[str]:
        """Take out the images that are not as they were written, and count the others; return their keys.

        Raises:
            UserError: the file is too damaged for that.
        """
        keys = []
        with self._transaction() as database:
            database.execute("REINDEX")
            for image_id, key, is_whole in Reader(database).examined(decode=True):
                if not is_whole:
                    _delete(database, image_id)
                    keys.append(key)
            database.execute(
                "INSERT OR REPLACE INTO sums SELECT 'images', COUNT(*), ifnull(SUM(checksum), 0) FROM images"
            )
            schema.seal(database, "cameras")
        return keys

    def compact(self) -> None:
        """Leave nothing of removed images in the file, and give its space back.

        Raises:
            UserError: somebody else has been reading for half a minute, or there is no space for a copy.
        """
        with self._writing, _faults_told(self.path):
            self._check_place()
            assert self._writer is not None
            self._writer.execute("VACUUM")
            is_busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise UserError(
                f"{self.path.parent}: somebody reads what was there before, so that traces of removed images "
                "are left in its journal; run the command again"
            )

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


def no_gallery(folder: Path) -> UserError:
    """Say that a folder is none, or has none."""
    what = "no gallery there" if folder.exists() else "no such folder"
    return UserError(f"{folder}: {what}; mend the path, or make a gallery with `python -m retrieval.ingest`")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


_CURES = {
    sqlite3.SQLITE_FULL: "free some space, and try again",
    sqlite3.SQLITE_IOERR: "free some space; if there is some, the disk fails: copy the folder to another one",
    sqlite3.SQLITE_CANTOPEN: "mend the permissions of the folder and its files",
    sqlite3.SQLITE_PERM: "mend the permissions of the folder and its files",
    sqlite3.SQLITE_READONLY: "mend the permissions of the folder and its files",
    sqlite3.SQLITE_AUTH: "mend the permissions of the folder and its files",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: wait for it to end, and try again",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: wait for it to end, and try again",
    sqlite3.SQLITE_PROTOCOL: "the file system has no locks: move the gallery to a local disk",
    sqlite3.SQLITE_NOLFS: "the file system takes no files so large: move the gallery to another one",
    sqlite3.SQLITE_NOMEM: "there is not enough memory: end other programs, and try again",
}
"""What helps against faults that are not the file's own."""


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    """Say what a user can do about a full disk or a damaged file."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # Python cannot even read what SQLite says of a fault that has the file's own bytes in it.
        if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError, UnicodeDecodeError):
            raise  # a mistake of ours
        # Such as text that is no UTF-8: SQLite itself has noticed nothing, and gives no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        # It may hold what the file does, line breaks and all.
        reason = " ".join(str(error).split())[:200]
        if code in _CURES:
            cure = MORE_FILES if code == sqlite3.SQLITE_CANTOPEN and lacks_files() else _CURES[code]
            raise UserError(
                f"{path}: {reason}; a step that was under way was not kept, and everything before it is. "
                f"{cure.capitalize()}"
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise UserError(
                f"{path}: not a gallery's database ({reason}); give another folder, or delete the file and "
                "ingest the images again"
            ) from error
        raise UserError(
            f"{path}: is damaged ({reason}); `python -m retrieval.maintenance check --repair --gallery "
            f"{path.parent}` takes out what is, or ingest the images again into a new folder"
        ) from error


def _delete(database: sqlite3.Connection, image_id: int) -> None:
    database.execute("DELETE FROM images WHERE id = ?", (image_id,))
    database.execute("INSERT INTO removals (id) VALUES (?)", (image_id,))
