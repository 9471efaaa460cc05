"""Gradio without the files that it writes for editors."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unwritten() -> Iterator[None]:
    """Import Gradio in this: it then makes no stubs.

    It parses the source of each of its components at every import, to write a `.pyi` file beside it: half of
    the import's time, and an attempt to write where programs are installed. A class without a file gets none.
    """
    find_file = inspect.getfile

    def hidden(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("not told while Gradio is imported")
        return find_file(thing)

    inspect.getfile = hidden  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = find_file
