"""Folders of pictures without labels: what each arrangement says, and what is refused."""

from pathlib import Path

import pytest

from tests.training.datasets.layouts import touch
from training.datasets import read_split, read_training, vehicles_aside
from training.datasets.layout import find_layout
from training.datasets.records import Record
from zoo.errors import UserError

REAL = Path(__file__).parents[4] / "shared" / "data" / "real-vehicles"

ARRANGEMENTS = {
    "folders": ["B-7/1.jpg", "B-7/2.PNG", "x 2/a.jpeg"],
    "query-gallery": ["query/a/1.jpg", "gallery/a/2.jpg", "gallery/b/1.jpg", "train/c/1.jpg"],
    "market": ["0002_c1s1_000451_03.jpg", "red van_c2_7.jpg"],
    "two-cameras": ["images/train/car_0003_cam1.jpg", "images/test/bus_0001_cam2.jpg"],
}


def pairs(records: list[Record]) -> list[tuple[str, int, int]]:
    return [(record.path.name, record.vehicle_id, record.camera_id) for record in records]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_each_is_recognised_by_its_shape(tmp_path: Path, name: str) -> None:
    touch(tmp_path, ARRANGEMENTS[name])
    assert find_layout(tmp_path)[0].name == name
    assert find_layout(f"{name}:{tmp_path}") == find_layout(tmp_path)


def test_two_arrangements_at_once_are_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path, ARRANGEMENTS["folders"] + ARRANGEMENTS["market"])
    with pytest.raises(UserError, match="could be folders and market; say which"):
        read_split(tmp_path, "train")
    assert len(read_split(f"market:{tmp_path}", "train")) == 2
    touch(tmp_path / "both", ARRANGEMENTS["query-gallery"] + ["bounding_box_train/1_c1.jpg"])
    with pytest.raises(UserError, match="could be market and query-gallery"):
        read_split(tmp_path / "both", "train")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["12/a.jpg", "7/b.jpg"], [("a.jpg", 12, 0), ("b.jpg", 7, 0)]),
        (["12/gate/a.jpg", "x/yard/b.jpg"], [("a.jpg", 1, 1), ("b.jpg", 2, 2)]),
        (["a/0001_c3s1_5.jpg", "b/cam-12.jpg"], [("0001_c3s1_5.jpg", 1, 3), ("cam-12.jpg", 2, 12)]),
        (["a/truck2.jpg", "b/arc3.jpg"], [("truck2.jpg", 1, 0), ("arc3.jpg", 2, 0)]),
    ],
    ids=["no cameras", "camera folders", "camera names", "numbers that are no cameras"],
)
def test_vehicle_folders(tmp_path: Path, names: list[str], expected: list[tuple[str, int, int]]) -> None:
    touch(tmp_path, [*names, ".hidden/x.jpg"])
    assert pairs(read_split(tmp_path, "train")) == expected


def test_ids_are_numbered_over_all_splits(tmp_path: Path) -> None:
    touch(tmp_path, ["query/b/c2.jpg", "gallery/a/c1.jpg", "gallery/b/c1.jpg", "train/c/c1.jpg"])
    assert pairs(read_split(tmp_path, "query")) == [("c2.jpg", 2, 2)]
    assert pairs(read_split(tmp_path, "test")) == [("c1.jpg", 1, 1), ("c1.jpg", 2, 1)]
    assert pairs(read_split(tmp_path, "train")) == [("c1.jpg", 3, 1)]


def test_query_and_gallery_without_cameras_find_each_other(tmp_path: Path) -> None:
    touch(tmp_path, ["query/a/1.jpg", "gallery/a/2.jpg"])
    assert pairs(read_split(tmp_path, "query")) == [("1.jpg", 1, 0)]
    assert pairs(read_split(tmp_path, "test")) == [("2.jpg", 1, 1)]
    with pytest.raises(UserError, match="train: missing, so there is no train split"):
        read_split(tmp_path, "train")


def test_market_with_its_splits(tmp_path: Path) -> None:
    names = ["bounding_box_train/0002_c1s1_000451_03.jpg", "query/0003_c2s1_000001_00.jpg"]
    names += ["bounding_box_test/0003_c1s3_000009_01.jpg", "bounding_box_test/-1_c1s3_000009_01.jpg"]
    touch(tmp_path, names)
    (train,) = read_split(tmp_path, "train")
    assert (train.vehicle_id, train.camera_id, train.frame) == (2, 1, 451)
    assert pairs(read_split(tmp_path, "test")) == [("0003_c1s3_000009_01.jpg", 3, 1)]
    assert pairs(read_split(tmp_path, "query")) == [("0003_c2s1_000001_00.jpg", 3, 2)]


