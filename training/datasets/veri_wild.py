"""VERI-Wild: a month of a district's traffic, by day and night and in all weather.

| split | images | vehicles |
|---|---|---|
| train | 277,797 | 30,671 |
| test 3000 (small) | 3,000 queries, 38,861 gallery | 3,000 |
| test 5000 (medium) | 5,000 queries, 64,389 gallery | 5,000 |
| test 10000 (large) | 10,000 queries, 128,517 gallery | 10,000 |

416,314 images of 40,671 vehicles from 174 cameras in all.

Y. Lou, Y. Bai, J. Liu, S. Wang, L. Duan: VERI-Wild: a large dataset and a new method for vehicle
re-identification in the wild, CVPR 2019. The authors give it out for research
(github.com/PKU-IMRE/VERI-Wild).

images/<vehicle>/<image>.jpg; train_test_split/train_list.txt, test_<n>_query.txt and test_<n>.txt (in some
releases train_list_start0.txt, test_<n>_id_query.txt and test_<n>_id.txt) hold `<vehicle>/<image>` lines,
with or without the suffix; vehicle_info.txt has a heading and
`<vehicle>/<image>;camera;time;model;type;colour` lines.
"""

from functools import partial
from pathlib import Path

from training.datasets.files import check_images, read_rows, whole_number
from training.datasets.layout import Layout, Split
from training.datasets.records import VERI, Record
from zoo.errors import UserError
from zoo.labels import COLORS

TEST_SIZES = (3000, 5000, 10000)

COLOR_OF = {**{name: name for name in COLORS}, "dark gray": "gray"}
"""VERI-Wild's colours that VeRi has; purple and cyan stay unknown."""

TYPE_OF = {
    "sedan": "sedan",
    "suv": "suv",
    "minivan": "van",
    "business purpose vehicle/mpv": "mpv",
    "pickup truck": "pickup",
    "large-sized bus": "bus",
    "small-sized truck": "truck",
    "hgv/large truck": "truck",
    "bulk lorry/fence truck": "truck",
    "tank car/tanker": "truck",
}
"""VERI-Wild's types that VeRi has; minibuses, light passenger vehicles and others stay unknown."""


def recognises(root: Path) -> bool:
    """Tell VERI-Wild's layout."""
    return (root / "train_test_split" / "vehicle_info.txt").is_file()


def read(root: Path, split: Split, test_size: int = TEST_SIZES[0]) -> list[Record]:
    """Read one split.

    Args:
        root: the folder with images/ and train_test_split/.
        split: which.
        test_size: vehicles of the test set.

    Raises:
        UserError: the data set is half-copied, or a list is wrong.
    """
    info_path = root / "train_test_split" / "vehicle_info.txt"
    info = _read_info(info_path)
    labels = _list_path(root / "train_test_split", split, test_size)
    records = []
    for where, fields in read_rows(labels):
        key = fields[0].removesuffix(".jpg")
        if key not in info:
            raise UserError(f"{where}: {key} has no line in {info_path.name}; copy both files again")
        vehicle, _, image = key.partition("/")
        records.append(
            Record(
                root / "images" / vehicle / f"{image}.jpg",
                whole_number(vehicle, "vehicle", where),
                *info[key],
            )
        )
    check_images(records, labels)
    return records


def _list_path(folder: Path, split: Split, test_size: int) -> Path:
    names = {
        "train": ("train_list.txt", "train_list_start0.txt"),
        "query": (f"test_{test_size}_query.txt", f"test_{test_size}_id_query.txt"),
        "test": (f"test_{test_size}.txt", f"test_{test_size}_id.txt"),
    }[split]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: holds neither {' nor '.join(names)}; is the data set half-copied?")


def _read_info(path: Path) -> dict[str, tuple[int, str, str]]:
    """Image -> camera, colour's and type's name."""
    rows = read_rows(path, ";")
    next(rows, None)
    info = {}
    for where, fields in rows:
        if len(fields) != 6:
            raise UserError(f"{where}: {len(fields)} fields where 6 are expected; is the file cut off?")
        image, camera, _, _, kind, color = fields
        info[image.removesuffix(".jpg")] = (
            whole_number(camera, "camera", where),
            COLOR_OF.get(color.lower(), ""),
            TYPE_OF.get(kind.lower(), ""),
        )
    return info


LAYOUTS = [Layout("veri-wild", "VERI-Wild, smallest test set", read, recognises, classes=VERI)] + [
    Layout(
        f"veri-wild-{size}", f"VERI-Wild, {size} test vehicles", partial(read, test_size=size), classes=VERI
    )
    for size in TEST_SIZES
]
