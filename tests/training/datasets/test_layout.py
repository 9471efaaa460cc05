"""Finding the right data set for a path, and joining several."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.datasets.layouts import (
    write_cityflow,
    write_release,
    write_vehicleid,
    write_vehiclex,
    write_veri_wild,
)
from training.datasets import dataset_name, list_layouts, read_split, read_training, read_training_parts
from training.datasets.layout import find_layout
from training.datasets.records import label_map
from zoo.errors import UserError


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_vehicleid, "vehicleid"),
        (write_veri_wild, "veri-wild"),
        (write_cityflow, "cityflow"),
        (write_vehiclex, "vehiclex"),
    ],
)
def test_each_is_recognised(tmp_path: Path, write: Callable[[Path], Path], name: str) -> None:
    root = write(tmp_path / "data")
    assert find_layout(root)[0].name == name
    assert find_layout(f"{name}:{root}") == find_layout(root)


def test_both_of_veri_are_recognised(veri_root: Path, tmp_path: Path) -> None:
    assert find_layout(veri_root)[0].name == "veri"
    assert find_layout(write_release(veri_root, tmp_path / "release"))[0].name == "veri"


def test_all_data_sets_are_listed() -> None:
    names = {
        "veri",
        "vehicleid",
        "vehicleid-800",
        "veri-wild",
        "veri-wild-10000",
        "cityflow",
        "vehiclex",
        "table",
    }
    assert names <= set(list_layouts())


def test_what_is_not_known_is_said(tmp_path: Path, veri_root: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds none of the data sets known here"):
        read_split(tmp_path / "empty", "train")
    with pytest.raises(UserError, match=f"did you mean veri:{veri_root}"):
        read_split(f"very:{veri_root}", "train")
    with pytest.raises(UserError, match=r"no such folder.*training\.synthesize"):
        read_split(f"veri:{tmp_path / 'nowhere'}", "train")


def test_what_could_be_two_has_to_be_named(tmp_path: Path) -> None:
    root = write_vehicleid(tmp_path / "data")
    write_cityflow(root)
    with pytest.raises(UserError, match=f"could be cityflow and vehicleid; say which, as in cityflow:{root}"):
        read_split(root, "train")
    assert len(read_split(f"vehicleid:{root}", "train")) == 3


def test_a_colon_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    root = write_cityflow(tmp_path / "day:2")
    assert len(read_split(root, "train")) == 3
    assert dataset_name(root) == "day:2"
    assert dataset_name(f"cityflow:{root}") == "day:2"


def test_joined_ids_are_kept_apart(veri_root: Path, tmp_path: Path) -> None:
    cityflow, vehiclex = write_cityflow(tmp_path / "c"), write_vehiclex(tmp_path / "x")
    first = read_split(veri_root, "train")
    joined = read_training([veri_root, cityflow, vehiclex])
    assert [len(part) for part in read_training_parts([veri_root, cityflow, vehiclex])] == [len(first), 3, 2]
    assert joined[: len(first)] == first
    rest = joined[len(first) :]
    assert [r.vehicle_id for r in rest] == [1_000_241, 1_000_241, 1_000_007, 2_000_001, 2_000_002]
    assert [r.camera_id for r in rest] == [1_005, 1_005, 1_040, 2_001, 2_011]
    assert [r.track for r in rest] == [1_000_001, 1_000_001, 1_000_002, None, None]
    assert len(label_map(joined)) == len(label_map(first)) + 2 + 2
    assert label_map(joined).items() >= label_map(first).items()


def test_the_same_data_set_twice_is_two(veri_root: Path) -> None:
    assert len(label_map(read_training([veri_root, veri_root]))) == 2 * len(
        label_map(read_training([veri_root]))
    )
