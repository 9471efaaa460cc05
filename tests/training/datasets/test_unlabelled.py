"""Pictures without labels: what folders, names, tables and data sets tell of cameras, tracks and moments."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.datasets.unlabelled import read_unlabelled
from zoo.errors import UserError


def put(root: Path, *names: str) -> Path:
    """Write pictures."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return root


def table(root: Path, *lines: str) -> Path:
    """Write a table of pictures, and the pictures that its first column names."""
    put(root, *(line.split(",")[0] for line in lines[1:]))
    path = root / "pictures.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_folder_is_a_camera(tmp_path: Path) -> None:
    found = read_unlabelled(put(tmp_path, "gate/1.jpg", "gate/2.jpg", "桥/1.jpg"))
    assert found.cameras.tolist() == [1, 1, 2]
    assert (found.tracks.tolist(), found.moments.tolist()) == ([-1] * 3, [-1] * 3)


def test_a_folder_in_a_camera_is_a_track_of_that_camera_alone(tmp_path: Path) -> None:
    found = read_unlabelled(put(tmp_path, "a/1/x.jpg", "a/1/y.jpg", "a/2/x.jpg", "b/1/x.jpg", "b/z.jpg"))
    first, second, third, fourth, none = (found.tracks[found.paths.index(tmp_path / name)] for name in (
        "a/1/x.jpg", "a/1/y.jpg", "a/2/x.jpg", "b/1/x.jpg", "b/z.jpg"))  # fmt: skip
    assert first == second
    assert len({first, third, fourth, none}) == 4
    assert none == -1


@pytest.mark.parametrize("names", [("0001_cam2.jpg", "0002_cam7.jpg"), ("c2-1.jpg", "camera_7.png")])
def test_names_tell_the_camera(tmp_path: Path, names: tuple[str, str]) -> None:
    assert read_unlabelled(put(tmp_path, *names)).cameras.tolist() == [2, 7]


def test_a_name_without_a_camera_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.jpg: the name tells no camera"):
        read_unlabelled(put(tmp_path, "a_cam1.jpg", "b.jpg"))


def test_folders_of_vehicles_are_not_taken_for_cameras(tmp_path: Path) -> None:
    put(tmp_path, *(f"{car}/{n}_cam{n}.jpg" for car in ("red", "blue", "old") for n in (1, 2)))
    with pytest.raises(UserError, match=r"say cameras:.* or folders:"):
        read_unlabelled(tmp_path)
    assert set(read_unlabelled(f"folders:{tmp_path}").cameras) == {1, 2}
    assert len(set(read_unlabelled(f"cameras:{tmp_path}").cameras)) == 3


def test_numbers_of_pictures_are_not_cameras(tmp_path: Path) -> None:
    found = read_unlabelled(put(tmp_path, *(f"{gate}/c{n:04d}.jpg" for gate in "ab" for n in range(4))))
    assert len(set(found.cameras)) == 2


def test_a_table(tmp_path: Path) -> None:
    found = read_unlabelled(
        table(
            tmp_path,
            "path,camera_id,track,frame,time",
            "1.jpg,north,7,0,8:00",
            "2.jpg,north,8,0,8:00",
            "3.jpg,north,7,1,8:00",
            "4.jpg,south,7,0,8:00",
            "5.jpg,south,,,",
        )
    )
    assert found.cameras.tolist() == [1, 1, 1, 2, 2]
    assert found.tracks[0] == found.tracks[2] != found.tracks[3] >= 0
    assert found.moments[0] == found.moments[1] >= 0
    assert len({*found.moments[[0, 2, 3, 4]]}) == 4
    assert (found.tracks[4], found.moments[4]) == (-1, -1)


def test_labels_in_a_table_are_not_looked_at(tmp_path: Path) -> None:
    found = read_unlabelled(table(tmp_path, "path,vehicle_id,camera_id", "1.jpg,9,1", "2.jpg,9,2"))
    assert len({record.vehicle_id for record in found.records()}) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("path,track", "1.jpg,1"), "lacks the column camera_id"),
        (("path,camera_id,speed", "1.jpg,1,9"), "unknown or repeated column 'speed'"),
        (("path,camera_id", "1.jpg,"), "camera_id is empty"),
        (("path,camera_id,split", "1.jpg,1,test"), "no rows with split train"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_unlabelled(table(tmp_path, *lines))


def test_a_data_set_gives_its_training_split(veri_root: Path) -> None:
    found = read_unlabelled(veri_root)
    assert {path.parent.name for path in found.paths} == {"image_train"}
    assert len(set(found.cameras)) == 6
    assert (found.moments >= 0).all()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_unlabelled(tmp_path / "missing")
    with pytest.raises(UserError, match="holds no pictures"):
        read_unlabelled(tmp_path)
