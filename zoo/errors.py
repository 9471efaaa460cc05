"""Errors that a user can mend, and how a command reports them."""

import argparse
import contextlib
import errno
import functools
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from vehicle_reid import is_run

EXTRA_OF = {
    "torch": "train",
    "torchvision": "train",
    "safetensors": "train",
    "onnx": "train",
    "onnxscript": "train",
    "cv2": "train",
    "numba": "train",
    "scipy": "train",
    "tensorboard": "train",
}
"""Top-level module -> the extra of this project that installs it, for modules that commands import."""


_LONGEST = 1500
"""Characters of a line."""

MORE_FILES = "let the process have more open files (`ulimit -n 4096`)"
"""What helps where there are too few."""

NO_FILES = (errno.EMFILE, errno.ENFILE)
"""What the operating system says then."""

_NO_FILES = ("too many open files", "failed to init uv loop")
"""What libraries say then."""

MORE_MEMORY = "let the process have more memory (`ulimit -v`, the container's limit), or less to do at once"
"""What helps where there is too little."""

_NO_MEMORY = (
    "cannot allocate memory",
    "can't allocate memory",
    "failed to allocate memory",
    "failed to map segment",
    "insufficient memory",
    "bad_alloc",
    "bad allocation",
    "can't start new thread",
    "error return without exception set",  # Python itself, where it cannot even make the exception
)
"""Words by which libraries, and the loader of libraries, tell of it in errors of many types."""


class UserError(Exception):
    """Bad input. The message is one line that names the input and the cure."""


def exit_on_user_error(main: Callable[..., int]) -> Callable[..., int]:
    """Turn a `UserError` or `ImageError` that leaves `main` into one line on stderr and exit code 2.

    Likewise what the operating system refuses, such as a name that is too long, and a module that is missing
    because its extra is not installed. Ctrl-C ends with 130, the shell's
    convention, and no traceback.
    """

    @functools.wraps(main)
    def wrapper(*args: object, **kwargs: object) -> int:
        try:
            return main(*args, **kwargs)
        except Exception as error:
            if (line := explain(error)) is None:
                raise
            print(line, file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            _let_go(error)
            print("interrupted", file=sys.stderr)
            return 130

    return wrapper


@contextlib.contextmanager
def built_for_good() -> Iterator[None]:
    """Look for no garbage while modules are imported or a page is built, nor ever among what they are.

    With torch or Gradio a quarter of a start went into it, and most of the end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def extra_imports(
    importer: str, build_parser: Callable[[], argparse.ArgumentParser] | None = None
) -> Iterator[None]:
    """Surround a command's imports that need an extra: without it, the command ends like on a `UserError`.

    They take seconds. So `--help` and mistyped options are answered before them, and during them Ctrl-C ends
    the process at once: there is nothing yet to tidy up, and an exception can get lost in a library that is
    half imported. What they bring is there for good; see `built_for_good`.

    Args:
        importer: `__name__` of the module. One that is imported, not run, raises as ever.
        build_parser: makes the command's parser.
    """
    if not is_run(importer) or threading.current_thread() is not threading.main_thread():
        yield
        return
    if build_parser is not None:
        build_parser().parse_args()
    handler = signal.signal(signal.SIGINT, _leave)
    try:
        with built_for_good():
            yield
    except Exception as error:
        if (line := explain(error)) is None:
            raise
        print(line, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, handler)


def explain(error: BaseException) -> str | None:
    """The line `error: ...` for what a user can mend; None for any other fault."""
    message, lack = _explanation(error), _lack(error)
    if lack is not None:
        reason, cure = lack
        if message is None:
            message = f"{reason}; {cure}"
        elif cure[1:] not in message:
            # Whatever the command made of it, nothing else helps.
            message += f". First {cure}"
    return None if message is None else f"error: {_in_one_line(message)}"


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


def _explanation(error: BaseException) -> str | None:
    """What to tell the user; None for an error that is not theirs to mend."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing_extra(error)
    if isinstance(error, ImportError) and "cannot open shared object file" in str(error):
        return f"{error}; install the system's package that has this library"
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        error = error.__context__  # how pathlib tells of a link that leads to itself
    if isinstance(error, OSError) and error.strerror:
        what = error.filename or "this machine"
        return f"{what}: {error.strerror.lower()}; mend the path or free what is used up"
    # Here alone, because it brings NumPy: a command should be quick to say --help, and to end on Ctrl-C.
    from zoo.decoding_memory import DecoderBusyError
    from zoo.preprocess import ImageError

    return str(error) if isinstance(error, ImageError | DecoderBusyError) else _bad_name(error)


def _bad_name(error: BaseException) -> str | None:
    """What is wrong with a name that no file can have, or no text can hold; None for other errors."""
    if isinstance(error, UnicodeEncodeError) and "\udc80" <= error.object[error.start] <= "\udcff":
        part = error.object[max(0, error.start - 60) : error.end + 20]
        return f"a name with {part!r} is not in UTF-8; rename the file or folder"
    is_null = isinstance(error, ValueError) and "embedded null" in str(error)
    return "a path with a NUL byte, which no file has; mend it" if is_null else None


def _lack(error: BaseException | None) -> tuple[str, str] | None:
    """What was too little somewhere on the way to an error, and what helps; None for nothing."""
    known = set[int]()  # gRPC raises one error again from what came of it, which makes a circle of them
    while error is not None and id(error) not in known:
        known.add(id(error))
        text = str(error).lower()
        is_words = any(words in text for words in _NO_FILES)
        if is_words or (isinstance(error, OSError) and error.errno in NO_FILES):
            return "too many files are open", MORE_FILES
        # A user's own words may hold such words.
        is_words = not isinstance(error, UserError) and any(words in text for words in _NO_MEMORY)
        if is_words or isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            name = type(error).__name__
            detail = " ".join(str(error).split())[:200]
            return f"this machine has no more memory for it ({name}{detail and ': '}{detail})", MORE_MEMORY
        error = error.__cause__ or error.__context__
    return None


def stop_if_starved(error: OSError) -> None:
    """Where a file that cannot be read is left out and told: do not take the process's lack for its fault.

    Raises:
        UserError: the process can open no more files.
    """
    if error.errno in NO_FILES:
        raise UserError(
            f"{error.filename or 'this machine'}: too many files are open; {MORE_FILES}"
        ) from error


def _in_one_line(message: str) -> str:
    """Write out line breaks and other controls, which names of files may hold, and leave out the midst of
    what is too long to be read: the input's name stands before it, and the cure behind."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


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
    return f"{name} is not installed; it {from_extra(EXTRA_OF[name])}"


def from_extra(extra: str) -> str:
    """Say how to install what comes with an extra of this project: in a checkout, or from an index."""
    checkout = Path(__file__).parents[1] / "pyproject.toml"
    what = f"-e '.[{extra}]'" if checkout.is_file() else f"'vehicle-reid-zoo[{extra}]'"
    return f"comes with the extra `{extra}`: pip install {what}"
