"""A table of one's own: every column, every fault by its line."""

from pathlib import Path

import pytest

from tests.training.datasets.layouts import touch
from training.datasets import read_split, table, vehicles_aside
from training.datasets.records import Record
from zoo.errors import UserError

POINTS = " ".join(str(value) for value in range(108))
HEADING = "path,split,vehicle_id,camera_id,color,type,track,frame,orientation,keypoints"
ROWS = (
    f"a/1.jpg,train,B-7,gate,white,SUV,t2,40,90.5,{POINTS}",
    "a/2.jpg,train,A-1,gate,,,,,,",
    "b/3.jpg,query,C-3,yard,,,,,,",
    "b/4.png,test,C-3,gate,,,t1,,,",
)


def write(folder: Path, heading: str = HEADING, rows: tuple[str, ...] = ROWS) -> Path:
    touch(folder, ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.png"])
    path = folder / "cars.csv"
    path.write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8")
    return path


def test_every_column(tmp_path: Path) -> None:
    path = write(tmp_path / "own")
    first, second = read_split(path, "train")
    assert first == Record(path.parent / "a/1.jpg", 2, 1, "white", "suv", 40, 2, 90.5)
    assert second == Record(path.parent / "a/2.jpg", 1, 1)
    assert first.keypoints is not None
    assert first.keypoints[35].tolist() == [105.0, 106.0, 107.0]
    assert second.keypoints is None


def test_ids_are_the_same_in_all_splits(tmp_path: Path) -> None:
    path = write(tmp_path / "own")
    (query,), (gallery,) = read_split(path, "query"), read_split(path, "test")
    assert (query.vehicle_id, query.camera_id) == (3, 2)
    assert (gallery.vehicle_id, gallery.camera_id, gallery.track) == (3, 1, 1)


def test_numbers_stay_what_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, "path,split,vehicle_id,camera_id", ("a/1.jpg,train,70,3", "a/2.jpg,test,07,3"))
    assert [r.vehicle_id for split in ("train", "test") for r in read_split(path, split)] == [70, 7]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("camera_id", "camera", "cars.csv:1: unknown or repeated column 'camera'; did you mean camera_id?"),
        (",type", ",color", "cars.csv:1: unknown or repeated column 'color'"),
        ("path,split", "split,frame", "repeated column 'frame'"),
        ("a/2.jpg,train", "a/2.jpg,val", "cars.csv:3: split 'val' is not one of train, query, test"),
        ("A-1", "", "cars.csv:3: vehicle_id is empty"),
        (",40,", ",forty,", "cars.csv:2: frame 'forty'"),
        ("90.5", "east", "cars.csv:2: orientation 'east'"),
        (" 107", "", "cars.csv:2: keypoints hold 107 numbers"),
        (" 107", " nan", "cars.csv:2: keypoints hold 108 numbers"),
        (" 107", " x", "cars.csv:2: a keypoint is not a number"),
        ("a/2.jpg", "a/1.jpg", "cars.csv:3: a/1.jpg is there twice (first in"),
        ("a/2.jpg", "a/9.jpg", "missing 9.jpg"),
        ("gate,,,,,,", "gate,,,,,", "cars.csv:3: 9 fields where the heading has 10"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as raised:
        read_split(path, "train")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_column_and_a_missing_split(tmp_path: Path) -> None:
    path = write(tmp_path, "path,split,vehicle_id", ("a/1.jpg,train,1",))
    with pytest.raises(UserError, match=r"cars.csv:1: lacks the column camera_id"):
        read_split(path, "train")
    path = write(tmp_path, "path,split,vehicle_id,camera_id", ("a/1.jpg,train,1,1",))
    with pytest.raises(UserError, match=r"has no rows with split query"):
        table.read(path, "query")
    with pytest.raises(UserError, match=r"no query split, and too few vehicles.*--evaluate-on"):
        read_split(path, "query")
    path.write_bytes(b"path\xff")
    with pytest.raises(UserError, match="not a table that can be read"):
        read_split(path, "query")


def test_without_splits_vehicles_are_set_aside(tmp_path: Path) -> None:
    names = [f"{vehicle}-{camera}.jpg" for vehicle in "abcdefghij" for camera in (1, 2)]
    touch(tmp_path, names)
    path = tmp_path / "cars.csv"
    rows = [f"{name},{name[0]},{name[2]}" for name in names]
    path.write_text("\n".join(["path,vehicle_id,camera_id", *rows]))
    aside = vehicles_aside(path)
    assert aside is not None
    assert (len(aside.train), len(aside.query), len(aside.gallery)) == (16, 4, 4)
    assert len(read_split(path, "train")) == 20
    assert read_split(path, "query") == aside.query
