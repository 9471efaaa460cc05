"""Numbers as people write them: in ASCII, by digits alone."""

from typing import TypeVar

Given = TypeVar("Given")


def plain(value: Given) -> Given:
    """The value, of which `int` and `float` may read a number that people would read as well.

    Python reads `1_0` as ten, and the digits of all scripts: what was mistyped would be another number.

    Raises:
        ValueError: a text that is no number for people.
    """
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError(f"{value!r} is not a number; write it in digits")
    return value
