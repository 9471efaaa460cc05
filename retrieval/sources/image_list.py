"""Images named one a line by another program: paths, or JSON objects with the columns of a table."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from retrieval.gallery.filters import unknown_field
from retrieval.sources.manifest import COLUMNS, as_text, image_file
from retrieval.sources.source import Source, Unusable
from zoo.errors import UserError


def read_image_list(lines: Iterable[str], folder: Path) -> Iterator[Source]:
    """Make a source of each line as it comes; one that makes no sense is a bad image, not the end.

    Args:
        lines: such as `yard/7.jpg` or `{"image": "yard/7.jpg", "camera": 3, "time": "8:05"}`.
        folder: where relative paths begin.
    """
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        where = f"line {number}"
        try:
            row = _object(text, where) if text.startswith("{") else None
            yield image_file(row or {"image": text}, folder, where)
        except UserError as error:
            yield Unusable(where, str(error))


def _object(text: str, where: str) -> dict[str, str | None]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: neither a path nor JSON ({error}); mend the line") from error
    for name, value in found.items():
        if name not in COLUMNS:
            raise UserError(f"{where}: {unknown_field(name, COLUMNS)}")
        if isinstance(value, dict | list):
            raise UserError(f"{where}: {name} is a {type(value).__name__}; a text or a number is expected")
    return {name: as_text(value) for name, value in found.items()}
