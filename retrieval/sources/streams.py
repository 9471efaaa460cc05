"""Videos that go on: a stream, which is opened again when it breaks off, and a folder of recordings."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from retrieval.sources.decoding import Fault, VideoFrame, decode, open_video
from zoo.errors import UserError

SCHEMES = ("rtsp", "rtsps", "http", "https")
SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".flv"})
STALL = 10.0
"""Seconds without data after which a stream is held to have stalled."""

_LONGEST_WAIT = 30.0
_POLL = 2.0
_STEP = 1.0
"""Seconds by which the clock is off before the frames' times follow it."""

_SECRET = re.compile(r"pass|pwd|token|secret|auth|user|key", re.IGNORECASE)
_NAMED_TIME = re.compile(r"(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_.T ]?(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)")


def is_stream(address: str) -> bool:
    """Whether a video is named by an address, not by a path.

    Raises:
        UserError: an address of another kind.
    """
    scheme, mark, _ = address.partition("://")
    if mark and scheme.lower() not in SCHEMES:
        raise UserError(f"{scheme}://: streams are opened by {', '.join(f'{name}://' for name in SCHEMES)}")
    return bool(mark)


def without_secrets(address: str) -> str:
    """A stream's address as it may be shown and kept: without user, password and tokens."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    query = [(name, value) for name, value in parse_qsl(parts.query) if not _SECRET.search(name)]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query), ""))


@dataclass
class Connection:
    """How a stream is held.

    Attributes:
        rate: frames a second that are looked at.
        hardware: see `open_video`.
        seconds: after which it ends; None for never.
        stall: seconds without data after which it is opened again.
        tell: takes what people should know of it.
        now: seconds since 1970.
        steady: seconds by a clock that nobody sets.
        sleep: waits.
    """

    rate: float
    hardware: str | None = None
    seconds: float | None = None
    stall: float = STALL
    tell: Callable[[str], object] = lambda text: print(text, file=sys.stderr)
    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep

    def is_over(self, started: float) -> bool:
        """Whether a stream that was started then has had its time."""
        return self.seconds is not None and self.steady() - started >= self.seconds

    def clock(self) -> float:
        """What the clock shows beyond the steady one; it changes when somebody sets the clock."""
        return self.now() - self.steady()


def follow(address: str, connection: Connection) -> Iterator[VideoFrame]:
    """Open a stream, and yield its frames with times since 1970, opened again for as long as it takes.

    Waits a second before it tries again, then twice as long each time, up to half a minute. A recording that
    is served, of which the end is known, is read once.

    Raises:
        UserError: it cannot be opened the first time.
    """
    try:
        container = open_video(address, connection.hardware, connection.stall)
    except (OSError, ValueError) as error:
        reason = _reason(error, connection.stall)
        name = without_secrets(address)
        raise UserError(f"{name}: cannot be opened ({reason}); check the address") from None
    return _followed(container, address, connection)


def _followed(container: Any, address: str, connection: Connection) -> Iterator[VideoFrame]:
    name, wait, last = without_secrets(address), 1.0, 0.0
    started = connection.steady()
    while True:
        try:
            container = container or open_video(address, connection.hardware, connection.stall)
            with container:
                anchor: float | None = None
                clock = connection.clock()
                for found in decode(container, connection.rate):
                    if isinstance(found, Fault):
                        connection.tell(f"{name}: {found.reason}")
                        continue
                    if anchor is None:
                        # A clock that was set back must not give a time twice.
                        anchor = max(connection.now(), last + 0.001) - found.time
                    if abs(step := connection.clock() - clock) > _STEP:
                        # As on a machine that learns the time only after its start.
                        anchor, clock = max(anchor + step, last + 0.001 - found.time), clock + step
                    last, wait = anchor + found.time, 1.0
                    yield replace(found, time=last)
                    if connection.is_over(started):
                        return
                if container.duration and container.duration > 0:
                    return
            reason = "it ended"
        except (OSError, ValueError) as error:
            reason = _reason(error, connection.stall)
        if connection.is_over(started):
            return
        container = None
        connection.tell(f"{name}: {reason}; trying again in {wait:.0f} s")
        connection.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def _reason(error: Exception, stall: float) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {stall:g} s"
    return getattr(error, "strerror", None) or str(error)


def recordings(folder: Path, stays: bool, sleep: Callable[[float], object] = time.sleep) -> Iterator[Path]:
    """Find the video files of a folder and the folders in it, by name, and new ones as they come.

    Args:
        folder: to look in.
        stays: keeps looking for new files for ever; one that still grows is left until it has its size for
            two looks.
        sleep: waits between two looks.

    Raises:
        UserError: no such file, and not `stays`.
    """
    if stays:
        return _watched(folder, sleep)
    if found := _videos(folder):
        return iter(found)
    raise UserError(f"{folder}: no videos in it (looked for {', '.join(sorted(SUFFIXES))})")


def _watched(folder: Path, sleep: Callable[[float], object]) -> Iterator[Path]:
    done: set[Path] = set()
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = {path: _state(path) for path in _videos(folder)}
        for path, state in now.items():
            if path not in done and before.get(path) == state:
                done.add(path)
                yield path
        # What was taken away may come again under its name.
        done &= now.keys()
        before = now
        sleep(_POLL)


def _videos(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def named_time(name: str, zone: tzinfo = UTC) -> float | None:
    """Seconds since 1970 of the moment that a recording's name tells: `gate_2026-05-01_08-00-00.mp4`."""
    if (found := _NAMED_TIME.search(name)) is None:
        return None
    with_zone = [int(part) for part in found.groups()]
    try:
        return datetime(*with_zone[:6], tzinfo=zone).timestamp()  # type: ignore[arg-type, misc]
    except ValueError:
        return None
