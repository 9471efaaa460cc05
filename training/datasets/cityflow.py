"""CityFlow-ReID: the AI City Challenge's vehicle re-identification track, from cameras of a US city.

| release | train | query | gallery | cameras |
|---|---|---|---|---|
| CityFlow (2019, 2020) | 36,935 images, 333 vehicles | 1,052 | 18,290 images, 333 vehicles | 40 |
| CityFlowV2 (2021) | 52,717 images, 440 vehicles | 1,103 | 31,238 images, 440 vehicles | 46 |

Z. Tang, M. Naphade, M. Liu, X. Yang, S. Birchfield, S. Wang, R. Kumar, D. Anastasiu, J. Hwang: CityFlow: a
city-scale benchmark for multi-target multi-camera vehicle tracking and re-identification, CVPR 2019. Given
out to registered participants of the challenge (aicitychallenge.org).

image_<split>/ folders with names that say nothing; train_label.xml tells vehicle and camera, train_track.txt
which images belong to one drive past a camera. The test split's vehicles are not public: it is a data set to
train on, beside another to evaluate on, unless query_label.xml and test_label.xml tell the vehicles too.
"""

from pathlib import Path

from training.datasets.files import attribute_names, check_images, read_items, read_tracks
from training.datasets.layout import Layout, Split
from training.datasets.records import Record
from zoo.errors import UserError


def recognises(root: Path) -> bool:
    """Tell CityFlow's layout: labels without colours and types."""
    names = attribute_names(root / "train_label.xml")
    return names is not None and "vehicleID" in names and "typeID" not in names


def read(root: Path, split: Split) -> list[Record]:
    """Read one split.

    Raises:
        UserError: the data set is half-copied, a label is wrong, or the split's vehicles are not told.
    """
    labels = root / f"{split}_label.xml"
    if split != "train" and "vehicleID" not in (attribute_names(labels) or ()):
        raise UserError(
            f"{root}: the vehicles of CityFlow's {split} split are not public, so it cannot be evaluated on; "
            "name another data set for that, in training with --evaluate-on"
        )
    tracks = read_tracks(root / ("train_track.txt" if split == "train" else "test_track.txt"))
    records = [
        Record(
            root / f"image_{split}" / item.text("imageName"),
            item.number("vehicleID"),
            item.number("cameraID"),
            track=tracks.get(item.text("imageName")),
        )
        for item in read_items(labels)
    ]
    check_images(records, labels, exclusive=True)
    return records


LAYOUTS = (Layout("cityflow", "CityFlow-ReID (AI City Challenge)", read, recognises),)
