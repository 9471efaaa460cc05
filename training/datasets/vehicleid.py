"""PKU VehicleID: front and rear views from many cameras that are not told apart.

| split | images | vehicles |
|---|---|---|
| train | 113,346 | 13,164 |
| test 800 (small) | 6,493 | 800 |
| test 1600 (medium) | 13,377 | 1,600 |
| test 2400 (large) | 19,777 | 2,400 |

221,567 images of 26,328 vehicles in all, as release 1.0 counts them; the paper, written before, differs a
little.

H. Liu, Y. Tian, Y. Wang, L. Pang, T. Huang: Deep relative distance learning: tell the difference between
similar vehicles, CVPR 2016. The authors give it out for research on request (pkuml.org, PKU VehicleID).

image/<name>.jpg; train_test_split/train_list.txt and test_list_<n>.txt hold `<name> <vehicle>` lines;
attribute/color_attr.txt `<vehicle> <colour>` for a part of the vehicles. Its 250 car models
(attribute/model_attr.txt) are no body types, so types stay unknown.

The gallery is one image of each test vehicle, drawn at random, and all others are queries (section 5 of the
paper, which repeats the draw ten times). Queries get camera 0 and the gallery camera 1, so that the rule
about a query's own camera, which cannot be known here, leaves nothing out.
"""

from functools import partial
from pathlib import Path

import numpy as np

from training.datasets.files import check_images, read_rows, whole_number
from training.datasets.layout import Layout, Split
from training.datasets.records import Classes, Record
from zoo.errors import UserError
from zoo.labels import COLORS

TEST_SIZES = (800, 1600, 2400)

COLOR_NAMES = ("black", "blue", "gray", "red", "silver", "white", "yellow")
"""In the order of VehicleID's ids, which count from 0. VeRi has no silver."""

_CLASSES = Classes(COLORS, ())

QUERY_CAMERA, GALLERY_CAMERA = 0, 1


def recognises(root: Path) -> bool:
    """Tell VehicleID's layout."""
    return (root / "train_test_split" / f"test_list_{TEST_SIZES[0]}.txt").is_file()


def read(root: Path, split: Split, test_size: int = TEST_SIZES[0], seed: int = 0) -> list[Record]:
    """Read one split.

    Args:
        root: the folder with image/, attribute/ and train_test_split/.
        split: which.
        test_size: vehicles of the test list.
        seed: of the draw of the gallery.

    Raises:
        UserError: the data set is half-copied, or a list is wrong.
    """
    name = "train_list" if split == "train" else f"test_list_{test_size}"
    labels = root / "train_test_split" / f"{name}.txt"
    colors = _read_colors(root / "attribute" / "color_attr.txt")
    records = []
    for where, fields in read_rows(labels):
        if len(fields) != 2:
            raise UserError(f"{where}: {len(fields)} fields where an image and its vehicle are expected")
        vehicle = whole_number(fields[1], "vehicle", where)
        path = root / "image" / f"{fields[0].removesuffix('.jpg')}.jpg"
        camera = GALLERY_CAMERA if split == "test" else QUERY_CAMERA
        records.append(Record(path, vehicle, camera, colors.get(vehicle, "")))
    check_images(records, labels)
    if split != "train":
        chosen = _draw_gallery(records, seed)
        records = [record for i, record in enumerate(records) if (i in chosen) == (split == "test")]
    return records


def _draw_gallery(records: list[Record], seed: int) -> set[int]:
    """Draw one image of each vehicle."""
    images: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        images.setdefault(record.vehicle_id, []).append(index)
    rng = np.random.default_rng(seed)
    return {int(rng.choice(images[vehicle])) for vehicle in sorted(images)}


def _read_colors(path: Path) -> dict[int, str]:
    """Vehicle -> colour's name, where the data set tells it and VeRi has such a colour."""
    if not path.is_file():
        return {}
    colors = {}
    for where, fields in read_rows(path):
        if len(fields) != 2:
            raise UserError(f"{where}: {len(fields)} fields where a vehicle and its colour are expected")
        vehicle, color = (whole_number(field, "field", where) for field in fields)
        if not 0 <= color < len(COLOR_NAMES):
            raise UserError(f"{where}: colour {color} is not in 0..{len(COLOR_NAMES) - 1}; mend the line")
        name = COLOR_NAMES[color]
        colors[vehicle] = name if name in COLORS else ""
    return colors


LAYOUTS = [Layout("vehicleid", "PKU VehicleID, smallest test set", read, recognises, classes=_CLASSES)] + [
    Layout(
        f"vehicleid-{size}",
        f"PKU VehicleID, {size} test vehicles",
        partial(read, test_size=size),
        classes=_CLASSES,
    )
    for size in TEST_SIZES
]
