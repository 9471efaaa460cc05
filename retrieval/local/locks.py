"""Locks of a gallery's folder: one for the threads of a process, and one that lets a single process write."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from zoo.errors import UserError

FILE_NAME = "writer.lock"


def lock_writer(folder: Path) -> IO[bytes]:
    """Take the lock of a gallery's folder; closing the file gives it back.

    Raises:
        UserError: another process has it, or the file system has no locks.
        OSError: the file cannot be made.
    """
    file = open(folder / FILE_NAME, "a+b", buffering=0)  # noqa: SIM115 - open as long as the store
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip()
        file.close()
        raise UserError(
            f"{folder}: another process{f' ({holder})' if holder else ''} is writing to this gallery; "
            "wait for it to end, or stop it (searching needs no lock)"
        ) from None
    except OSError as error:
        file.close()
        raise UserError(
            f"{folder}: its file system gives no locks ({error.strerror}), without which two processes could "
            "write at once; move the gallery to a local disk, or start the lock service of the network's one"
        ) from error
    # The pid is a courtesy; on a full disk the lock holds without it.
    with suppress(OSError):
        file.truncate(0)
        file.write(f"pid {os.getpid()}".encode())
    return file


class SharedLock:
    """Readers together, or one writer alone; a waiting writer goes before readers that come later.

    Neither may be taken by a thread that has one of them already.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Share the lock with other readers."""
        with self._changed:
            while self._writing or self._writers_waiting:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait for the readers to finish, and keep everybody out."""
        with self._changed:
            self._writers_waiting += 1
            while self._writing or self._readers:
                self._changed.wait()
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
