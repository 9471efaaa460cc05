"""What one request is called and where its time goes, from the service down to the encoder and its server."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from serving.triton.request_id import REQUEST_ID
from serving.triton.spans import Attributes, outgoing_headers, span, start_tracing

__all__ = [
    "STAGES",
    "Stage",
    "Trace",
    "current_trace",
    "outgoing_headers",
    "stage",
    "start_tracing",
    "traced",
]

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
        attributes: that its span has in the end, beside its id.
    """

    id: str
    seconds: dict[Stage, float] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    attributes: Attributes = field(default_factory=dict)


_TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def traced(trace: Trace, name: str = "", caller: Mapping[str, str] | None = None) -> Iterator[Trace]:
    """Let what this thread or task does be a request's.

    Args:
        trace: of the request.
        name: of its span; without one it has none.
        caller: headers of the request, which may tell the span that it belongs to.
    """
    token, id_token = _TRACE.set(trace), REQUEST_ID.set(trace.id)
    try:
        if not name:
            yield trace
            return
        with span(name, "server", caller, {"request_id": trace.id}) as attributes:
            try:
                yield trace
            finally:
                attributes.update(trace.attributes)
                attributes.update(
                    {f"verdict.{each}": trace.verdicts.count(each) for each in sorted(set(trace.verdicts))}
                )
    finally:
        _TRACE.reset(token)
        REQUEST_ID.reset(id_token)


def current_trace() -> Trace | None:
    """The request that this thread or task works for, None where it is for nobody in particular."""
    return _TRACE.get()


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Count the time inside as a stage's of the request; its span is the request's child."""
    trace = _TRACE.get()
    started = time.perf_counter()
    try:
        if trace is None:
            yield
        else:
            with span(name):
                yield
    finally:
        if trace is not None:
            trace.seconds[name] = trace.seconds.get(name, 0.0) + time.perf_counter() - started
