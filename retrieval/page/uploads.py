"""Uploaded pictures by their content, kept for a while, so that the address of a search works again."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

KEPT_HOURS = 24.0
MAX_BYTES = 2 * 2**30
"""Of all uploads together; the oldest go first."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Uploads:
    """Pictures in a folder, named by their SHA-256: who knows a picture's name has seen the picture.

    Args:
        folder: theirs alone.
        hours: after which an upload is forgotten, unless it was uploaded again meanwhile.
        clock: seconds since 1970.
    """

    def __init__(
        self, folder: Path, hours: float = KEPT_HOURS, clock: Callable[[], float] = time.time
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.hours = hours
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()

    def keep(self, data: bytes) -> str:
        """Keep a picture from now on; return its name."""
        name = hashlib.sha256(data).hexdigest()
        with self._lock:
            path = self._folder / name
            part = path.with_suffix(".part")
            part.write_bytes(data)
            os.utime(part, (self._clock(), self._clock()))
            part.replace(path)
            self._forget()
        return name

    def get(self, name: str) -> bytes | None:
        """A picture; None where it was forgotten, or never was."""
        if not _DIGEST.fullmatch(name):
            return None
        path = self._folder / name
        with self._lock:
            try:
                return None if self._is_over(path.stat()) else path.read_bytes()
            except FileNotFoundError:
                return None

    def forget(self) -> None:
        """Forget what is too old, or too much."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        held = 0
        newest_first = sorted(
            ((path, path.stat()) for path in self._folder.iterdir()), key=lambda each: -each[1].st_mtime
        )
        for path, about in newest_first:
            held += about.st_size
            if self._is_over(about) or held > MAX_BYTES:
                path.unlink()

    def _is_over(self, about: os.stat_result) -> bool:
        return self._clock() - about.st_mtime >= 3600 * self.hours
