"""Pictures of one's own in folders query/ and gallery/, with train/ or without; or in train/ alone.

Each holds a folder for each vehicle, or pictures whose names tell vehicle and camera: see
`training.datasets.pictures`. Where there is only train/, a share of its vehicles is set aside to evaluate on.
"""

from pathlib import Path

from training.datasets.layout import Layout, Split
from training.datasets.pictures import as_records, read_pictures, tells_vehicles
from training.datasets.records import Record
from zoo.errors import UserError

FOLDERS = {"train": "train", "query": "query", "test": "gallery"}


def recognises(root: Path) -> bool:
    """Tell the layout: query/ and gallery/ side by side, or train/."""
    there = {name for name in FOLDERS.values() if (root / name).is_dir()}
    complete = there >= {"query", "gallery"} or ("train" in there and not (root / "test").is_dir())
    return complete and any(tells_vehicles(root / name) for name in there)


def is_undivided(root: Path) -> bool:
    """Whether there is only train/."""
    return not any((root / FOLDERS[split]).is_dir() for split in ("query", "test"))


def read(root: Path, split: Split) -> list[Record]:
    """Read one split.

    Raises:
        UserError: its folder is missing, or the pictures are not all arranged in the same way.
    """
    folders = {name: root / folder for name, folder in FOLDERS.items() if (root / folder).is_dir()}
    if split not in folders:
        cure = "name another data set to train on" if split == "train" else "make it"
        raise UserError(f"{root / FOLDERS[split]}: missing, so there is no {split} split; {cure}")
    return as_records({name: read_pictures(folder) for name, folder in folders.items()}, split)


LAYOUTS = (Layout("query-gallery", "folders query/, gallery/ and train/", read, recognises, is_undivided),)
