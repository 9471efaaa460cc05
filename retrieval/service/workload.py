"""How many requests work at a time: others wait in a bounded queue, and what comes beyond is sent away.

The time that a request may take counts from its admission, and goes down to the encoder with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Request

from retrieval.service.rates import is_limited
from serving.encoders.deadline import deadline

REQUEST_SECONDS = 60.0
"""For a request's work."""

WORKING, COMPARING = 8, 1
"""Requests at a time: more are no faster, and each of them holds memory and a thread."""

QUEUED = 100
"""Requests that wait for one of those places."""

HUGE_IMAGES_WAITING = 3
"""Of a service; see `zoo.decoding_memory`."""

RETRY_AFTER = 5
"""Seconds that a request that was sent away should wait."""


class OverloadError(Exception):
    """Too many requests wait already."""

    def __init__(self) -> None:
        super().__init__(
            "the service has more to do than it can; send the request again after the seconds of Retry-After"
        )


class Workload:
    """Places for requests that work.

    Args:
        places: how many work at a time.
        queued: how many may wait for a place.
        patience: seconds that they wait.
    """

    def __init__(self, places: int, queued: int = QUEUED, patience: float = REQUEST_SECONDS / 2) -> None:
        self._places = asyncio.Semaphore(places)
        self._queued, self._patience = queued, patience
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and have it.

        Raises:
            OverloadError: too many wait already, or none became free in time.
        """
        if self._places.locked() and self._waiting >= self._queued:
            raise OverloadError
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise OverloadError from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


def admission() -> Callable[[Request], AsyncIterator[None]]:
    """Make the dependency of all routes that gives a request a place, once its body has come.

    Comparisons, each of which is dozens of encodings, have places of their own; what costs next to nothing
    needs none.
    """
    working, comparing = Workload(WORKING), Workload(COMPARING)

    async def admitted(request: Request) -> AsyncIterator[None]:
        path = request.scope["path"]
        if not is_limited(path):
            yield
            return
        async with (comparing if path.startswith("/api/compare/") else working).place():
            with deadline(REQUEST_SECONDS):
                yield

    return admitted
