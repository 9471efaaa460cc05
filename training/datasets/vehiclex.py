"""VehicleX: synthetic vehicles from a game engine, with their orientation.

| split | images | vehicles | cameras |
|---|---|---|---|
| train (as given out with the AI City Challenge) | 192,150 | 1,362 | 11 |

Y. Yao, L. Zheng, X. Yang, M. Naphade, T. Gedeon: Simulating content consistent vehicle datasets with
attribute descent, ECCV 2020 (github.com/yorkeyao/VehicleX; versions in the style of VeRi, VehicleID and
CityFlow).

image_train/<vehicle>_c<camera>_<number>.jpg; train_label.xml tells vehicle, camera, colour, type, orientation
and the light. Ids of colours and types count from 0, and begin with VeRi's ten and nine in VeRi's order;
purple, pink, sports cars and RVs are VehicleX's own and stay unknown. It has no test split.
"""

from pathlib import Path

from training.datasets.files import XmlItem, attribute_names, check_images, read_items
from training.datasets.layout import Layout, Split
from training.datasets.records import VERI, Record
from zoo.errors import UserError
from zoo.labels import COLORS, TYPES
from zoo.numbers import plain


def recognises(root: Path) -> bool:
    """Tell VehicleX's layout: labels with an orientation."""
    return "orientation" in (attribute_names(root / "train_label.xml") or ())


def read(root: Path, split: Split) -> list[Record]:
    """Read one split, which has to be the training split.

    Raises:
        UserError: another split is asked for, the data set is half-copied, or a label is wrong.
    """
    if split != "train":
        raise UserError(
            f"{root}: VehicleX has no {split} split; name another data set to "
            "evaluate on, in training with --evaluate-on"
        )
    labels = root / "train_label.xml"
    records = [
        Record(
            root / "image_train" / item.text("imageName"),
            item.number("vehicleID"),
            item.number("cameraID"),
            _class(item, "colorID", COLORS),
            _class(item, "typeID", TYPES),
            orientation=_degrees(item),
        )
        for item in read_items(labels)
    ]
    check_images(records, labels, exclusive=True)
    return records


def _class(item: XmlItem, name: str, names: tuple[str, ...]) -> str:
    number = item.number(name)
    return names[number] if 0 <= number < len(names) else ""


def _degrees(item: XmlItem) -> float:
    text = item.text("orientation")
    try:
        return float(plain(text))
    except ValueError:
        raise UserError(f"{item.where}: orientation {text!r} is not a number; mend the line") from None


LAYOUTS = (Layout("vehiclex", "VehicleX (synthetic)", read, recognises, classes=VERI),)
