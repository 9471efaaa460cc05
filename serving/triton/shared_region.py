"""Memory that another process of this host can map: POSIX shared memory, as Linux keeps it in /dev/shm."""

import mmap
import os
import secrets
from pathlib import Path

from zoo.errors import UserError

_FOLDER = Path("/dev/shm")


class SharedRegion:
    """A region, until `unlink` open to this user's processes by its key.

    The standard library's SharedMemory would start a process that watches over names; here a name lives for
    the moment that the server needs it. And where /dev/shm is full, it fails at the first write, by a signal.

    Args:
        size: in bytes.

    Attributes:
        name: what the server calls it.
        key: what the server opens it by.
        memory: its bytes.

    Raises:
        UserError: there is no room, or no shared memory on this system.
    """

    def __init__(self, size: int) -> None:
        self.name = f"vehicle_reid_client_{os.getpid()}_{secrets.token_hex(8)}"
        self.key = f"/{self.name}"
        self._path = _FOLDER / self.name
        try:
            file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refusal(size, error) from error
        try:
            os.posix_fallocate(file, 0, size)
            self.memory = mmap.mmap(file, size)
        except OSError as error:
            self.unlink()
            raise self._refusal(size, error) from error
        finally:
            os.close(file)

    def unlink(self) -> None:
        """Take its name away; who has it mapped keeps it."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let it go."""
        self.unlink()
        self.memory.close()

    def _refusal(self, size: int, error: OSError) -> UserError:
        return UserError(
            f"{self._path}: no shared memory of {size} bytes ({error.strerror}); make room there (in "
            "a container, --shm-size), or leave transport=shared-memory out"
        )
