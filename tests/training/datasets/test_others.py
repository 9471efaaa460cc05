"""VehicleID, VERI-Wild, CityFlow and VehicleX, from folders laid out as they are given out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.datasets.layouts import (
    write_cityflow,
    write_vehicleid,
    write_vehiclex,
    write_veri_wild,
)
from training.datasets import read_split, vehicleid
from training.datasets.records import Record
from zoo.errors import UserError


def test_vehicleid_training(tmp_path: Path) -> None:
    root = write_vehicleid(tmp_path / "VehicleID")
    red = "red"
    assert read_split(root, "train") == [
        Record(root / "image/0000001.jpg", 5, 0, red),
        Record(root / "image/0000002.jpg", 5, 0, red),
        Record(root / "image/0000003.jpg", 9, 0),
    ]


def test_vehicleid_draws_one_gallery_image_a_vehicle(tmp_path: Path) -> None:
    root = write_vehicleid(tmp_path / "VehicleID")
    query, gallery = read_split(root, "query"), read_split(root, "test")
    assert [record.vehicle_id for record in gallery] == [20, 21, 22]
    assert len(query) == 9
    assert not {r.path for r in query} & {r.path for r in gallery}
    # No query may lose its match by the camera rule, and silver is no colour of VeRi's.
    assert {r.camera_id for r in query}.isdisjoint({r.camera_id for r in gallery})
    assert {r.color for r in query} == {""}
    assert read_split(root, "test") == gallery
    draws = {tuple(vehicleid.read(root, "test", 800, seed)) for seed in range(8)}
    assert len(draws) > 1


def test_vehicleid_test_size_by_name(tmp_path: Path) -> None:
    root = write_vehicleid(tmp_path / "VehicleID")
    assert len(read_split(f"vehicleid-1600:{root}", "test")) == 2
    with pytest.raises(UserError, match=r"test_list_2400.txt: cannot be read"):
        read_split(f"vehicleid-2400:{root}", "test")


def test_veri_wild(tmp_path: Path) -> None:
    root = write_veri_wild(tmp_path / "VERI-Wild")
    gray, sedan = "gray", "sedan"
    assert read_split(root, "train") == [
        Record(root / "images/00001/000001.jpg", 1, 148, gray, sedan),
        Record(root / "images/00001/000002.jpg", 1, 27, gray, sedan),
    ]
    assert read_split(root, "query") == [Record(root / "images/30672/000003.jpg", 30672, 9)]
    white, truck = "white", "truck"
    last = Record(root / "images/30672/000004.jpg", 30672, 174, white, truck)
    assert read_split(root, "test") == [last]
    assert read_split(f"veri-wild-10000:{root}", "query") == [last]
    with pytest.raises(UserError, match=r"holds neither test_5000_query.txt nor test_5000_id_query.txt"):
        read_split(f"veri-wild-5000:{root}", "query")


def test_cityflow(tmp_path: Path) -> None:
    root = write_cityflow(tmp_path / "AIC")
    found = [(r.path.name, r.vehicle_id, r.camera_id, r.track, r.color) for r in read_split(root, "train")]
    assert found == [
        ("000001.jpg", 241, 5, 1, ""),
        ("000002.jpg", 241, 5, 1, ""),
        ("000003.jpg", 7, 40, 2, ""),
    ]
    with pytest.raises(UserError, match=r"vehicles of CityFlow's test split are not public.*--evaluate-on"):
        read_split(root, "test")


def test_vehiclex(tmp_path: Path) -> None:
    root = write_vehiclex(tmp_path / "AIC_Simulation")
    assert read_split(root, "train") == [
        Record(
            root / "image_train/0001_c001_33.jpg",
            1,
            1,
            "white",
            "suv",
            orientation=262.3,
        ),
        Record(root / "image_train/0002_c011_1.jpg", 2, 11, orientation=0.0),
    ]
    with pytest.raises(UserError, match="VehicleX has no query split"):
        read_split(root, "query")


@pytest.mark.parametrize(
    ("write", "file", "old", "new", "message"),
    [
        (
            write_vehicleid,
            "train_list.txt",
            "2 5",
            "2 five",
            "train_list.txt:2: vehicle 'five'",
        ),
        (write_vehicleid, "train_list.txt", "2 5", "2", "train_list.txt:2: 1 fields"),
        (write_vehicleid, "train_list.txt", "2 5", "8 5", "missing 0000008.jpg"),
        (write_vehicleid, "color_attr.txt", "20 4", "20 7", "color_attr.txt:2: colour 7"),
        (
            write_veri_wild,
            "vehicle_info.txt",
            ";27;",
            ";x;",
            "vehicle_info.txt:3: camera 'x'",
        ),
        (write_veri_wild, "vehicle_info.txt", ";white", "", "vehicle_info.txt:5: 5 fields"),
        (
            write_veri_wild,
            "train_list.txt",
            "/000002",
            "/000009",
            "train_list.txt:2: 00001/000009",
        ),
        (write_cityflow, "train_label.xml", "c040", "forty", "train_label.xml:6: cameraID 'forty'"),
        (write_cityflow, "train_label.xml", "000003.jpg", "000009.jpg", "missing 000009.jpg"),
        (write_vehiclex, "train_label.xml", "262.3", "north", "train_label.xml:4: orientation 'north'"),
    ],
)
def test_a_wrong_line_is_named(
    tmp_path: Path, write: Callable[[Path], Path], file: str, old: str, new: str, message: str
) -> None:
    root = write(tmp_path / "data")
    (path,) = root.rglob(file)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as raised:
        read_split(root, "train")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
