"""What has been in a gallery long enough, or is no longer where it came from."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from retrieval.gallery.base import Gallery
from retrieval.sources.source import file_of
from zoo.errors import UserError


@dataclass
class Expired:
    """What a gallery holds by its age and its sources.

    Attributes:
        images: that were looked at.
        old: keys of those that are older.
        missing: keys of those whose file is gone.
        undated: images without a time, of which nobody knows the age; none unless ages were asked for.
        elsewhere: images that come from another place than the folder; none unless one was asked for.
    """

    images: int = 0
    old: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    undated: int = 0
    elsewhere: int = 0

    @property
    def keys(self) -> list[str]:
        """All of those keys, each once."""
        return list(dict.fromkeys([*self.old, *self.missing]))


def find_expired(
    gallery: Gallery,
    before: float | None = None,
    folder: Path | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> Expired:
    """Find what should go; nothing is taken out.

    Args:
        gallery: to look through.
        before: seconds; what has an earlier time is old.
        folder: images whose sources lie there and are gone are missing.
        advance: called with how many more images were looked at.

    Raises:
        UserError: no such folder, or none of the gallery's images is there: more likely a disk that is not
            mounted than a folder that was emptied.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; mend the path, or mount what it lies on")
    root = None if folder is None else PurePath(os.path.abspath(folder))
    found, there = Expired(), 0
    example = ""
    for entries in gallery.entries():
        for entry in entries:
            found.images += 1
            if before is not None:
                if entry.time is None:
                    found.undated += 1
                elif entry.time < before:
                    found.old.append(entry.key)
            if root is not None:
                path = PurePath(file_of(entry.source))
                if not path.is_relative_to(root):
                    found.elsewhere += 1
                    example = example or entry.source
                elif os.path.exists(path):
                    there += 1
                else:
                    found.missing.append(entry.key)
        advance(len(entries))
    if root is not None and found.images and not there:
        if found.missing:
            raise UserError(
                f"{folder}: has none of the {len(found.missing)} files that {gallery.name} took from there, "
                "as if it were not mounted; mount it, or take the images out by their keys"
            )
        raise UserError(
            f"{folder}: no image of {gallery.name} comes from there"
            + (f", but for example from {example}" if example else "")
            + "; name the folder that was ingested"
        )
    return found