def test_two_cameras_with_its_test_part(tmp_path: Path) -> None:
    names = [
        f"images/{part}_cam{camera}.jpg" for part in ("train/car_0003", "test/bus_0003") for camera in (1, 2)
    ]
    touch(tmp_path, names)
    assert [vehicle for _, vehicle, _ in pairs(read_split(tmp_path, "train"))] == [2, 2]
    assert pairs(read_split(tmp_path, "query")) == [("bus_0003_cam1.jpg", 1, 1), ("bus_0003_cam2.jpg", 1, 2)]
    assert read_split(tmp_path, "test") == read_split(tmp_path, "query")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1_c1.jpg", "b/1.jpg"], "b/1.jpg: tells no camera, and 1_c1.jpg does"),
        (["a/gate/1.jpg", "b/1.jpg"], "b/1.jpg: tells no camera"),
        (["a/gate/1.jpg", "a/1.jpg", "b/1.jpg"], "a: holds the picture 1.jpg beside the folder gate"),
        (["a/c1/1.jpg", "a/c1/day/1.jpg", "b/c1/1.jpg"], "day: lies too deep"),
        (["query/a/1.jpg", "gallery/3.jpg"], "gallery/3.jpg: the name tells no vehicle and camera"),
        (["query/a/1.jpg", "gallery/a/1.jpg", "gallery/3.jpg"], "beside the folder a"),
        (["train/a/1.jpg", "train/b/1.jpg", "query/a/1.jpg"], "gallery: missing"),
        (["bounding_box_train/car.jpg"], "car.jpg: the name tells no vehicle and camera"),
        (["bounding_box_train/1_c1.jpg", "query/1_c1.jpg"], "bounding_box_test: missing"),
        (["a/1.jpg", "b/notes.txt"], "holds none of the data sets known here"),
        (["train/1.jpg", "train/2.jpg"], "holds none of the data sets known here"),
        (["a/1.jpg"], "holds none of the data sets known here"),
    ],
)
def test_what_is_not_arranged_alike_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, names)
    with pytest.raises(UserError) as raised:
        for split in ("test", "train"):
            read_split(tmp_path, split)  # type: ignore[arg-type]
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_set_aside_vehicles_are_not_trained_on(tmp_path: Path) -> None:
    touch(tmp_path / "own", [f"{v}/c{c}_{i}.jpg" for v in range(1, 21) for c in (1, 2) for i in range(3)])
    touch(tmp_path / "other", ["query/a/1.jpg", "gallery/a/2.jpg", "train/b/1.jpg"])
    own, other = tmp_path / "own", tmp_path / "other"
    query, gallery = read_split(own, "query"), read_split(own, "test")
    aside = {record.vehicle_id for record in gallery}
    assert len(aside) == 4
    # One query a camera; the gallery holds them too, since a query's own camera is left out.
    assert sorted({(r.vehicle_id, r.camera_id) for r in query}) == sorted(
        (v, c) for v in aside for c in (1, 2)
    )
    assert (len(query), len(gallery)) == (8, 24)
    assert read_split(own, "query") == query
    trained = {record.vehicle_id for record in read_training([own], own)}
    assert trained == set(range(1, 21)) - aside
    assert {record.vehicle_id for record in read_training([f"folders:{own}"], own)} == trained
    # Evaluated on another data set, all vehicles are trained on.
    assert len(read_training([own], other)) == 120


def test_set_aside_without_cameras(tmp_path: Path) -> None:
    touch(tmp_path, [f"{v}/{i}.jpg" for v in "abcdef" for i in range(3)] + ["lone/1.jpg"])
    found = vehicles_aside(tmp_path)
    assert found is not None
    assert (len(found.query), len(found.gallery)) == (2, 4)
    assert not {r.path for r in found.query} & {r.path for r in found.gallery}
    assert not {r.camera_id for r in found.query} & {r.camera_id for r in found.gallery}
    assert found.sentence() == (
        "no query split: 2 of 7 vehicles are set aside to evaluate on (2 queries, 4 gallery images)"
    )


def test_too_few_to_set_aside(tmp_path: Path) -> None:
    touch(tmp_path, ["a/c1.jpg", "b/c1.jpg", "c/c2.jpg"])
    assert len(read_split(tmp_path, "train")) == 3
    with pytest.raises(UserError, match=r"3, 0 of them that two cameras saw; .*--evaluate-on"):
        read_split(tmp_path, "query")


@pytest.mark.skipif(not REAL.is_dir(), reason="the public pictures are not at ../shared/data")
def test_the_real_two_camera_pictures() -> None:
    assert find_layout(f"two-cameras:{REAL}")[0].name == "two-cameras"
    records = read_split(REAL, "train")
    assert len(records) == 1014
    assert len({record.vehicle_id for record in records}) == 507
    assert {record.camera_id for record in records} == {1, 2}
    aside = vehicles_aside(REAL)
    assert aside is not None
    assert len(aside.query) == len(aside.gallery) == 2 * 101
