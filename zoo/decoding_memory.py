"""The memory that a process spends on decoding images: a budget, in which huge images wait for each other.

A file of a few bytes can announce a picture whose decoding takes gigabytes. This file stands alone, as
`preprocess.py` does, for the server's Python backend runs a copy of it.
"""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

MAX_MEMORY = 512 * 2**20
"""Bytes for the huge images that are decoded at a time; one that takes more alone is refused."""

ORDINARY = 128 * 2**20
"""Bytes from which on an image is huge. Others never wait for such."""

LARGE = 20 * 2**20
"""Bytes from which on an image is large; one of 1920x1080 is not. In a service, small ones wait for none."""

_ORDINARY_ROOM, _HUGE_ROOM = 256 * 2**20, 384 * 2**20
"""A huge image that takes more than its room has takes the rest from that of the ordinary ones, and leaves
enough there for any of them."""

_OWN_MAPPING, _ARENAS = 16 * 2**20, 2
"""Bytes from which on freed memory goes back at once, and how many arenas smaller blocks come from."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""


class DecoderBusyError(RuntimeError):
    """So many huge images wait to be decoded that this one is refused; it may be sent again later."""


class _Room:
    """Bytes, given out in the order in which they are asked for."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @property
    def in_use(self) -> bool:
        """Whether somebody has some of it."""
        return self._free < self._size

    @contextmanager
    def taken(self, size: int, max_waiting: int | None = None) -> Iterator[None]:
        if size == 0:
            yield
            return
        turn = object()
        with self._changed:
            must_wait = self._queue or self._free < size
            if max_waiting is not None and must_wait and len(self._queue) >= max_waiting:
                raise DecoderBusyError("too many huge images are being decoded; send this one again later")
            self._queue.append(turn)
            try:
                while self._queue[0] is not turn or self._free < size:
                    self._changed.wait()
            finally:
                self._queue.remove(turn)
                self._changed.notify_all()
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


class DecodingMemory:
    """A budget; a process has one, which is `decoding`.

    Attributes:
        max_waiting: huge images that may wait for their turn, where more are to be refused. None lets them
            wait as long as it takes, which is right for a command.
    """

    def __init__(self) -> None:
        self.max_waiting: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget who has taken what: a forked child has none of the threads that decode."""
        self._ordinary, self._huge = _Room(_ORDINARY_ROOM), _Room(_HUGE_ROOM)

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Wait for room for so many bytes, at most `MAX_MEMORY`, and take it.

        Raises:
            DecoderBusyError: `max_waiting` huge images wait already.
        """
        if size <= ORDINARY:
            with self._ordinary.taken(size):
                if size > LARGE and self._huge.in_use:
                    # Beside a huge image, what earlier ones have left is too much.
                    give_back()
                yield
            return
        own = min(size, _HUGE_ROOM)
        # Ordinary images never wait for the huge room, so that this ends.
        with self._huge.taken(own, self.max_waiting), self._ordinary.taken(size - own):
            # What ordinary ones have left, too.
            give_back()
            try:
                yield
            finally:
                give_back()


decoding = DecodingMemory()
os.register_at_fork(after_in_child=decoding.reset)


def give_back() -> None:
    """Give memory that was freed back to the system: glibc keeps much of it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_at_once() -> None:
    """Have glibc give large blocks back when they are freed, for the life of the process.

    By itself it soon takes blocks of up to 32 MB from its arenas, of which each thread may have one, and each
    of those keeps what was freed: gigabytes, after a burst of large images. What the environment says
    (`MALLOC_MMAP_THRESHOLD_`) stands.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt(_MMAP_THRESHOLD, _OWN_MAPPING)
    # Twice that stays at an arena's end, as glibc has it: pages that are handed out anew take time.
    mallopt(_TRIM_THRESHOLD, 2 * _OWN_MAPPING)
    mallopt(_ARENA_MAX, _ARENAS)
