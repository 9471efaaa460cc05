"""How much memory a piece of work needs, as the kernel counts it for a process of its own."""

import gc
import multiprocessing
import re
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def resident(name: str = "VmRSS") -> int:
    """This process's resident memory in bytes; with `VmHWM`, its peak since it was reset."""
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None, f"{name} is not in {_STATUS}"
    return int(found[1]) * 1024


def reset_peak() -> int:
    """Let the peak begin anew at what is resident now, which is returned."""
    gc.collect()
    _CLEAR.write_text("5")
    return resident()


def in_fresh_process(
    work: Callable[..., Any], *arguments: Any, method: Literal["spawn", "fork"] = "spawn"
) -> Any:
    """Call `work` in a process of its own, so that nothing measured before it counts; returns its result.

    Args:
        work: what is called; with `spawn`, something that can be pickled.
        arguments: its own.
        method: a new interpreter, or a copy of this one, which has its memory too.

    Raises:
        RuntimeError: the process ended without a result.
    """
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{work.__name__} ended with exit code {process.exitcode}") from None
    finally:
        process.join()


def _send(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # What a copy of a process inherits is never collected: the end of a thread pool would wait for its
    # threads, which the copy lacks.
    gc.freeze()
    sender.send(work(*arguments))
    sender.close()
