"""How many requests work at a time: others wait in a bounded queue, and what comes beyond is sent away.

The time that a request may take counts from its admission, and goes down to the encoder with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.datastructures import UploadFile

from retrieval.service.rates import is_limited
from serving.encoders.deadline import deadline
from zoo.decoding_memory import LARGE, MAX_MEMORY, ORDINARY
from zoo.preprocess import MAX_BYTES, memory_needed

REQUEST_SECONDS = 60.0
"""For a request's work."""

WORKING, WITH_LARGE, WITH_HUGE, COMPARING = 8, 4, 2, 1
"""Requests at a time: more are no faster, and each of them holds memory and a thread. Those with large images
have places of their own, so that others never wait for them."""

QUEUED = 100
"""Requests that wait for one of those places."""

HUGE_IMAGES_WAITING = 4
"""Requests with such, or images of other roads; see `zoo.decoding_memory`."""

_LOOKING = 2
"""Threads that look at the headers of images."""

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

    Comparisons, each of which is dozens of encodings, and large images have places of their own; what costs
    next to nothing needs none.
    """
    working, comparing = Workload(WORKING), Workload(COMPARING)
    with_large, with_huge = Workload(WITH_LARGE), Workload(WITH_HUGE, HUGE_IMAGES_WAITING)
    looking = CapacityLimiter(_LOOKING)

    async def workload_of(request: Request) -> Workload:
        if request.scope["path"].startswith("/api/compare/"):
            return comparing
        form = (await request.form()).multi_items()
        files = [value.file for _, value in form if isinstance(value, UploadFile)]
        memory, size = await to_thread.run_sync(_needed, files, limiter=looking) if files else (0, 0)
        if memory > MAX_MEMORY:  # which is refused at once
            return working
        return with_huge if memory > ORDINARY else with_large if memory + size > LARGE else working

    async def admitted(request: Request) -> AsyncIterator[None]:
        if not is_limited(request.scope["path"]):
            yield
            return
        async with (await workload_of(request)).place():
            with deadline(REQUEST_SECONDS):
                yield

    return admitted


def _needed(files: Sequence[BinaryIO]) -> tuple[int, int]:
    """Bytes to decode the largest image of some files, and of the files."""
    memory = size = 0
    for file in files:
        data = file.read(MAX_BYTES + 1)
        file.seek(0)
        memory, size = max(memory, memory_needed(data)), size + len(data)
    return memory, size
