"""What one request is called and where its time goes, from the service down to the encoder and its server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from serving.triton.request_id import REQUEST_ID

Stage = Literal["decode", "encode", "search"]
STAGES: tuple[Stage, ...] = ("decode", "encode", "search")
"""Making pixels of images in this process; the network, on a server with all that it does; the gallery."""


@dataclass
class Trace:
    """One request.

    Attributes:
        id: that its log lines and its requests to other servers have.
        seconds: stage -> how long it took; a stage that was not needed is not there.
        verdicts: of its searches.
    """

    id: str
    seconds: dict[Stage, float] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)


_TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def traced(trace: Trace) -> Iterator[Trace]:
    """Let what this thread or task does be a request's."""
    token, id_token = _TRACE.set(trace), REQUEST_ID.set(trace.id)
    try:
        yield trace
    finally:
        _TRACE.reset(token)
        REQUEST_ID.reset(id_token)


def current_trace() -> Trace | None:
    """The request that this thread or task works for, None where it is for nobody in particular."""
    return _TRACE.get()


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Count the time inside as a stage's of the request."""
    trace = _TRACE.get()
    started = time.perf_counter()
    try:
        yield
    finally:
        if trace is not None:
            trace.seconds[name] = trace.seconds.get(name, 0.0) + time.perf_counter() - started
