"""Pictures that are named as in Market-1501: 0002_c1s1_000451_03.jpg is vehicle 2 at camera 1.

L. Zheng, L. Shen, L. Tian, S. Wang, J. Wang, Q. Tian: Scalable person re-identification: a benchmark, ICCV
2015. The data set has persons; many of vehicles are distributed in its form.

bounding_box_train/, query/ and bounding_box_test/ (the gallery), or all pictures in one folder, of which a
share of the vehicles is then set aside to evaluate on. A vehicle may be any text. Vehicle -1 marks pictures
that are neither right nor wrong, and is left out.
"""

from pathlib import Path

from training.datasets.layout import Layout, Split
from training.datasets.pictures import (
    Picture,
    all_named,
    as_records,
    list_folder,
    read_market_name,
    read_names,
)
from training.datasets.records import Record
from zoo.errors import UserError

FOLDERS = {"train": "bounding_box_train", "query": "query", "test": "bounding_box_test"}
JUNK = "-1"


def recognises(root: Path) -> bool:
    """Tell the layout: a bounding_box folder, or only pictures with such names."""
    if not root.is_dir():
        return False
    return _has_splits(root) or all_named(list_folder(root)[0], read_market_name)


def _has_splits(root: Path) -> bool:
    return any((root / FOLDERS[split]).is_dir() for split in ("train", "test"))


def is_undivided(root: Path) -> bool:
    """Whether the pictures lie in one folder, or only those for training are there."""
    return not _has_splits(root) or not ((root / FOLDERS["test"]).is_dir() or (root / "query").is_dir())


def read(root: Path, split: Split) -> list[Record]:
    """Read one split.

    Raises:
        UserError: its folder is missing, or a name is of another form.
    """
    if not _has_splits(root):
        return as_records({split: _read_folder(root)}, split)
    folders = {name: root / folder for name, folder in FOLDERS.items() if (root / folder).is_dir()}
    if split not in folders:
        raise UserError(f"{root / FOLDERS[split]}: missing; is the data set half-copied?")
    return as_records({name: _read_folder(folder) for name, folder in folders.items()}, split)


def _read_folder(folder: Path) -> list[Picture]:
    pictures = read_names(list_folder(folder)[0], read_market_name)
    if not pictures:
        raise UserError(f"{folder}: holds no pictures; copy it again")
    return [picture for picture in pictures if picture.vehicle != JUNK]


LAYOUTS = (Layout("market", "pictures named as in Market-1501", read, recognises, is_undivided),)
