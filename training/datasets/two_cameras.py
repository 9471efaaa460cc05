"""Vehicle-Re-ID-Dataset: real vehicles from behind, each at two cameras.

| split | images | vehicles |
|---|---|---|
| train | 1,014 | 507: 125 cars, 56 trucks, 4 buses, 322 motorcycles |

Khoa-Nguyen-Truong: Vehicle-Re-ID-Dataset (GitHub), Apache-2.0. The counts are those of the training part.

images/train/<kind>_<number>_cam<1 or 2>.jpg and images/test/ likewise; numbers are unique within a kind. A
folder of one's own with such names is read too, with any kinds and numbers of cameras. Each test picture is a
query, and all of them are the gallery: a query's own camera is left out. Where there is no test/, a share of
the vehicles is set aside.
"""

from pathlib import Path

from training.datasets.layout import Layout, Split
from training.datasets.pictures import all_named, as_records, list_folder, read_names, read_two_camera_name
from training.datasets.records import Record
from zoo.errors import UserError


def recognises(root: Path) -> bool:
    """Tell the layout by its names, in images/train/, images/test/ or images/."""
    folders = _folders(root)
    return bool(folders) and all(
        all_named(list_folder(folder)[0], read_two_camera_name) for folder in folders.values()
    )


def _folders(root: Path) -> dict[str, Path]:
    """The folder of each split; the training split alone where all pictures lie in one."""
    images = root / "images" if (root / "images").is_dir() else root
    if not images.is_dir():
        return {}
    splits = {name: images / name for name in ("train", "test") if (images / name).is_dir()}
    return splits or {"train": images}


def is_undivided(root: Path) -> bool:
    """Whether there are no test pictures."""
    return "test" not in _folders(root)


def read(root: Path, split: Split) -> list[Record]:
    """Read one split.

    Raises:
        UserError: its folder is missing, or a name is of another form.
    """
    pictures = {
        name: read_names(list_folder(folder)[0], read_two_camera_name)
        for name, folder in _folders(root).items()
    }
    wanted = "train" if split == "train" else "test"
    if not pictures.get(wanted):
        raise UserError(f"{root}: holds no {wanted} pictures (images/{wanted}/); is it half-copied?")
    return as_records(pictures, wanted)


LAYOUTS = (Layout("two-cameras", "Vehicle-Re-ID-Dataset, two cameras", read, recognises, is_undivided),)
