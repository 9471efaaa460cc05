"""Tiny data sets in the true layouts of others. Reading a split opens no image, so the images are empty."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from training.datasets import read_split
from zoo.labels import COLORS, TYPES


def write_items(path: Path, items: Sequence[str]) -> None:
    """Write an XML label file as VeRi, CityFlow and VehicleX have them."""
    lines = [f"    <Item {item} />" for item in items]
    text = [
        '<?xml version="1.0" encoding="gb2312"?>',
        '<TrainingImages Version="1.0">',
        f'  <Items number="{len(items)}">',
        *lines,
        "  </Items>",
        "</TrainingImages>",
    ]
    path.write_text("\n".join(text), encoding="gb2312")


def touch(folder: Path, names: Sequence[str]) -> None:
    """Make empty images."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_release(pamtri: Path, root: Path) -> Path:
    """Write the data set of PAMTRI's layout at `pamtri` as VeRi's authors give it out."""
    items: dict[str, list[str]] = {"train": [], "test": []}
    root.mkdir()
    for split in ("train", "query", "test"):
        shutil.copytree(pamtri / f"image_{split}", root / f"image_{split}")
        records = read_split(pamtri, split)  # type: ignore[arg-type]
        (root / f"name_{split}.txt").write_text("".join(f"{record.path.name}\r\n" for record in records))
        items["train" if split == "train" else "test"] += [
            f'imageName="{r.path.name}" vehicleID="{r.vehicle_id:04d}" cameraID="c{r.camera_id:03d}" '
            f'colorID="{COLORS.index(r.color) + 1}" typeID="{TYPES.index(r.type) + 1}"'
            for r in records
        ]
    for name, lines in items.items():
        write_items(root / f"{name}_label.xml", lines)
    return root


def write_vehicleid(root: Path) -> Path:
    """Training vehicles 5 and 9, test vehicles 20 to 22 with four images each."""
    train = ["0000001 5", "0000002 5", "0000003 9"]
    test = [f"{100 + 4 * k + i:07d} {20 + k}" for k in range(3) for i in range(4)]
    touch(root / "image", [f"{line.split()[0]}.jpg" for line in train + test])
    for folder, name, lines in (
        ("train_test_split", "train_list", train),
        ("train_test_split", "test_list_800", test),
        ("train_test_split", "test_list_1600", test[:8]),
        ("attribute", "color_attr", ["5 3", "20 4"]),
        ("attribute", "model_attr", ["5 17", "9 2", "20 100"]),
    ):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_veri_wild(root: Path) -> Path:
    """Training vehicle 1; test vehicle 30672 with a query and a gallery image."""
    info = [
        "id/image;Camera ID;Time;Model;Type;Color",
        "00001/000001;148;2018-03-11 11:35:23;Mercedes-Benz-E;sedan;dark gray",
        "00001/000002;27;2018-03-12 08:00:01;Mercedes-Benz-E;sedan;dark gray",
        "30672/000003;9;2018-03-12 08:00:01;Ford Transit;light passenger vehicle;purple",
        "30672/000004;174;2018-03-12 08:00:01;Ford Transit; small-sized truck;white",
    ]
    split = root / "train_test_split"
    split.mkdir(parents=True)
    (split / "vehicle_info.txt").write_text("\n".join(info) + "\n")
    (split / "train_list.txt").write_text("00001/000001\n00001/000002\n")
    (split / "test_3000_query.txt").write_text("30672/000003\n")
    (split / "test_3000.txt").write_text("30672/000004\n")
    (split / "test_10000_id_query.txt").write_text("30672/000004.jpg 0\n")
    touch(root / "images", [f"{line.split(';')[0]}.jpg" for line in info[1:]])
    return root


def write_cityflow(root: Path) -> Path:
    """Three training images of two vehicles, in two tracks; a test split that tells only cameras."""
    vehicles = {"000001.jpg": (241, 5), "000002.jpg": (241, 5), "000003.jpg": (7, 40)}
    touch(root / "image_train", list(vehicles))
    touch(root / "image_query", ["000001.jpg"])
    touch(root / "image_test", ["000001.jpg"])
    labels = [f'imageName="{n}" vehicleID="{v:04d}" cameraID="c{c:03d}"' for n, (v, c) in vehicles.items()]
    write_items(root / "train_label.xml", labels)
    write_items(root / "test_label.xml", ['imageName="000001.jpg" cameraID="c042"'])
    (root / "train_track.txt").write_text("000002.jpg 000001.jpg \n000003.jpg \n")
    return root


def write_vehiclex(root: Path) -> Path:
    """One image of VeRi's classes, one of VehicleX's own."""
    labels = [
        'imageName="0001_c001_33.jpg" vehicleID="0001" cameraID="c001" colorID="6" typeID="1" '
        'orientation="262.3" lightInt="0.7" lightDir="9.4" camHei="5.1" camDis="13.7"',
        'imageName="0002_c011_1.jpg" vehicleID="0002" cameraID="c011" colorID="10" typeID="9" '
        'orientation="0" lightInt="0.7" lightDir="9.4" camHei="5.1" camDis="13.7"',
    ]
    touch(root / "image_train", ["0001_c001_33.jpg", "0002_c011_1.jpg"])
    write_items(root / "train_label.xml", labels)
    return root
