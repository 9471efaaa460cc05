"""`dataset check`: counts, and every kind of fault that it looks for, put there on purpose."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.close_embeddings import close_together
from tests.training.datasets.layouts import write_cityflow
from training.data.check import strangers
from training.dataset import main
from training.datasets.records import Record


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six vehicles at two cameras each, all different, with a table."""
    rng = np.random.default_rng(0)
    rows = []
    for vehicle in range(6):
        for camera in (1, 2):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
            coarse.resize((80, 60), Image.Resampling.BICUBIC).save(
                tmp_path / f"{vehicle}-{camera}.jpg", quality=95
            )
            rows.append(f"{vehicle}-{camera}.jpg,{vehicle},{camera},red,sedan,train")
    (tmp_path / "cars.csv").write_text(
        "\n".join(["path,vehicle_id,camera_id,color,type,split", *rows]) + "\n"
    )
    return tmp_path


def add(pictures: Path, *rows: str) -> None:
    with (pictures / "cars.csv").open("a") as file:
        file.writelines(f"{row}\n" for row in rows)


def check(capsys: pytest.CaptureFixture[str], dataset: object, *options: str) -> dict:
    assert main(["check", str(dataset), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


FAULTS = (
    "unreadable",
    "one_camera",
    "queries_without_match",
    "trained_and_tested",
    "equal",
    "equal_of_two_vehicles",
    "nearly_equal",
    "nearly_equal_of_two_vehicles",
    "two_colors",
    "two_types",
)


def test_a_sound_data_set_has_no_findings(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(capsys, pictures / "cars.csv")
    assert (found["layout"], list(found["splits"])) == ("table", ["train"])
    train = found["splits"]["train"]
    assert (train["images"], train["vehicles"], train["images_per_vehicle"]) == (12, 6, [2, 2, 2])
    assert (train["cameras"], train["colors"], train["types"]) == (
        {"1": 6, "2": 6},
        {"red": 12},
        {"sedan": 12},
    )
    assert "2 of 6 vehicles are set aside" in found["set_aside"]
    assert {name: found[name] for name in FAULTS} == {name: [] for name in FAULTS}
    assert "nearer_to_another" not in found


def test_each_fault_is_found(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(pictures / "0-1.jpg", pictures / "copy.jpg")
    with Image.open(pictures / "1-1.jpg") as image:
        image.resize((64, 48)).save(pictures / "again.jpg", quality=60)
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    Image.new("RGB", (40, 30), "gray").save(pictures / "flat.png")
    Image.new("RGB", (40, 30), "white").save(pictures / "flat2.png")
    add(
        pictures,
        "copy.jpg,7,1,,,train",  # also a vehicle that one camera saw
        "again.jpg,1,2,blue,bus,train",
        "broken.jpg,2,1,,,train",
        "flat.png,3,1,red,sedan,query",
        "flat2.png,8,2,,,test",
    )
    found = check(capsys, pictures / "cars.csv")
    assert [line.partition(":")[0].rpartition("/")[2] for line in found["unreadable"]] == ["broken.jpg"]
    assert found["equal"] == found["equal_of_two_vehicles"] == [["0-1.jpg", "copy.jpg"]]
    assert found["nearly_equal"] == [["1-1.jpg", "again.jpg"]]
    assert found["nearly_equal_of_two_vehicles"] == []
    assert found["one_camera"] == ["copy.jpg", "flat2.png"]
    assert found["queries_without_match"] == ["flat.png"]
    assert found["trained_and_tested"] == ["3-1.jpg"]
    assert found["two_colors"] == [{"red": "1-1.jpg", "blue": "again.jpg"}]
    assert found["two_types"] == [{"sedan": "1-1.jpg", "bus": "again.jpg"}]
    assert found["splits"]["train"]["colors"] == {"red": 12, "": 2, "blue": 1}


def test_for_people(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(pictures / "0-1.jpg", pictures / "copy.jpg")
    add(pictures, "copy.jpg,7,1,,,train")
    assert main(["check", str(pictures / "cars.csv"), "--show", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  0-1.jpg = copy.jpg" in lines
    assert "1 groups of equal files" in lines
    assert "  colours: red 12, not labelled 1" in lines


def test_a_model_tells_who_is_whose(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(pictures / "0-1.jpg", pictures / "copy.jpg")
    add(pictures, "copy.jpg,5,1,,,train")
    found = check(capsys, pictures / "cars.csv", "--model", "osnet_ain.synthetic", "--labels-only")
    assert "equal" not in found
    # Both stand beside each other's vehicle, with the likeness of a copy.
    first = {entry["picture"]: entry["nearest"] for entry in found["nearer_to_another"]}
    assert (first["copy.jpg"], first["0-1.jpg"]) == ("0-1.jpg", "copy.jpg")


def test_strangers_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 8))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    records = [Record(Path(f"{i}.jpg"), int(v), 1) for i, v in enumerate(rng.integers(0, 9, 40))]
    expected = {}
    for i, record in enumerate(records):
        own = [
            points[i] @ points[j]
            for j, r in enumerate(records)
            if r.vehicle_id == record.vehicle_id and j != i
        ]
        other = max(
            (points[i] @ points[j], j) for j, r in enumerate(records) if r.vehicle_id != record.vehicle_id
        )
        if own and other[0] > max(own):
            expected[record.path.name] = (f"{other[1]}.jpg", other[0] - max(own))
    found = {path.name: (other.name, margin) for path, other, margin in strangers(points, records)}
    assert {name: other for name, (other, _) in found.items()} == {
        n: other for n, (other, _) in expected.items()
    }
    assert all(found[name][1] == pytest.approx(margin) for name, (_, margin) in expected.items())


def test_what_a_data_set_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    city = write_cityflow(tmp_path / "city")
    assert main(["check", str(city), "--labels-only"]) == 0
    assert "query: none" in capsys.readouterr().out
    assert main(["check", str(tmp_path)]) == 2
    assert "none of the data sets known here" in capsys.readouterr().err


def test_strangers_among_embeddings_close_together() -> None:
    points = close_together(100, np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    records = [Record(Path(f"{i}.jpg"), i // 4, 1) for i in range(100)]
    close = points.astype(np.float32)
    truth = {path: other for path, other, _ in strangers(close.astype(np.float64), records)}
    assert {path: other for path, other, _ in strangers(close, records)} == truth
