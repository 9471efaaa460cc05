"""Errors that a user can mend, and how a command reports them."""

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterator

from zoo.preprocess import ImageError

EXTRA_OF = {
    "torch": "train",
    "torchvision": "train",
    "safetensors": "train",
    "onnx": "train",
    "onnxscript": "train",
    "cv2": "train",
    "numba": "train",
}
"""Top-level module -> the extra of this project that installs it, for modules that commands import."""


class UserError(Exception):
    """Bad input. The message is one line that names the input and the cure."""


def exit_on_user_error(main: Callable[..., int]) -> Callable[..., int]:
    """Turn a `UserError` or `ImageError` that leaves `main` into one line on stderr and exit code 2.

    Likewise a module that is missing because its extra is not installed. Ctrl-C ends with 130, the shell's
    convention, and no traceback.
    """

    @functools.wraps(main)
    def wrapper(*args: object, **kwargs: object) -> int:
        try:
            return main(*args, **kwargs)
        except (UserError, ImageError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except ModuleNotFoundError as error:
            if (message := _missing_extra(error)) is None:
                raise
            print(f"error: {message}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            _let_go(error)
            print("interrupted", file=sys.stderr)
            return 130

    return wrapper


@contextlib.contextmanager
def extra_imports(importer: str) -> Iterator[None]:
    """Surround a command's imports that need an extra: without it, the command ends like on a `UserError`.

    They take seconds, so that Ctrl-C ends them as it ends the command.

    Args:
        importer: `__name__` of the module. One that is imported raises as ever.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if importer != "__main__" or (message := _missing_extra(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if importer != "__main__":
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _let_go(error: BaseException) -> None:
    """Drop what an interrupt caught half made, such as a progress bar that would complain in its own end."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        traceback.clear_frames(error.__traceback__)
    finally:
        sys.unraisablehook = hook


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    """Name the module and the cure; None for a module that no extra installs."""
    name = (error.name or "").partition(".")[0]
    if name not in EXTRA_OF:
        return None
    extra = EXTRA_OF[name]
    return f"{name} is not installed; it comes with the extra `{extra}`: pip install -e '.[{extra}]'"
