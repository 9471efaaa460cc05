"""How often a key may ask: a bucket of tokens for each, which fills at a steady rate."""

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BURST_SECONDS = 2.0
"""A key that was quiet this long may ask for as much at once."""

# What a page loads by the dozen, and what costs next to nothing.
_FREE = ("/api/images/", "/api/case-pictures/", "/api/case-news", "/api/cameras", "/api/openapi.json")
_PAGE_WORK = ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/")


class Rates:
    """The buckets of all keys.

    Args:
        per_second: requests a second, more than 0.
        clock: seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str | None, tuple[float, float]] = {}

    def wait(self, name: str | None) -> float:
        """Take a token of that key: 0, or the seconds until there is one."""
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.get(name, (self._capacity, now))
            tokens = min(self._capacity, tokens + (now - then) * self._per_second)
            taken = tokens >= 1
            self._buckets[name] = (tokens - taken, now)
            return 0.0 if taken else (1 - tokens) / self._per_second

    def charge(self, name: str | None, tokens: float) -> None:
        """Take more tokens than the one of a request that is dear; the next ones wait for it."""
        with self._lock:
            left, then = self._buckets.get(name, (self._capacity, self._clock()))
            self._buckets[name] = (left - tokens, then)


class RateLimit:
    """ASGI middleware behind `Access`: refuses a key that asks too often."""

    def __init__(self, app: ASGIApp, rates: Rates | None) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if self._rates is not None and scope["type"] == "http" and is_limited(scope["path"]):
            name = scope["state"]["caller"].name
            scope["state"]["charge"] = partial(self._rates.charge, name)
            wait = self._rates.wait(name)
            if wait:
                refusal = JSONResponse(
                    {"detail": "this key asks too often; wait as long as Retry-After says"},
                    429,
                    {"Retry-After": str(math.ceil(wait))},
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def charge(request: Any, encodings: int) -> None:
    """Count what a request of several encodings, or one of the page's, costs beyond its first."""
    take = getattr(request.state, "charge", None)
    if take is not None:
        take(encodings - 1)


def is_limited(path: str) -> bool:
    """Whether a request takes a token: what searches, lists, adds, removes or uploads."""
    return path.startswith(_PAGE_WORK) or (path.startswith("/api/") and not path.startswith(_FREE))
