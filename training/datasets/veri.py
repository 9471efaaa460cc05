"""VeRi-776: as its authors give it out, and with the label files of PAMTRI.

| split | images | vehicles | cameras |
|---|---|---|---|
| train | 37,778 | 576 | 20 |
| query | 1,678 | 200 | 19 |
| test (gallery) | 11,579 | 200 | 19 |

X. Liu, W. Liu, H. Ma, H. Fu: Large-scale vehicle re-identification in urban surveillance videos, ICME 2016;
X. Liu, W. Liu, T. Mei, H. Ma: A deep learning-based approach to progressive vehicle re-identification for
urban surveillance, ECCV 2016. The authors give it out for research on request
(github.com/JDAI-CV/VeRidataset).

Both layouts have image_<split>/ folders. The release labels images in train_label.xml and test_label.xml (the
queries are among the test images) and lists the splits in name_<split>.txt; images that belong to one drive
past a camera are side by side in test_track.txt. PAMTRI's label_<split>.csv hold name, vehicle id, colour id,
type id, then 36 keypoints as x, y, confidence in pixels of the image, without a header; where they are, they
are read, since only they have keypoints. Ids of colours and types count from 1. Coordinates may be negative
and confidences exceed 1 a little: the real files are like that.
"""

import csv
from pathlib import Path
from typing import get_args

import numpy as np

from training.datasets.files import (
    XmlItem,
    attribute_names,
    check_images,
    read_items,
    read_rows,
    read_tracks,
)
from training.datasets.layout import Layout, Split
from training.datasets.records import VERI, Record
from zoo.errors import UserError
from zoo.labels import COLORS, TYPES, parse_veri_name
from zoo.pose import NUM_KEYPOINTS

ROW_LENGTH = 4 + 3 * NUM_KEYPOINTS
_UNTYPED_SUVS = {3, 7, 41}
"""Training vehicles that some releases label with type 0; all three are SUVs."""


def recognises(root: Path) -> bool:
    """Tell VeRi's layout, also where a part of it is missing, which reading will name."""
    if any((root / f"label_{split}.csv").is_file() for split in get_args(Split)):
        return True
    names = attribute_names(root / "train_label.xml") or attribute_names(root / "test_label.xml")
    if names is not None:
        return "typeID" in names and "orientation" not in names
    return any((root / f"image_{split}").is_dir() for split in get_args(Split))


def read(root: Path, split: Split) -> list[Record]:
    """Read one split, from PAMTRI's label file where there is one.

    Raises:
        UserError: the data set is half-copied, or a label is wrong.
    """
    folder, labels = root / f"image_{split}", root / f"label_{split}.csv"
    release = root / ("train_label.xml" if split == "train" else "test_label.xml")
    tracks = {} if split == "train" else read_tracks(root / "test_track.txt")
    if release.is_file() and not labels.is_file():
        records = _read_release(root, split, release, tracks)
        labels = release
    else:
        _check_layout(root, folder, labels)
        records = _read_labels(labels, folder, tracks)
    check_images(records, labels, exclusive=True)
    return records


def _check_layout(root: Path, folder: Path, labels: Path) -> None:
    """Refuse a root that misses one of its parts."""
    for path, there in ((folder, folder.is_dir()), (labels, labels.is_file())):
        if not there:
            expected = [f"{kind}_{split}" for kind in ("image", "label") for split in get_args(Split)]
            found = sorted(p.name for p in root.iterdir() if p.stem in expected)
            raise UserError(
                f"{path}: missing; {root} holds {len(found)} of the 6 expected entries "
                f"({', '.join(found) or 'none'}): "
                "is the data set half-copied, or its root another folder?"
            )


def _read_release(root: Path, split: Split, labels: Path, tracks: dict[str, int]) -> list[Record]:
    """Read the authors' labels, in the order of the split's name list."""
    items = {item.text("imageName"): item for item in read_items(labels)}
    names = root / f"name_{split}.txt"
    if names.is_file():
        listed = [(where, fields[0]) for where, fields in read_rows(names)]
    elif split == "train":
        listed = [(item.where, name) for name, item in items.items()]
    else:
        raise UserError(f"{names}: missing; it tells queries from gallery: copy it again")
    of_vehicle = {item.number("vehicleID"): item for item in items.values()}
    records = []
    for where, name in listed:
        parsed = parse_veri_name(name)
        if parsed is None:
            raise _not_a_name(where, name)
        item = items.get(name)
        # A vehicle has one colour and one type, whichever of its images is labelled.
        attributes = item or of_vehicle.get(parsed.vehicle_id)
        if attributes is None:
            raise UserError(f"{where}: {name} has no Item in {labels.name}; copy both files again")
        records.append(
            Record(
                root / f"image_{split}" / name,
                parsed.vehicle_id if item is None else item.number("vehicleID"),
                parsed.camera_id if item is None else item.number("cameraID"),
                *_attributes(attributes),
                parsed.frame,
                tracks.get(name),
            )
        )
    return records


def _attributes(item: XmlItem) -> tuple[str, str]:
    if "colorID" not in item.attributes and "typeID" not in item.attributes:
        return "", ""
    return _classes(item.number("vehicleID"), item.number("colorID"), item.number("typeID"), item.where)


def _classes(vehicle: int, color: int, kind: int, where: str) -> tuple[str, str]:
    """Turn VeRi's ids of colour and type into names."""
    if kind == 0 and vehicle in _UNTYPED_SUVS:
        kind = TYPES.index("suv") + 1
    if not 1 <= color <= len(COLORS):
        raise UserError(f"{where}: colour {color} is not in 1..{len(COLORS)}; mend the row")
    if not 1 <= kind <= len(TYPES):
        raise UserError(f"{where}: type {kind} is not in 1..{len(TYPES)}; mend the row")
    return COLORS[color - 1], TYPES[kind - 1]


def _not_a_name(where: str, name: str) -> UserError:
    return UserError(
        f"{where}: {name!r} is not a name like 0002_c002_00030600_0.jpg (vehicle, camera, frame, index)"
    )


def _read_labels(labels: Path, folder: Path, tracks: dict[str, int]) -> list[Record]:
    records: list[Record] = []
    seen: dict[str, int] = {}
    try:
        with labels.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row or row == [""]:
                    continue
                where = f"{labels}:{number}"
                record = _parse_row(row, folder, tracks, where)
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


def _parse_row(row: list[str], folder: Path, tracks: dict[str, int], where: str) -> Record:
    if len(row) != ROW_LENGTH:
        raise UserError(
            f"{where}: {len(row)} fields where {ROW_LENGTH} are expected (name, vehicle, colour, type, "
            f"{NUM_KEYPOINTS} x (x, y, confidence)); is the file cut off?"
        )
    name = row[0].strip()
    parsed = parse_veri_name(name)
    if parsed is None:
        raise _not_a_name(where, name)
    try:
        vehicle, color, kind = (int(field) for field in row[1:4])
        keypoints = np.array(row[4:], dtype=np.float32).reshape(NUM_KEYPOINTS, 3)
    except ValueError as error:
        raise UserError(f"{where}: a field is not a number ({error}); mend the row") from error
    if not np.isfinite(keypoints).all():
        raise UserError(f"{where}: a keypoint is not finite; mend the row")
    classes = _classes(vehicle, color, kind, where)
    keypoints.flags.writeable = False
    return Record(
        folder / name,
        vehicle,
        parsed.camera_id,
        *classes,
        parsed.frame,
        tracks.get(name),
        keypoints=keypoints,
    )


LAYOUTS = (Layout("veri", "VeRi-776, with PAMTRI's label files or its own", read, recognises, classes=VERI),)
