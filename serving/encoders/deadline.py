"""Until when an answer is of use to whoever asked: what takes longer is given up, on a server as well."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from zoo.errors import UserError

_END: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give what this thread or task asks of an encoder so much time, or less where it has less already."""
    end = time.monotonic() + seconds
    before = _END.get()
    token = _END.set(end if before is None else min(before, end))
    try:
        yield
    finally:
        _END.reset(token)


def seconds_left() -> float | None:
    """How long an answer is of use, not below 0; None for as long as it takes."""
    end = _END.get()
    return None if end is None else max(0.0, end - time.monotonic())


def check_deadline() -> None:
    """Go on only as long as the answer is of use; looked at before each piece of work that may take long.

    Raises:
        UserError: it is not any more.
    """
    if seconds_left() == 0:
        raise UserError("no answer in time; is this machine overloaded?")
