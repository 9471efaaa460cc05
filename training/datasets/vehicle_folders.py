"""Pictures of one's own: a folder for each vehicle, and nothing else.

B-MX17/0001.jpg; the camera may be told by a folder inside (B-MX17/gate/0001.jpg) or by all names
(B-MX17/0001_cam2.jpg). There are no splits: a share of the vehicles is set aside to evaluate on.
"""

from pathlib import Path

from training.datasets.layout import Layout, Split
from training.datasets.pictures import as_records, holds_vehicles, list_folder, read_pictures
from training.datasets.records import Record

_OF_OTHER_LAYOUTS = ("train", "val", "query", "gallery", "test", "images")
_PREFIXES = ("image_", "heatmap_", "segment_", "bounding_box_")


def recognises(root: Path) -> bool:
    """Tell folders of vehicles: two or more, all with pictures, none with the name of a split."""
    if not root.is_dir():
        return False
    names = [folder.name.lower() for folder in list_folder(root)[1]]
    if any(name in _OF_OTHER_LAYOUTS or name.startswith(_PREFIXES) for name in names):
        return False
    return holds_vehicles(root)


def read(root: Path, split: Split) -> list[Record]:
    """Read all pictures, which are the training split.

    Raises:
        UserError: the folders are not all arranged in the same way.
    """
    return as_records({split: read_pictures(root)}, split)


LAYOUTS = (Layout("folders", "a folder for each vehicle", read, recognises, is_undivided=lambda root: True),)
