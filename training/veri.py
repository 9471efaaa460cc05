"""VeRi-776's layout, with the label files of PAMTRI: image_<split>/ folders and label_<split>.csv.

VeRi-776 (Liu et al., ECCV 2016) holds 776 vehicles seen by 20 cameras: 37,778 training images, 1,678 queries
and 11,579 gallery images of 200 further vehicles. A label row is name, vehicle id, colour id, type id, then
36 keypoints as x, y, confidence in pixels of the image; ids of colours and types count from 1. There is no
header. Coordinates may be negative and confidences exceed 1 a little: the real files are like that.
"""

import csv
import logging
import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from training.records import Record
from zoo.errors import UserError
from zoo.labels import COLORS, TYPES, parse_veri_name
from zoo.pose import NUM_KEYPOINTS

Split = Literal["train", "query", "test"]

ROW_LENGTH = 4 + 3 * NUM_KEYPOINTS
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}

_SUV = TYPES.index("suv")
_UNTYPED_SUVS = {3, 7, 41}
"""Training vehicles that some releases label with type 0; all three are SUVs."""

_log = logging.getLogger(__name__)


def read_split(root: str | Path, split: Split) -> list[Record]:
    """Read one split, in the order of its label file.

    Only labels and the folder's listing are read: no image is opened, and heatmap or segment folders are not
    needed.

    Raises:
        UserError: the data set is missing or half-copied, or a label row is wrong; the message names the
            file, the line and the cure.
    """
    if split not in get_args(Split):
        raise ValueError(f"split {split!r}: expected one of {get_args(Split)}")
    root = Path(root)
    folder, labels = root / f"image_{split}", root / f"label_{split}.csv"
    _check_layout(root, folder, labels)
    records = _read_labels(labels, folder)
    _check_images(records, folder, labels)
    return records


def split_of(record: Record) -> str:
    """The split that a record of `read_split` came from, as its folder says."""
    return record.path.parent.name.removeprefix("image_")


def _check_layout(root: Path, folder: Path, labels: Path) -> None:
    """Refuse a root that is not there or not of this layout."""
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; give the data set's root (the folder with image_train, image_query, "
            "image_test), or make one with `python -m training.synthesize --out data/synthetic`"
        )
    for path, there in ((folder, folder.is_dir()), (labels, labels.is_file())):
        if not there:
            expected = [f"{kind}_{split}" for kind in ("image", "label") for split in get_args(Split)]
            found = sorted(p.name for p in root.iterdir() if p.stem in expected)
            raise UserError(
                f"{path}: missing; {root} holds {len(found)} of the 6 expected entries "
                f"({', '.join(found) or 'none'}): "
                "is the data set half-copied, or its root another folder?"
            )


def _read_labels(labels: Path, folder: Path) -> list[Record]:
    records: list[Record] = []
    seen: dict[str, int] = {}
    try:
        with labels.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row or row == [""]:
                    continue
                where = f"{labels}:{number}"
                record = _parse_row(row, folder, where)
                name = record.path.name
                if name in seen:
                    raise UserError(
                        f"{where}: {name} is labelled twice (first in line {seen[name]}); delete one row"
                    )
                seen[name] = number
                records.append(record)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{labels}: not a label file ({error}); copy it again") from error
    if not records:
        raise UserError(f"{labels}: holds no rows; copy it again")
    return records


def _parse_row(row: list[str], folder: Path, where: str) -> Record:
    if len(row) != ROW_LENGTH:
        raise UserError(
            f"{where}: {len(row)} fields where {ROW_LENGTH} are expected (name, vehicle, colour, type, "
            f"{NUM_KEYPOINTS} x (x, y, confidence)); is the file cut off?"
        )
    name = row[0].strip()
    parsed = parse_veri_name(name)
    if parsed is None:
        raise UserError(
            f"{where}: {name!r} is not a name like 0002_c002_00030600_0.jpg (vehicle, camera, frame, index)"
        )
    try:
        vehicle, color, kind = (int(field) for field in row[1:4])
        keypoints = np.array(row[4:], dtype=np.float32).reshape(NUM_KEYPOINTS, 3)
    except ValueError as error:
        raise UserError(f"{where}: a field is not a number ({error}); mend the row") from error
    if not np.isfinite(keypoints).all():
        raise UserError(f"{where}: a keypoint is not finite; mend the row")
    if kind == 0 and vehicle in _UNTYPED_SUVS:
        kind = _SUV + 1
    if not 1 <= color <= len(COLORS):
        raise UserError(f"{where}: colour {color} is not in 1..{len(COLORS)}; mend the row")
    if not 1 <= kind <= len(TYPES):
        raise UserError(f"{where}: type {kind} is not in 1..{len(TYPES)}; mend the row")
    keypoints.flags.writeable = False
    return Record(folder / name, vehicle, parsed.camera_id, color - 1, kind - 1, parsed.frame, keypoints)


def _check_images(records: list[Record], folder: Path, labels: Path) -> None:
    """Compare the labels with the folder's listing, which costs one pass and no `stat` an image."""
    with os.scandir(folder) as entries:
        present = {entry.name for entry in entries}
    names = {record.path.name for record in records}
    missing = sorted(names - present)
    if missing:
        raise UserError(
            f"{folder}: holds {len(names) - len(missing)} of the {len(names)} images that {labels.name} "
            f"names; missing {_first(missing)}: copy the folder again"
        )
    unlabelled = sorted(n for n in present - names if Path(n).suffix.lower() in IMAGE_SUFFIXES)
    if unlabelled:
        _log.warning(
            "%s: %d images without a row in %s are ignored (%s)",
            folder,
            len(unlabelled),
            labels.name,
            _first(unlabelled),
        )


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
