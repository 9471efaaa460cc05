"""Videos of a drawn site: the same for the same seed, and true to their truth."""

import csv
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from training.synthesize.__main__ import main
from training.synthesize.difficulty import DIFFICULTIES
from training.synthesize.scene_video import HEIGHT, WIDTH, widened
from training.synthesize.street.camera_site import draw_camera_site
from training.synthesize.street.tracks import draw_city
from training.synthesize.street.traffic import draw_traffic

SMALL = ["--videos", "--cameras", "2", "--vehicles", "4", "--seconds", "7", "--rate", "4"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("videos") / "site"
    assert main(["--out", str(out), "--seed", "3", "--difficulty", "easy", "--workers", "1", *SMALL]) == 0
    return out


def test_the_same_seed_gives_the_same_bytes(site: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    options = ["--seed", "3", "--difficulty", "easy", "--workers", "2", *SMALL]
    assert main(["--out", str(again), *options]) == 0
    files = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert len(files) == 2 * 3 + 3
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for file in files:
        assert (site / file).read_bytes() == (again / file).read_bytes(), file
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_boxes_are_where_the_picture_changes(site: Path) -> None:
    seen = 0
    for name in ("c001", "c002"):
        boxes = defaultdict(list)
        for row in csv.reader((site / name / "gt" / "gt.txt").open()):
            boxes[int(row[0])].append([float(value) for value in row[2:6]])
        with av.open(str(site / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 28
        assert frames[0].shape == (HEIGHT, WIDTH, 3)
        empty = np.median([frame for n, frame in enumerate(frames, 1) if n not in boxes], axis=0)
        for number, here in boxes.items():
            change = np.abs(frames[number - 1] - empty).mean(axis=2)
            for left, top, width, height in here:
                assert 0 <= left < left + width <= WIDTH + 0.01
                assert 0 <= top < top + height <= HEIGHT + 0.01
                inside = change[int(top) : int(top + height) + 1, int(left) : int(left + width) + 1]
                assert inside.mean() > 2 * np.median(change) + 4
                seen += 1
    assert seen >= 10


def test_journeys_agree_with_the_boxes(site: Path) -> None:
    with (site / "journeys.csv").open() as file:
        passages = list(csv.DictReader(file))
    assert passages
    for name, camera in (("c001", "1"), ("c002", "2")):
        for row in csv.reader((site / name / "gt" / "gt.txt").open()):
            seconds = (int(row[0]) - 1) / 4
            assert any(
                each["vehicle_id"] == row[1]
                and each["camera"] == camera
                and float(each["start"]) <= seconds <= float(each["end"])
                for each in passages
            )
    by_vehicle = defaultdict(list)
    for each in passages:
        by_vehicle[each["vehicle_id"]].append((float(each["start"]), float(each["end"])))
    for times in by_vehicle.values():
        assert all(before[1] < after[0] for before, after in pairwise(times))
    assert json.loads((site / "site.json").read_text())["passages"] == len(passages)
    assert {place["id"] for place in json.loads((site / "cameras.json").read_text())} == {1, 2}


def test_vehicles_wait_behind_each_other() -> None:
    cameras = range(1, 4)
    sites = [widened(draw_camera_site(5, number, DIFFICULTIES["easy"])) for number in cameras]
    lengths = np.random.default_rng(5).uniform(4, 11, 80).tolist()
    passages = draw_traffic(5, draw_city(5, 3), sites, lengths, 3000, 5)
    assert len({each.camera_id for each in passages}) == 3
    waited = 0
    for number, follower in enumerate(passages):
        for leader in passages[:number]:
            if (leader.camera_id, leader.lane) != (follower.camera_id, follower.lane):
                continue
            shared = range(follower.first, min(leader.last, follower.last) + 1)
            room = (lengths[leader.vehicle] + lengths[follower.vehicle]) / 2
            for frame in shared:
                gap = leader.along[frame - leader.first] - follower.along[frame - follower.first]
                assert gap > room
                waited += gap < room + 2.5
    assert waited


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--videos", "--train-ids", "5"], "--train-ids"),
        (["--seconds", "5"], "--videos"),
        (["--videos", "--rate", "0"], "--rate 0"),
        (["--videos", "--seconds", "nan"], "--seconds nan"),
    ],
)
def test_faults_are_told(
    tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "none"), *options]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (site / "site.json").read_bytes()
    assert main(["--out", str(site), *SMALL]) == 2
    assert "not empty" in capsys.readouterr().err
    assert (site / "site.json").read_bytes() == before
