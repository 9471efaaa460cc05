"""Reading label files, with the line that is wrong named where one is."""

import contextlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from training.datasets.records import Record
from zoo.errors import UserError, stop_if_starved
from zoo.numbers import plain

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}

_log = logging.getLogger(__name__)

_DECLARED = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)["']""")


@dataclass(frozen=True)
class XmlItem:
    """One `<Item .../>` of an XML label file. `where` is the file and line, for messages."""

    where: str
    attributes: dict[str, str]

    def text(self, name: str) -> str:
        """An attribute.

        Raises:
            UserError: it is missing.
        """
        try:
            return self.attributes[name]
        except KeyError:
            raise UserError(f"{self.where}: has no {name}; is this another data set's file?") from None

    def number(self, name: str) -> int:
        """An attribute that is a whole number; a camera's letter c is left out.

        Raises:
            UserError: it is missing or something else.
        """
        return whole_number(self.text(name).removeprefix("c"), name, self.where)


def whole_number(text: str, name: str, where: str) -> int:
    """Read a whole number.

    Raises:
        UserError: it is none.
    """
    try:
        return int(plain(text))
    except ValueError:
        raise UserError(f"{where}: {name} {text!r} is not a whole number; mend the line") from None


def read_items(path: Path) -> list[XmlItem]:
    """Read the `<Item .../>` elements of an XML label file, in order.

    VeRi's and CityFlow's files declare gb2312, which Python's XML parser refuses; they are decoded first.

    Raises:
        UserError: the file is missing, of another encoding than it says, not XML, or empty.
    """
    items: list[XmlItem] = []
    parser = expat.ParserCreate("utf-8")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "Item":
            items.append(XmlItem(f"{path}:{parser.CurrentLineNumber}", attributes))

    parser.StartElementHandler = start
    data = _read_bytes(path)
    try:
        parser.Parse(_decode(data).encode(), True)
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(f"{path}: not in the encoding that it declares ({error}); copy it again") from error
    except expat.ExpatError as error:
        raise UserError(f"{path}:{error.lineno}: not XML ({error}); copy the file again") from error
    if not items:
        raise UserError(f"{path}: holds no Item; copy it again")
    return items


def attribute_names(path: Path) -> set[str] | None:
    """The attributes of an XML label file's first Item; None where there is no such file or Item."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return None
    found = re.search(rb"<Item\s([^>]*)>", head)
    return None if found is None else {name.decode() for name in re.findall(rb"(\w+)\s*=", found[1])}


def read_rows(path: Path, separator: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield (file:line, fields) for each line of a text file that is not empty.

    Args:
        path: the file.
        separator: between fields; None for white space.

    Raises:
        UserError: the file is missing or not text.
    """
    try:
        lines = _read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file ({error}); copy it again") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{path}:{number}", [field.strip() for field in line.split(separator)]


def read_tracks(path: Path) -> dict[str, int]:
    """Read a file with the image names of a track in each line: name -> track, counted from 1.

    A data set without such a file has no tracks. What is no image name, e.g. a track's number before its
    images, is passed over.
    """
    if not path.is_file():
        return {}
    return {
        name: number
        for number, (_, fields) in enumerate(read_rows(path), start=1)
        for name in fields
        if Path(name).suffix.lower() in IMAGE_SUFFIXES
    }


def check_images(records: Sequence[Record], labels: Path, exclusive: bool = False) -> None:
    """Compare the records with their folders' listings, which costs one pass and no `stat` an image.

    Args:
        records: of one split.
        labels: the file that they are from.
        exclusive: whether the folders hold this split alone, so that an image without a label is worth a
            note.

    Raises:
        UserError: images are missing, or named twice, which would count them twice.
    """
    paths = [record.path for record in records]
    if len(set(paths)) < len(paths):
        twice = next(path for path, count in Counter(paths).items() if count > 1)
        raise UserError(f"{labels}: names {twice.name} twice; delete one of the lines")
    folders: dict[Path, set[str]] = {}
    for record in records:
        folders.setdefault(record.path.parent, set()).add(record.path.name)
    missing: list[str] = []
    unlabelled: list[str] = []
    for folder, names in folders.items():
        present = _listing(folder)
        missing += names - present
        if exclusive:
            unlabelled += (n for n in present - names if Path(n).suffix.lower() in IMAGE_SUFFIXES)
    where = next(iter(folders)) if len(folders) == 1 else Path(os.path.commonpath(folders))
    if missing:
        total = sum(map(len, folders.values()))
        raise UserError(
            f"{where}: holds {total - len(missing)} of the {total} images that {labels.name} "
            f"names; missing {_first(sorted(missing))}: copy the folder again"
        )
    if unlabelled:
        _log.warning(
            "%s: %d images without a row in %s are ignored (%s)",
            where,
            len(unlabelled),
            labels.name,
            _first(sorted(unlabelled)),
        )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be read ({reason}); is the data set half-copied?") from error


def _decode(data: bytes) -> str:
    found = _DECLARED.search(data[:200])
    encoding = "utf-8-sig" if found is None else found[1].decode().lower()
    if encoding == "gb2312":
        # Editors save such a file as UTF-8 and leave what it declares. Others may hold characters that only
        # gb2312's successor has.
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-8-sig")
        encoding = "gb18030"
    return data.decode(encoding)


def _listing(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError as error:
        stop_if_starved(error)
        return set()


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
