"""Cases in a gallery's folder, a file each: written whole or not at all, and read back by its checksum."""

import fcntl
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval.cases.case import Case, is_id
from retrieval.cases.watch_state import WatchState
from retrieval.gallery.base import CASES_FOLDER
from zoo.errors import UserError
from zoo.files import parse_json, unwritable, write_text

MAX_CASES = 1000


class UnknownCaseError(UserError):
    """The gallery has no case of an id."""


class CaseStore:
    """The cases of the gallery in a folder; safe from any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Name the folder of a gallery that owns it."""
        self._folder = folder / CASES_FOLDER
        self._known: dict[str, tuple[tuple[int, int, int], Case]] = {}
        self._lock = threading.Lock()

    def list(self) -> tuple[list[Case], list[str]]:
        """All cases without their files, the one that was changed last first; and the ids of damaged ones.

        A file is read when it is new or was changed.
        """
        found, damaged = [], []
        with self._lock:
            known, self._known = self._known, {}
            for path in self._paths():
                try:
                    status = path.stat()
                    stamp = status.st_mtime_ns, status.st_size, status.st_ino
                    held = known.get(path.stem)
                    if held is None or held[0] != stamp:
                        held = stamp, _read(path).without_files()
                except FileNotFoundError:
                    continue
                except UserError:
                    damaged.append(path.stem)
                    continue
                self._known[path.stem] = held
                found.append(held[1])
        return sorted(found, key=lambda case: (-case.changed, case.id)), damaged

    def get(self, id: str) -> Case:
        """A case, whole.

        Raises:
            UnknownCaseError: there is none of this id.
            UserError: its file is damaged.
        """
        path = self._path(id)
        if not path.is_file():
            raise UnknownCaseError(f"{id!r}: the gallery has no case of this id")
        return _read(path)

    def put(self, case: Case, by: str | None) -> Case:
        """Keep a case, new or in another one's place; return it with its times and names.

        Raises:
            UserError: see `Case.checked`; the folder cannot be written to, or has too many cases.
        """
        with self._writing():
            now, path = time.time(), self._path(case.id)
            made = replace(case, created=now, created_by=by)
            if path.is_file():
                old = _read(path)
                made = replace(case, created=old.created, created_by=old.created_by)
            elif sum(1 for _ in self._paths()) >= MAX_CASES:
                raise UserError(f"the gallery has {MAX_CASES} cases, the most there can be; delete some")
            return self._write(replace(made, changed=now, changed_by=by))

    def change(self, id: str, by: str | None, **changes: Any) -> Case:
        """Change some of a case's values; the others stay, whoever has changed them meanwhile."""
        with self._writing():
            return self._write(replace(self.get(id), **changes, changed=time.time(), changed_by=by))

    def take_over(self, other: "CaseStore") -> int:
        """Take the cases of another gallery as they are, where this one has none of the id or an older one.

        What their watches have found stays behind: it counts the other gallery's images.

        Returns:
            how many were taken.
        """
        known = {case.id: case.changed for case in self.list()[0]}
        newer = [case.id for case in other.list()[0] if case.changed > known.get(case.id, -1.0)]
        for id in newer:
            with self._writing():
                self._write(other.get(id))
        return len(newer)

    def delete(self, id: str) -> bool:
        """Take a case away, and what its watch has found; return whether it was there."""
        with self._writing():
            path = self._path(id)
            was_there = path.exists()
            for each in (path, self._watch_path(id)):
                each.unlink(missing_ok=True)
            return was_there

    def watch_state(self, id: str) -> WatchState | None:
        """What a case's watch has found; None where it has not begun, or its file is damaged."""
        try:
            content = parse_json(self._watch_path(id).read_text(encoding="utf-8"), "its text")
            if _sum(content["watch"]) != content["sha256"]:
                return None
            return WatchState.from_json(content["watch"])
        except (OSError, KeyError, TypeError, ValueError, UserError):
            return None

    def note_watch(self, id: str, state: WatchState) -> WatchState:
        """Write what a case's watch has found, with what others have found meanwhile; return both."""
        with self._writing():
            merged = state.merged(self.watch_state(id))
            if self._path(id).exists():
                self._write_watch(id, merged)
            return merged

    def unseen(self) -> int:
        """How many alarms of cases that are watched nobody has looked at."""
        states = (self.watch_state(case.id) for case in self.list()[0] if case.is_watched)
        return sum(state.unseen for state in states if state is not None)

    def mark_seen(self, id: str) -> None:
        """Note that somebody has looked at what a case's watch has found."""
        with self._writing():
            state = self.watch_state(id)
            if state is not None and state.unseen:
                found = tuple(replace(alarm, is_seen=True) for alarm in state.found)
                self._write_watch(id, replace(state, found=found))

    def _write_watch(self, id: str, state: WatchState) -> None:
        content = state.as_json()
        write_text(self._watch_path(id), json.dumps({"sha256": _sum(content), "watch": content}) + "\n")

    def _watch_path(self, id: str) -> Path:
        return self._path(id).with_suffix(".watch.json")

    def _path(self, id: str) -> Path:
        if not is_id(id):
            raise UnknownCaseError(f"{id[:40]!r}: a case's id has 32 hexadecimal digits")
        return self._folder / f"{id}.json"

    def _paths(self) -> Iterator[Path]:
        return (path for path in sorted(self._folder.glob("*.json")) if is_id(path.stem))

    def _write(self, case: Case) -> Case:
        checked = case.checked()
        content = checked.as_json()
        write_text(self._path(case.id), json.dumps({"sha256": _sum(content), "case": content}) + "\n")
        return checked

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Wait until nobody else changes a case: each reads a file, and writes all of it anew."""
        try:
            self._folder.mkdir(exist_ok=True)
            with open(self._folder / ".lock", "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise unwritable(self._folder, error) from error


def _read(path: Path) -> Case:
    try:
        content = parse_json(path.read_text(encoding="utf-8"), "its text")
        if _sum(content["case"]) != content["sha256"]:
            raise ValueError("its checksum differs")
        case = Case.from_json(content["case"])
        if case.id != path.stem:
            raise ValueError("it is the file of another case")
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(
            f"{path}: is not a case as it was written ({error}); restore it from a backup, or delete it"
        ) from error
    return case


def _sum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
