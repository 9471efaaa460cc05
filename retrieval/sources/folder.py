"""The image files of a folder, and what a walk through it passes over."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.sources.source import SUFFIXES, ImageFile
from zoo.errors import UserError, stop_if_starved
from zoo.files import is_endless

_THUMBNAILS = frozenset({"@eadir", "__macosx", "thumbs", "thumbnails"})
"""Folders in which viewers, file servers and archivers keep small copies, in lower case."""

_EXAMPLES = 5


@dataclass
class Walk:
    """What a folder holds.

    Attributes:
        files: the images, by key.
        passed_over: reason -> paths that are not taken, relative to the folder.
    """

    files: list[ImageFile] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)

    def report(self) -> dict[str, dict[str, object]]:
        """What was passed over, as JSON: how many for each reason, and the first of them."""
        return {
            reason: {"count": len(paths), "first": sorted(paths)[:_EXAMPLES]}
            for reason, paths in sorted(self.passed_over.items())
        }


def list_images(folder: Path) -> list[ImageFile]:
    """Find the image files of a folder and the folders in it, by key.

    Raises:
        UserError: no such folder, or no image in it.
    """
    return walk_images(folder).files


def walk_images(folder: Path) -> Walk:
    """Find the image files of a folder and the folders in it, and keep account of everything else.

    Links are followed. One to a folder that is read anyway, or that holds this one, is passed over, so that
    no file is read twice by a circle of links.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder that holds the images")
    walk = Walk()
    inside = folder.resolve()
    seen = {_identity(parent) for parent in inside.parents}
    # Real folders first: what is reached by both ways keeps the name that is no link's.
    waiting, links = [folder], list[Path]()
    root = os.path.abspath(folder)
    while waiting or links:
        place = waiting.pop() if waiting else links.pop(0)
        try:
            if (identity := _identity(place)) in seen:
                _pass_over(walk, "link to a folder that is read already", folder, place)
                continue
            seen.add(identity)
            found = sorted(os.scandir(place), key=lambda each: each.name)
        except OSError as error:
            stop_if_starved(error)
            _pass_over(walk, f"folder that cannot be read ({error.strerror})", folder, place)
            continue
        for entry in found:
            path = Path(entry.path)
            if reason := _unwanted(entry):
                _pass_over(walk, reason, folder, path)
            elif entry.is_dir():
                (links if entry.is_symlink() else waiting).append(path)
            else:
                walk.files.append(ImageFile(path, path.relative_to(folder).as_posix(), root=root))
    if not walk.files:
        others = "".join(f"; passed over: {line}" for line in lines_of(walk))
        raise UserError(f"{folder}: no images found (looked for {', '.join(sorted(SUFFIXES))}){others}")
    walk.files.sort(key=lambda file: file.key)
    return walk


def lines_of(walk: Walk) -> Iterator[str]:
    """What was passed over, a line a reason, for people."""
    for reason, paths in sorted(walk.passed_over.items()):
        yield f"{len(paths)} x {reason}, such as {min(paths)}"


def _unwanted(entry: os.DirEntry[str]) -> str | None:
    """Why an entry of a folder is not taken; None for an image and for a folder to read."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_dir():
        return "folder of thumbnails" if entry.name.lower() in _THUMBNAILS else None
    suffix = Path(entry.name).suffix.lower()
    if suffix not in SUFFIXES:
        return f"unknown ending {suffix or '(none)'}"
    return "pipe, socket or device" if is_endless(entry) else None


def _identity(place: Path) -> tuple[int, int]:
    found = place.stat()
    return found.st_dev, found.st_ino


def _pass_over(walk: Walk, reason: str, folder: Path, path: Path) -> None:
    name = path.relative_to(folder).as_posix().encode(errors="replace").decode()
    walk.passed_over.setdefault(reason, []).append(name)
