"""The files that a gallery was filled from, where they still are: whole scenes, at their full size."""

from collections.abc import Iterator
from pathlib import Path, PurePath

from retrieval.gallery.entries import Entry, Facts
from retrieval.sources.crop import crop
from retrieval.sources.source import SUFFIXES, digest, display_picture, file_of
from serving.encoders.image import InputImage
from zoo.errors import UserError
from zoo.preprocess import ImageError


class Originals:
    """A folder where the files of a gallery's images may be.

    Args:
        folder: whose files are read, and none outside of it.

    Raises:
        UserError: no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"--originals {folder}: no such folder; mend the path, or leave it out")
        self._folder = folder

    def may_have(self, key: str, source: str) -> bool:
        """Whether there is a file of that name; `find` tells whether it still is the same one."""
        return next(self._places(key, source), None) is not None

    def find(self, entry: Entry) -> InputImage | None:
        """The file that an entry was made of, the whole scene; None where it is gone or another one now.

        Raises:
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        for path in self._places(entry.key, entry.source):
            try:
                image = InputImage.open(path)
                assert image.data is not None
                facts = Facts(**entry.facts)
                # A picture tells where a digest is not of the file: of a box that a detector has found.
                if entry.digest in (digest(image.data), digest(image.data, facts)) or (
                    entry.picture and display_picture(crop(image, entry.box)) == entry.picture
                ):
                    return image
            except ImageError:
                continue
        return None

    def _places(self, key: str, source: str) -> Iterator[Path]:
        """Files that may be the entry's: by its source's path and the ends of that, longest first."""
        parts = PurePath(file_of(source) or key).parts
        for start in range(len(parts)):
            end = PurePath(*parts[start:])
            path = self._folder / end
            is_inside = ".." not in end.parts and path.is_relative_to(self._folder)
            if is_inside and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path
