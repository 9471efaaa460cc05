"""Errors that a user can mend, and how a command reports them."""

import functools
import sys
from collections.abc import Callable

from zoo.preprocess import ImageError


class UserError(Exception):
    """Bad input. The message is one line that names the input and the cure."""


def exit_on_user_error(main: Callable[..., int]) -> Callable[..., int]:
    """Turn a `UserError` or `ImageError` that leaves `main` into one line on stderr and exit code 2.

    Ctrl-C ends with 130, the shell's convention, and no traceback.
    """

    @functools.wraps(main)
    def wrapper(*args: object, **kwargs: object) -> int:
        try:
            return main(*args, **kwargs)
        except (UserError, ImageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    return wrapper
