"""Pictures of one's own, as a table: a CSV file with a heading and a row an image.

| column | what it holds |
|---|---|
| path | of the image, from the table's folder |
| split | train, query or test (the gallery); all are train where there is no such column |
| vehicle_id | which vehicle; a number or any text |
| camera_id | which camera; a number or any text |
| color, type | any names, empty where unknown; those of the training rows are the classes to learn |
| track | which drive past the camera; a number or any text, empty where unknown |
| frame | a whole number, empty for 0 |
| orientation | degrees, empty where unknown |
| keypoints | 36 x (x, y, confidence) in pixels of the image: 108 numbers with spaces between, or empty |

The path and both ids are needed. Where all rows are of the training split, a share of the vehicles is set
aside to evaluate on. A column of ids that is not all whole numbers is numbered from 1, in sorted order,
over all splits; empty tracks aside.
"""

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from training.datasets.files import check_images, whole_number
from training.datasets.layout import Layout, Split
from training.datasets.records import Record, number_ids
from zoo.errors import UserError
from zoo.numbers import plain
from zoo.pose import NUM_KEYPOINTS

NEEDED = ("path", "vehicle_id", "camera_id")
OPTIONAL = ("split", "color", "type", "track", "frame", "orientation", "keypoints")


@dataclass(frozen=True)
class Row:
    """A row's fields by column. `where` is the file and line, for messages."""

    where: str
    fields: dict[str, str]

    def get(self, column: str) -> str:
        """A field; empty where the table has no such column."""
        return self.fields.get(column, "")

    @property
    def split(self) -> str:
        """The row's split, which is train where the table tells none."""
        return self.fields.get("split", "train")


def recognises(path: Path) -> bool:
    """Tell a table: any file that ends so."""
    return path.suffix.lower() == ".csv" and path.is_file()


def is_undivided(path: Path) -> bool:
    """Whether all rows are of the training split.

    Raises:
        UserError: see `read`.
    """
    return all(row.split == "train" for row in read_rows(path))


def read(path: Path, split: Split) -> list[Record]:
    """Read one split of a table.

    Raises:
        UserError: the table is damaged, lacks a column or has an unknown one, or a row is wrong.
    """
    rows = read_rows(path)
    vehicles, cameras, tracks = (
        number_ids(row.get(column) for row in rows) for column in ("vehicle_id", "camera_id", "track")
    )
    records = [
        Record(
            path.parent / row.get("path"),
            vehicles[row.get("vehicle_id")],
            cameras[row.get("camera_id")],
            row.get("color").lower(),
            row.get("type").lower(),
            whole_number(row.get("frame") or "0", "frame", row.where),
            tracks.get(row.get("track")),
            _orientation(row),
            _keypoints(row),
        )
        for row in rows
        if row.split == split
    ]
    if not records:
        raise UserError(f"{path}: has no rows with split {split}; add some, or name another data set for it")
    check_images(records, path)
    return records


def read_rows(path: Path, needed: Sequence[str] = NEEDED, more: Sequence[str] = ()) -> list[Row]:
    """Read a table's rows as they are.

    Args:
        path: the table.
        needed: the columns that it must have, none of them empty.
        more: columns that it may have beside `NEEDED` and `OPTIONAL`.

    Raises:
        UserError: see `read`.
    """
    rows: list[Row] = []
    seen: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(path, columns, needed, (*NEEDED, *OPTIONAL, *more))
            for fields in reader:
                where = f"{path}:{reader.line_num}"
                if not any(fields):
                    continue
                if len(fields) != len(columns):
                    raise UserError(f"{where}: {len(fields)} fields where the heading has {len(columns)}")
                row = Row(where, dict(zip(columns, (field.strip() for field in fields), strict=True)))
                _check_row(row, needed, seen)
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table that can be read ({error}); save it as CSV in UTF-8") from error
    return rows


def _check_columns(path: Path, columns: list[str], needed: Sequence[str], known: Sequence[str]) -> None:
    for column in columns:
        if column not in known or columns.count(column) > 1:
            near = difflib.get_close_matches(column, known, n=1)
            hint = (
                f"did you mean {near[0]}?" if near and near[0] != column else "each known one may come once"
            )
            raise UserError(
                f"{path}:1: unknown or repeated column {column!r}; {hint} Known are {', '.join(known)}"
            )
    missing = [column for column in needed if column not in columns]
    if missing:
        raise UserError(f"{path}:1: lacks the column {missing[0]}; the heading needs {', '.join(needed)}")


def _check_row(row: Row, needed: Sequence[str], seen: dict[str, str]) -> None:
    for column in needed:
        if not row.get(column):
            raise UserError(f"{row.where}: {column} is empty; fill it in")
    if row.split not in get_args(Split):
        raise UserError(f"{row.where}: split {row.split!r} is not one of {', '.join(get_args(Split))}")
    image = f"{row.split} {row.get('path')}"
    if image in seen:
        raise UserError(
            f"{row.where}: {row.get('path')} is there twice (first in {seen[image]}); delete one row"
        )
    seen[image] = row.where


def _orientation(row: Row) -> float | None:
    text = row.get("orientation")
    try:
        return float(plain(text)) if text else None
    except ValueError:
        raise UserError(f"{row.where}: orientation {text!r} is not a number; mend the row") from None


def _keypoints(row: Row) -> np.ndarray | None:
    text = row.get("keypoints")
    if not text:
        return None
    try:
        values = np.array(text.split(), dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{row.where}: a keypoint is not a number ({error}); mend the row") from error
    if len(values) != 3 * NUM_KEYPOINTS or not np.isfinite(values).all():
        raise UserError(
            f"{row.where}: keypoints hold {len(values)} numbers where {3 * NUM_KEYPOINTS} finite ones are "
            "expected"
        )
    keypoints = values.reshape(NUM_KEYPOINTS, 3)
    keypoints.flags.writeable = False
    return keypoints


LAYOUTS = (Layout("table", "a CSV file of one's own, see docs/datasets.md", read, recognises, is_undivided),)
