"""Work done in threads ahead of who needs it, in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from zoo.preprocess import ImageError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def reading_threads() -> int:
    """How many threads read and decode images: some of the cores, because the encoder needs them too."""
    return min(4, os.cpu_count() or 1)


def read_ahead(
    items: Iterable[_Item], work: Callable[[_Item], _Result], threads: int, depth: int
) -> Iterator[tuple[_Item, _Result | ImageError]]:
    """Run `work` on items in threads, at most `depth` ahead, and yield the results in the items' order.

    An `ImageError` is yielded in the place of its item's result; any other exception is raised.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        waiting: deque[tuple[_Item, Future[_Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= depth:
                    first, future = waiting.popleft()
                    yield first, _result(future)
            for remaining, future in waiting:
                yield remaining, _result(future)
        finally:
            for _, future in waiting:
                future.cancel()


def _result(future: Any) -> Any:
    try:
        return future.result()
    except ImageError as error:
        return error
