"""What a connection may cost before and beside a request: how many there are, and how long one may be silent.

uvicorn has a timeout for a connection between two requests alone. A client that connects and says nothing, or
goes silent within a request, or does not read its answer, would else be kept for ever.
"""

import asyncio
import logging
import math
import resource
import time
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS, MAX_PER_ADDRESS = 1000, 500
"""Open at a time; a page has three, and all pages behind one proxy share its address."""

SILENT_SECONDS = 20.0
"""Until a request's head has come, between two pieces of its body, and for a piece of the answer to go."""

HEAD_SECONDS = 20.0
"""For a request's head, however slowly it trickles in."""

_SPARE_FILES = 200
"""Open files that are no connections."""

_LOGGED = 5
"""Lines of one kind in a minute."""


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol with bounds."""

    open: ClassVar[Counter[str]] = Counter()
    """Connections by address, of this process."""
    limit = MAX_CONNECTIONS

    _address: str | None = None
    _timer: asyncio.TimerHandle | None = None
    _head_began: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or hang up."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if self.open.total() >= self.limit or self.open[address] >= MAX_PER_ADDRESS:
            self._address = None
            super().connection_made(transport)
            transport.abort()
            return
        self._address = address
        self.open[address] += 1
        super().connection_made(transport)
        self._head_began = time.monotonic()
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._expect(None)
        if self._address is not None:
            self.open[self._address] -= 1
            if not self.open[self._address]:
                del self.open[self._address]
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        if self._head_began is None and self._is_idle():
            self._head_began = time.monotonic()
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._head_began = None
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._expect(SILENT_SECONDS)

    def resume_writing(self) -> None:
        """Go on answering."""
        super().resume_writing()
        self._watch()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """Set the time until which something has to come; a client may be silent while the service works."""
        if self.flow.write_paused:
            return
        if self._is_idle():
            # Between two requests, uvicorn's own timeout counts.
            left = None if self._head_began is None else self._head_began + HEAD_SECONDS - time.monotonic()
            self._expect(left)
        else:
            self._head_began = None
            self._expect(SILENT_SECONDS if self.cycle.more_body else None)

    def _expect(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(max(0.0, seconds), self._hang_up)

    def _hang_up(self) -> None:
        if self.flow.read_paused and not self.flow.write_paused:
            # The service has not taken yet what came.
            self._expect(SILENT_SECONDS)
        else:
            self.transport.abort()


def raise_file_limit() -> None:
    """Let the process have as many open files as it may, and no more connections than files allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        GuardedProtocol.limit = max(1, min(MAX_CONNECTIONS, soft - _SPARE_FILES))


class SparingFilter(logging.Filter):
    """Lets a few lines of a kind through in a minute, and says how many were left out before the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            # An open page's event stream, as the service stops.
            return False
        kind = (record.pathname, record.lineno, str(record.msg)[:80])
        # Not the record's own time: a clock that is set back would keep the log silent for as long.
        now = time.monotonic()
        began, count = self._seen.get(kind, (-math.inf, 0))
        if now - began >= 60:
            if count > _LOGGED:
                record.msg = f"{record.msg} ({count - _LOGGED} more like it in the last minutes)"
            if len(self._seen) > 1000:
                self._seen.clear()
            began, count = now, 0
        self._seen[kind] = began, count + 1
        return count < _LOGGED


def log_sparingly() -> None:
    """Keep a fault that repeats itself from filling the disk."""
    sparing = SparingFilter()
    for name in ("uvicorn.error", "uvicorn.asgi", "asyncio"):
        logging.getLogger(name).addFilter(sparing)
