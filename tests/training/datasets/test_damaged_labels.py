"""Label files as people and programs spoil them: read as they were meant, or refused by name."""

from pathlib import Path

import pytest
from PIL import Image

from tests.training.datasets.layouts import write_cityflow, write_items, write_vehicleid, write_veri_wild
from training.datasets import read_split
from training.datasets.files import read_items
from training.datasets.records import Record, can_match, number_ids
from zoo.errors import UserError


def test_a_number_with_a_point_is_the_same_vehicle() -> None:
    assert number_ids(["5001", "5001.0", "7"]) == {"5001": 5001, "5001.0": 5001, "7": 7}
    assert len(set(number_ids(["5", "\u0665"]).values())) == 2
    named = number_ids(["A", "5001", "5001.00"])
    assert named["5001"] == named["5001.00"] != named["A"]


def test_an_image_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    rows = ["path,vehicle_id,camera_id"]
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (32, 32)).save(folder / name)
        rows.append(f"images/{name},1,{len(rows)}")
    (tmp_path / "t.csv").write_text("\n".join([*rows, rows[-1]]))
    with pytest.raises(UserError, match="twice"):
        read_split(str(tmp_path / "t.csv"), "train")
    vehicleid = write_vehicleid(tmp_path / "vehicleid") / "train_test_split" / "test_list_800.txt"
    wild = write_veri_wild(tmp_path / "wild") / "train_test_split" / "test_3000_query.txt"
    for path, split in ((vehicleid, "query"), (vehicleid, "test"), (wild, "query")):
        path.write_text(path.read_text() * 2)
        with pytest.raises(UserError, match=f"{path.name}: names .* twice; delete one"):
            read_split(path.parents[1], split)
    flow = write_cityflow(tmp_path / "flow")
    item = 'imageName="000001.jpg" vehicleID="0241" cameraID="c005"'
    write_items(flow / "train_label.xml", [item, item])
    with pytest.raises(UserError, match=r"names 000001\.jpg twice"):
        read_split(flow, "train")


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig"])
def test_a_file_that_was_saved_again_as_utf8_is_read(tmp_path: Path, encoding: str) -> None:
    text = '<?xml version="1.0" encoding="gb2312"?><Items><Item imageName="车.jpg"/></Items>'
    (tmp_path / "l.xml").write_bytes(text.encode(encoding))
    assert read_items(tmp_path / "l.xml")[0].text("imageName") == "车.jpg"


def test_whether_a_query_can_match() -> None:
    query, same = Record(Path("q"), 1, 1), Record(Path("g"), 1, 1)
    assert not can_match([query], [same, Record(Path("h"), 2, 2)])
    assert can_match([query], [same, Record(Path("h"), 1, 2)])
