"""Files that are whole or not there."""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import MORE_FILES, NO_FILES, UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, remove it when not.

    A reader sees the old file or the new one, never a part: the data is on the disk before the rename.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner reads; an ordinary file follows the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def unwritable(target: Path, error: OSError) -> UserError:
    """Say that nothing was written to `target`, and why."""
    cure = MORE_FILES if error.errno in NO_FILES else "free some space or choose another folder"
    return UserError(
        f"{target}: cannot be written ({error.strerror or error}); nothing was left behind. "
        f"{cure.capitalize()}."
    )


def lacks_files() -> bool:
    """Whether no more files can be opened now, for a library that does not say why it could open none."""
    opened: list[int] = []
    try:
        for _ in range(3):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in NO_FILES
    finally:
        for file in opened:
            os.close(file)
    return False


def parse_json(text: str, where: str) -> Any:
    """Read JSON that somebody else may have written.

    Raises:
        UserError: it is none, or one that cannot be held: nested too deeply, or with endless numbers.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON that can be read ({error}); write it again") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file in UTF-8, with a byte order mark or without.

    Raises:
        UserError: it cannot be read, or see `parse_json`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UserError(f"{path}: cannot be read ({reason}); mend the path or the file") from error
    return parse_json(text, str(path))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_endless(path: str | os.PathLike[str]) -> bool:
    """Whether it is a pipe, a socket or a device, where a folder is searched for files: opening the one waits
    until somebody writes to it, and reading another never ends."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False  # is told when it is read
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
