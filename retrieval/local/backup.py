"""A copy of a gallery that is whole and of one moment, and the way back.

A backup is a folder with the database, as SQLite's online backup copies it while others write, the links
between passes likewise, the cases, and `backup.json`, which says what they have to be. Derived files are not
in it: restoring makes them anew.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath

from retrieval.gallery.base import CASES_FOLDER, LINKS_FILE
from retrieval.local.examination import examine
from retrieval.local.gallery import LocalGallery
from retrieval.local.locks import lock_writer
from retrieval.local.store import FILE_NAME, Store
from zoo.card import Card
from zoo.errors import MORE_FILES, UserError
from zoo.files import lacks_files, read_json, unwritable, write_text

MANIFEST = "backup.json"
_FORMAT = 1
_UNFINISHED = ".unfinished"
_CHUNK = 2**22

_OF_THE_COPY = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Faults of the disk that is written to, not of the gallery."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""Of Linux: `man 2 renameat2`."""

Advance = Callable[[int, int], object]
"""Called with what is done and with all that is to be done."""


@dataclass(frozen=True)
class Backup:
    """What `backup.json` says.

    Attributes:
        format: of the file.
        created: when, by ISO 8601.
        images: how many there are.
        model, model_hash: whose embeddings they have.
        bytes, sha256: of the database.
        links_sha256: of the links between passes, which people have confirmed and cut; empty without any.
        cases: the SHA-256 of each file of the cases, by its name.
    """

    format: int
    created: str
    images: int
    model: str
    model_hash: str
    bytes: int
    sha256: str
    links_sha256: str = ""
    cases: dict[str, str] = field(default_factory=dict)


def back_up(gallery: Path, target: Path, advance: Advance = lambda done, total: None) -> Backup:
    """Copy a gallery as it is at this moment; others may search and write meanwhile.

    Args:
        gallery: its folder.
        target: a folder that is not there yet. It appears when all of it is on the disk and was read again.
        advance: called with the database's pages.

    Raises:
        UserError: no gallery, a damaged one, or `target` cannot be made.
    """
    _refuse_existing(target, "name another folder")
    with _new_folder(target) as temporary:
        with closing(Store(gallery, writable=False)) as store, store.reading() as reader:
            meta = reader.meta()
            try:
                reader.copy_to(temporary / FILE_NAME, advance)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _OF_THE_COPY:
                    raise
                cure = MORE_FILES if lacks_files() else "free some space or choose another folder"
                raise UserError(
                    f"{target}: cannot be written ({error}); nothing was left behind. {cure.capitalize()}"
                ) from error
        found = examine(temporary, decode=False)
        if not found.is_whole:
            faults = [*found.database, *(f"the image {key!r}" for key in found.damaged[:1])]
            raise UserError(
                f"{gallery}: is damaged ({'; '.join(faults)}), and so a backup would be; mend it with "
                f"`python -m retrieval.maintenance check --repair --gallery {gallery}`, or restore an "
                "older one"
            )
        backup = Backup(
            _FORMAT,
            datetime.now(UTC).isoformat(timespec="seconds"),
            found.images,
            Card.from_json(meta["card"], f"the card in {gallery}").name,
            meta["model_hash"],
            (temporary / FILE_NAME).stat().st_size,
            _hash_of(temporary / FILE_NAME),
            _copy_links(gallery, temporary),
            _copy_cases(gallery, temporary),
        )
        write_text(temporary / MANIFEST, json.dumps(asdict(backup), indent=2) + "\n")
        _sync(temporary / FILE_NAME)
    return backup


def restore(
    source: Path, gallery: Path, *, replace: bool = False, advance: Advance = lambda done, total: None
) -> Path | None:
    """Make a gallery of a backup: beside its place, then in one step in it.

    Args:
        source: the backup's folder, which stays as it is.
        gallery: the folder that appears.
        replace: a gallery that is there already makes way; else it is in the way.
        advance: called with the database's bytes.

    Returns:
        where the gallery that made way is now, None where there was none.

    Raises:
        UserError: no backup, or one that is not what was written; a gallery in the way, or one that somebody
            writes to.
    """
    backup = _read(source)
    kept = gallery.with_name(f"{gallery.name}.replaced")
    is_there = gallery.exists() and not _is_empty(gallery)
    if is_there:
        if not replace:
            _refuse_existing(gallery, "name another folder, or let it make way with --replace")
        if not (gallery / FILE_NAME).is_file():
            raise UserError(f"{gallery}: is no gallery, and does not make way for one; name another folder")
        _refuse_existing(kept, "it is the gallery that made way before; move it or delete it")
    with _new_folder(gallery, kept if is_there else None) as temporary:
        _copy(source / FILE_NAME, temporary / FILE_NAME, backup.sha256, advance)
        if backup.links_sha256:
            _copy(source / LINKS_FILE, temporary / LINKS_FILE, backup.links_sha256)
        if backup.cases:
            (temporary / CASES_FOLDER).mkdir()
        for listed, sha256 in backup.cases.items():
            name = PurePath(listed).name
            _copy(source / CASES_FOLDER / name, temporary / CASES_FOLDER / name, sha256)
        # Opening compares what it reads with the checksums and makes what is derived.
        LocalGallery.open_folder(temporary, None, writable=True, index=None, policy=None).close()
    return kept if is_there else None


