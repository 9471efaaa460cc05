"""The one event loop that this process talks to servers on, in a thread of its own.

Callers with and without a loop of their own share it, and so share everything that is done on it.
"""

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future
from functools import cache


@cache
def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop; it is started when it is first wanted and ends with the process."""
    ready: Future[asyncio.AbstractEventLoop] = Future()
    ended = asyncio.Event()

    async def run() -> None:
        ready.set_result(asyncio.get_running_loop())
        await ended.wait()

    # asyncio.run also ends what is still on the loop when the process does.
    thread = threading.Thread(target=lambda: asyncio.run(run()), name="serving-io", daemon=True)
    thread.start()
    loop = ready.result()

    def end() -> None:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=5)

    atexit.register(end)
    return loop


# A forked child has the loop but not its thread.
os.register_at_fork(after_in_child=io_loop.cache_clear)
