"""A table of images, CSV or Parquet: what each shows, where and when, and which part of a scene it is."""

import csv
import difflib
import math
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from retrieval.gallery.clock import parse_time
from retrieval.gallery.entries import Box, Facts
from retrieval.sources.source import ImageFile
from zoo.errors import UserError, from_extra
from zoo.numbers import plain

SIDES = ("left", "top", "right", "bottom")
COLUMNS = ("image", "key", "camera", "time", "latitude", "longitude", "vehicle", "track", *SIDES)
"""`image` is needed, a path from the table's folder; all others may be missing or empty."""


def read_manifest(path: Path) -> list[ImageFile]:
    """Read a table: CSV with a header, or Parquet.

    Without a `key`, an image is called by its path, and one of several boxes by path and box.

    Raises:
        UserError: no such file, an unknown column, a value of another kind, or a key that comes twice; the
            message names the line.
    """
    files: dict[str, ImageFile] = {}
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    for where, row in rows:
        found = image_file(row, path.parent, where)
        if found.key in files:
            raise UserError(f"{where}: the key {found.key!r} comes twice")
        files[found.key] = found
    if not files:
        raise UserError(f"{path}: no images in it")
    return list(files.values())


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Each line and where it is."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            # Strict: a table that was cut off within a quoted value is no table.
            reader = csv.DictReader(file, strict=True)
            _check_columns(reader.fieldnames or (), str(path))
            for row in reader:
                yield f"{path}, line {reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV in UTF-8 ({error}); mend it") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Each row and where it is."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(f"{path}: Parquet needs pyarrow; it {from_extra('parquet')}") from error
    number = 0
    try:
        with pq.ParquetFile(path) as table:
            _check_columns(table.schema_arrow.names, str(path))
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", {name: as_text(value) for name, value in row.items()}
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({error}); mend it") from error


def as_text(value: Any) -> str | None:
    """A value of a table or of JSON as CSV would have it."""
    if value is None or value != value:  # noqa: PLR0124, NaN is how tables of numbers say that there is none
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _check_columns(names: Iterable[str], where: str) -> None:
    names = list(names)
    unknown = sorted(set(names) - set(COLUMNS))
    repeated = [name for name in names if names.count(name) > 1]
    if unknown or repeated or "image" not in names:
        near = difflib.get_close_matches(unknown[0], COLUMNS, n=1) if unknown else []
        fault = f"; {unknown[0]!r} is none of them" if unknown else ""
        fault += f", did you mean {near[0]}?" if near else ""
        fault = f"; {repeated[0]!r} comes twice" if repeated else fault
        raise UserError(f"{where}: the columns are {', '.join(COLUMNS)}, of which `image` is needed{fault}")


def image_file(row: dict[str, str | None], folder: Path, where: str) -> ImageFile:
    """The image that a row is about.

    Args:
        row: column -> text.
        folder: where relative paths begin.
        where: what messages call the row.

    Raises:
        UserError: a value of another kind.
    """
    values = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
    if any("\0" in value for value in values.values()):
        raise UserError(f"{where}: a NUL byte, which no text has; copy the table again")
    if None in row or not values.get("image"):
        raise UserError(f"{where}: no image, or more values than columns; mend the line")

    def number(name: str) -> float | None:
        text = values.get(name)
        try:
            value = float(plain(text)) if text else None
        except ValueError:
            value = float("nan")
        if value is not None and not abs(value) < 1e18:
            raise UserError(f"{where}: {name} is {text!r}; a number is expected")
        return value

    def whole(name: str) -> int | None:
        text = values.get(name)
        if not text:
            return None
        try:
            # Not by way of a float, which takes long numbers for their neighbours.
            number = Decimal(plain(text))
            value = int(text) if text.lstrip("+-").isdecimal() else int(number.to_integral_exact())
            exact = number == value
        except (ValueError, ArithmeticError):
            value, exact = 0, False
        if not exact or not abs(value) < 2**63:
            raise UserError(
                f"{where}: {name} is {text!r}; a whole number is expected. Number ids that are text, e.g. "
                "by their order"
            )
        return value

    time = values.get("time")
    try:
        seconds = parse_time(time) if time else None
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    latitude, longitude = number("latitude"), number("longitude")
    if (latitude is None) != (longitude is None) or abs(latitude or 0) > 90 or abs(longitude or 0) > 180:
        raise UserError(f"{where}: latitude and longitude are degrees, both or neither")
    sides = [number(side) for side in SIDES]
    box: Box | None = None
    if any(side is not None for side in sides):
        left, top, right, bottom = (math.nan if side is None else side for side in sides)
        # Over the edge of the scene is fine: the box is clipped when the scene is read.
        if not (left < right and top < bottom):
            raise UserError(f"{where}: a box is left, top, right and bottom in pixels, all of them")
        box = (left, top, right, bottom)
    facts = Facts(
        vehicle_id=whole("vehicle"),
        track_id=whole("track"),
        camera=whole("camera"),
        time=seconds,
        latitude=latitude,
        longitude=longitude,
        box=box,
    )
    suffix = "" if box is None else "#" + ",".join(f"{side:g}" for side in box)
    path, key = folder / values["image"], values.get("key")
    if key:
        return ImageFile(path, key, facts)
    return ImageFile(path, values["image"] + suffix, facts, root=os.path.abspath(folder))