def _read(source: Path) -> Backup:
    path = source / MANIFEST
    if not path.is_file():
        raise UserError(f"{source}: no backup there; name a folder that `gallery backup` has written")
    content = read_json(path)
    if isinstance(content, dict) and content.get("format", _FORMAT) != _FORMAT:
        raise UserError(f"{path}: is of format {content['format']}, not {_FORMAT}; update the program")
    try:
        return Backup(**content)
    except TypeError as error:
        raise UserError(f"{path}: says nothing of a backup; restore another one") from error


def _copy_links(gallery: Path, target: Path) -> str:
    """Copy the links as they are now; return the copy's SHA-256, or nothing where there are none."""
    if not (gallery / LINKS_FILE).is_file():
        return ""
    try:
        with (
            closing(sqlite3.connect(f"{(gallery / LINKS_FILE).resolve().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target / LINKS_FILE)) as new,
        ):
            old.backup(new)
            if new.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("not what SQLite wrote")
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{gallery / LINKS_FILE}: cannot be copied ({error}); restore it from an older backup, or "
            "delete it, and the links with it, and run the command again"
        ) from error
    _sync(target / LINKS_FILE)
    return _hash_of(target / LINKS_FILE)


def _copy_cases(gallery: Path, target: Path) -> dict[str, str]:
    """Copy the cases, each of which is replaced whole by who changes it; return their SHA-256 by name."""
    found: dict[str, str] = {}
    for path in sorted((gallery / CASES_FOLDER).glob("*.json")):
        copy = target / CASES_FOLDER / path.name
        copy.parent.mkdir(exist_ok=True)
        try:
            shutil.copyfile(path, copy)
        except FileNotFoundError:
            # Deleted meanwhile.
            continue
        _sync(copy)
        found[path.name] = _hash_of(copy)
    return found


def _copy(source: Path, target: Path, sha256: str, advance: Advance = lambda done, total: None) -> None:
    found, done = hashlib.sha256(), 0
    try:
        size = source.stat().st_size
        with open(source, "rb") as old, open(target, "wb") as new:
            while chunk := old.read(_CHUNK):
                new.write(chunk)
                found.update(chunk)
                done += len(chunk)
                advance(done, size)
            new.flush()
            os.fsync(new.fileno())
    except OSError as error:
        if error.filename == str(source):
            raise UserError(f"{source}: cannot be read ({error.strerror}); restore another backup") from error
        raise
    if found.hexdigest() != sha256:
        raise UserError(f"{source}: is not what was written (the SHA-256 differs): restore another backup")


@contextmanager
def _new_folder(target: Path, kept: Path | None = None) -> Iterator[Path]:
    """Yield a folder beside `target`; it takes that place, in one step, when the block ends well.

    Args:
        target: the folder, absent, empty, or a gallery that makes way.
        kept: where that goes.
    """
    temporary = target.with_name(f".{target.name}.new")
    try:
        with ExitStack() as held:
            if kept is not None:
                held.enter_context(lock_writer(target))
            target.parent.mkdir(parents=True, exist_ok=True)
            if temporary.exists():
                _remove_unfinished(temporary)
            temporary.mkdir()
            mark = held.enter_context(open(temporary / _UNFINISHED, "wb"))
            fcntl.flock(mark, fcntl.LOCK_EX)
            try:
                yield temporary
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            _sync(temporary)
            if kept is None:
                temporary.rename(target)
            else:
                (target / _UNFINISHED).unlink(missing_ok=True)
                _exchange(temporary, target, kept)
            # Not before: whatever a kill leaves beside without it is a gallery that made way.
            (target / _UNFINISHED).unlink()
            _sync(target.parent)
    except OSError as error:
        raise unwritable(target, error) from error


def _remove_unfinished(folder: Path) -> None:
    """Take away what a run that was killed has left, and nothing else."""
    mark = folder / _UNFINISHED
    if _is_empty(folder):
        folder.rmdir()
        return
    if not mark.exists():
        raise UserError(
            f"{folder}: is the gallery that made way for a restore that was killed; move it or delete it, "
            "and run the command again"
        )
    with open(mark, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is writing it; wait for it to end") from None
        shutil.rmtree(folder)


def _exchange(new: Path, old: Path, kept: Path) -> None:
    """Put a folder in the place of another one, which goes to `kept`.

    Whoever looks finds either, never none; file systems that cannot do that leave a gap between two renames.
    """
    try:
        failed = ctypes.CDLL(None, use_errno=True).renameat2(
            _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE
        )
    except AttributeError:
        failed = True
    if failed:
        old.rename(kept)
        try:
            new.rename(old)
        except OSError:
            kept.rename(old)
            raise
    else:
        new.rename(kept)


def _refuse_existing(path: Path, cure: str) -> None:
    if path.exists() and not _is_empty(path):
        raise UserError(f"{path}: is there already; {cure}")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
