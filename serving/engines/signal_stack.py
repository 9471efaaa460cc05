"""Keeps a thread's alternate signal stack as it is while a library runs that would leave one behind."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class SignalStack(ctypes.Structure):
    """Linux's `stack_t`."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def signal_stack() -> SignalStack:
    """Return this thread's."""
    found = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put this thread's signal stack back at the end.

    Python handles signals on it. Where it has been freed, the next signal, be it the end of a child process,
    ends this one with a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
