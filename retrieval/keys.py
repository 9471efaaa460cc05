"""API keys: `python -m retrieval.keys add NAME --scope read --keys FILE`.

The file holds SHA-256 sums alone. A slow password hash would protect secrets that can be guessed; a key is
256 random bits, which nobody finds by trying, and it is checked with every request.
"""

import argparse
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text

Scope = Literal["read", "write"]
"""What a key allows: searching and looking, or that and changing the gallery."""

MAX_NAME = 64


@dataclass(frozen=True)
class Key:
    """What the file holds of a key; `sha256` is of the key's text, hexadecimal."""

    name: str
    scope: Scope
    sha256: str
    created: str


def read_keys(path: Path) -> list[Key]:
    """Read a key file.

    Raises:
        UserError: no such file, or not a key file.
    """
    try:
        listed: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(listed, list):
            raise ValueError
        keys = [Key(**item) for item in listed]
        for key in keys:
            if key.scope not in get_args(Scope) or len(bytes.fromhex(key.sha256)) != 32:
                raise ValueError
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{path}: {reason}; make keys with `python -m retrieval.keys add NAME --keys {path}`"
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: not a key file; move it away and make one with "
            f"`python -m retrieval.keys add NAME --keys {path}`"
        ) from error
    return keys


def add_key(path: Path, name: str, scope: Scope) -> str:
    """Make a key and write its sum to the file; return the key, which is kept nowhere.

    Raises:
        UserError: a name that is taken or unfit, or a file that is not a key file or cannot be written.
    """
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise UserError(f"{name!r}: a key's name has 1 to {MAX_NAME} printable characters")
    with _locked(path):
        keys = read_keys(path) if path.exists() else []
        if any(key.name == name for key in keys):
            raise UserError(
                f"{path}: has a key named {name!r} already; remove it first, or choose another name"
            )
        secret = secrets.token_urlsafe(32)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, [*keys, Key(name, scope, _sum(secret), created)])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Take a key out; a running service refuses it from its next request on.

    Raises:
        UserError: no key of that name.
    """
    with _locked(path):
        keys = read_keys(path)
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            raise UserError(
                f"{path}: has no key named {name!r}; `python -m retrieval.keys list --keys {path}` shows them"
            )
        _write(path, kept)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process changes the file: each reads it, and writes all of it anew.

    The lock is a file beside it, because the file itself is replaced by another one.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        with open(lock, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{lock}: {reason}; the key file's folder has to be one that can be written to"
        ) from error


def _write(path: Path, keys: list[Key]) -> None:
    write_text(path, json.dumps([asdict(key) for key in keys], indent=2, ensure_ascii=False) + "\n")


def _sum(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


class KeyRing:
    """The keys of a file, read anew whenever it changes.

    Raises:
        UserError: see `read_keys`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._keys: list[Key] = []
        self._refresh()

    def find(self, secret: str) -> Key | None:
        """The key of that text, None where there is none.

        Every sum is compared in full, so that the time taken tells nothing of what the file holds.

        Raises:
            UserError: the file is gone or damaged; nobody is let in by keys that it may no longer hold.
        """
        self._refresh()
        given = _sum(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(given, key.sha256):
                found = key
        return found

    def _refresh(self) -> None:
        with self._lock:
            try:
                status = os.stat(self._path)
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            except OSError:
                stamp = None
            if stamp is None or stamp != self._stamp:
                self._stamp = None
                self._keys = read_keys(self._path)
                self._stamp = stamp


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.keys",
        examples=["add reports --scope read --keys keys.json"],
        description="Make and remove the API keys of the search service.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser(
        "add", examples=["reports --scope read --keys keys.json"], help="make a key and print it, this once"
    )
    add.add_argument("name", help="whose key it is; the audit log has it")
    add.add_argument("--scope", choices=get_args(Scope), default="read", help="default: read")
    remove = actions.add_parser("remove", examples=["reports --keys keys.json"], help="take a key out")
    remove.add_argument("name")
    listed = actions.add_parser("list", examples=["--keys keys.json"], help="show names, scopes and dates")
    for action in (add, remove, listed):
        action.add_argument(
            "--keys", type=Path, default=Path("keys.json"), metavar="FILE", help="default: keys.json"
        )
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    if args.action == "add":
        print(add_key(args.keys, args.name, args.scope))
        print(f"The key is kept nowhere: note it now. {args.keys} holds its sum.", file=sys.stderr)
    elif args.action == "remove":
        remove_key(args.keys, args.name)
    else:
        for key in read_keys(args.keys):
            print(f"{key.name}\t{key.scope}\t{key.created}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
