"""One process at a time: a lock that goes with the process, however it ends."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from zoo.errors import UserError

FILE_NAME = "writer.lock"


def lock_writer(folder: Path) -> IO[bytes]:
    """Take the lock of a gallery's folder; closing the file gives it back.

    Raises:
        UserError: another process has it.
        OSError: the file cannot be made.
    """
    file = open(folder / FILE_NAME, "a+b", buffering=0)  # noqa: SIM115 - open as long as the store
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
