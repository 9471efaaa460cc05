"""Colours and types go by name: each data set has its own, and joined ones share those of one name."""

from pathlib import Path

import pytest

from tests.training.datasets.layouts import (
    touch,
    write_cityflow,
    write_vehicleid,
    write_vehiclex,
    write_veri_wild,
)
from training.datasets import read_classes, read_split, read_training
from training.datasets.records import UNKNOWN, VERI, Classes, Record
from zoo.labels import COLORS, TYPES


def write_table(folder: Path, looks: list[str]) -> Path:
    names = [f"{number}.jpg" for number in range(len(looks))]
    touch(folder, names)
    path = folder / "cars.csv"
    rows = [f"{name},{name},1,{look}" for name, look in zip(names, looks, strict=True)]
    path.write_text("\n".join(["path,vehicle_id,camera_id,color,type", *rows]), encoding="utf-8")
    return path


def classes_of(*datasets: Path) -> Classes:
    return read_classes(datasets, read_training(datasets))


def test_a_table_names_its_own(tmp_path: Path) -> None:
    path = write_table(tmp_path, [",Motorcycle", "red,sedan", "teal,", ",tuk-tuk", "红色,suv", ",sedan"])
    # VeRi's names in VeRi's order, then the others.
    assert classes_of(path) == Classes(("red", "teal", "红色"), ("sedan", "suv", "motorcycle", "tuk-tuk"))
    assert [record.type for record in read_split(path, "train")][:2] == ["motorcycle", "sedan"]


@pytest.mark.parametrize(("looks", "expected"), [
    ([",", ","], Classes((), ())),
    (["red,", ","], Classes(("red",), ())),
])  # fmt: skip
def test_none_or_one_of_the_two(tmp_path: Path, looks: list[str], expected: Classes) -> None:
    assert classes_of(write_table(tmp_path, looks)) == expected


def test_known_data_sets_keep_all_of_theirs(tmp_path: Path, veri_root: Path) -> None:
    assert classes_of(veri_root) == VERI == Classes(COLORS, TYPES)
    assert classes_of(write_vehiclex(tmp_path / "x")) == VERI
    assert classes_of(write_veri_wild(tmp_path / "w")) == VERI
    assert classes_of(write_vehicleid(tmp_path / "i")) == Classes(COLORS, ())
    assert classes_of(write_cityflow(tmp_path / "c")) == Classes((), ())


def test_the_two_camera_names_tell_the_type(tmp_path: Path) -> None:
    touch(tmp_path, [f"images/train/{name}_cam1.jpg" for name in ("motorcycle_1", "Bus_1", "car_1")])
    assert classes_of(tmp_path) == Classes((), ("bus", "car", "motorcycle"))


def test_joined_data_sets_are_joined_by_name(tmp_path: Path, veri_root: Path) -> None:
    own = write_table(tmp_path, ["red,motorcycle", "pink,sedan"])
    for datasets in ((veri_root, own), (own, veri_root)):
        joined = classes_of(*datasets)
        assert joined == Classes((*COLORS, "pink"), (*TYPES, "motorcycle"))
    records = read_training([own, veri_root])
    colors = VERI.indices(records, "color")
    assert colors[:2].tolist() == [COLORS.index("red"), UNKNOWN]
    assert (colors[2:] != UNKNOWN).all()


def test_indices() -> None:
    records = [Record(Path("a"), 1, 1, "red", "bus"), Record(Path("b"), 1, 1), Record(Path("c"), 1, 1, "x")]
    classes = Classes(("blue", "red"), ())
    assert classes.indices(records, "color").tolist() == [1, UNKNOWN, UNKNOWN]
    assert classes.indices(records, "type").tolist() == [UNKNOWN] * 3
