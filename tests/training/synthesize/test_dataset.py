"""Whole runs of the command: the same bytes however they are made, and nothing half-made taken for whole."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import ctrl_c
from training.synthesize.__main__ import main
from zoo.labels import parse_veri_name
from zoo.processes import children

SMALL = [
    "--train-ids",
    "2",
    "--test-ids",
    "2",
    "--images-per-id",
    "4",
    "--size",
    "48",
    "--cameras",
    "3",
    "--seed",
    "7",
]


def run(out: Path, *more: str) -> int:
    return main(["--out", str(out), *SMALL, "--workers", "1", *more])


def digest(out: Path) -> dict[str, str]:
    """SHA-256 of everything but the measured speed."""
    files = sorted(
        path for path in out.rglob("*") if path.is_file() and not path.name.startswith("statistics")
    )
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(out: Path, split: str) -> list[list[str]]:
    return [line.split(",") for line in (out / f"label_{split}.csv").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "数据 set"
    assert run(out, "--heatmaps", "--segments") == 0
    return out


def test_the_layout_is_that_of_veri(data: Path) -> None:
    counts = {}
    for split in ("train", "query", "test"):
        images = {path.name for path in (data / f"image_{split}").iterdir()}
        labels = rows(data, split)
        assert {row[0] for row in labels} == images
        assert len(labels) == len(images)
        counts[split] = len(labels)
        for row in labels:
            assert len(row) == 4 + 108
            name = parse_veri_name(row[0])
            assert name is not None
            assert name.vehicle_id == int(row[1])
            assert 1 <= name.camera_id <= 3
            assert 1 <= int(row[2]) <= 10
            assert 1 <= int(row[3]) <= 9
            points = np.array(row[4:], float).reshape(36, 3)
            assert np.isfinite(points).all()
            with Image.open(data / f"image_{split}" / row[0]) as image:
                assert max(image.size) == 48
                inside = np.all(
                    (points[:, :2] > -0.51) & (points[:, :2] < np.array(image.size) - 0.49), axis=1
                )
            assert np.array_equal(points[:, 2] >= 0.08, inside)
            stem = row[0].removesuffix(".jpg")
            assert len(list((data / f"heatmap_{split}" / stem).iterdir())) == 36
            assert len(list((data / f"segment_{split}" / stem).iterdir())) == 13
    assert counts["train"] == 8
    assert counts["query"] + counts["test"] == 8
    assert counts["query"] >= 2


def test_what_is_written_beside_the_pictures(data: Path) -> None:
    cameras = json.loads((data / "cameras.json").read_text())
    assert [camera["id"] for camera in cameras["cameras"]] == [1, 2, 3]
    assert {"name", "latitude", "longitude", "heading"} <= set(cameras["cameras"][0])
    described = json.loads((data / "dataset.json").read_text())
    assert described["parameters"]["seed"] == 7
    assert sum(described["counts"]["images"].values()) == 16
    statistics = json.loads((data / "statistics.json").read_text())
    assert sum(statistics["colors"].values()) == sum(statistics["types"].values()) == 16
    assert sum(statistics["keypoints"].values()) == pytest.approx(1, abs=1e-3)
    assert statistics["images_per_second"] > 0
    assert "| images | train 8" in (data / "statistics.md").read_text()
    with Image.open(data / "contact_sheet.jpg") as sheet:
        assert sheet.width > 1000
    assert not list(data.glob(".*")), "no trace of the work is left"


def test_two_worker_processes_write_the_same_bytes_as_one(data: Path, tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "two"), *SMALL, "--heatmaps", "--segments", "--workers", "2"]) == 0
    assert digest(tmp_path / "two") == digest(data)


def test_a_finished_data_set_is_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert run(data, "--heatmaps", "--segments", "--json") == 0
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["images"]["train"] == 8


def test_the_size_of_one_split_does_not_change_the_other(data: Path, tmp_path: Path) -> None:
    other = ["--train-ids", "1", "--test-ids", "3", *SMALL[4:]]
    assert main(["--out", str(tmp_path / "other"), *other, "--workers", "1"]) == 0
    old, new = digest(data), digest(tmp_path / "other")
    shared = {path for path in new if path.startswith("image_") and path in old}
    assert {path: new[path] for path in shared} == {path: old[path] for path in shared}
    assert sum(path.startswith("image_train") for path in shared) == 4
    assert sum(path.startswith(("image_query", "image_test")) for path in shared) == 8


def test_another_seed_draws_another_world(data: Path, tmp_path: Path) -> None:
    other = [*SMALL[:-1], "8"]
    assert main(["--out", str(tmp_path / "other"), *other, "--workers", "1"]) == 0
    old, new = set(digest(data).values()), set(digest(tmp_path / "other").values())
    assert not old & new


def test_a_killed_run_is_continued_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "training.synthesize",
        "--out",
        str(out),
        *SMALL,
        "--heatmaps",
        "--segments",
    ]
    process = subprocess.Popen(
        [*command, "--workers", "2"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(".progress/t*_*.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait_until_gone(workers)
    assert list(out.glob(".progress/t*_*.json"))
    assert not (out / "dataset.json").exists(), "the run was over before it was killed"
    # Half of a picture, as a kill in the middle of a write leaves it, and a temporary file.
    missing = [name for name in digest(data) if name.startswith("image_") and not (out / name).exists()]
    if missing:
        (out / missing[0]).write_bytes(b"\xff\xd8 half")
    (out / ".label_train.csv.abc.part").write_text("half")
    assert run(out, "--heatmaps", "--segments") == 0
    assert digest(out) == digest(data)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupted_run_is_not_taken_for_whole(tmp_path: Path, workers: str) -> None:
    out = tmp_path / "interrupted"
    process = ctrl_c.start(
        "training.synthesize", "--out", out, *SMALL, "--train-ids", 500, "--workers", workers
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(".progress/train_*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    code, stderr = ctrl_c.press(process)
    assert code == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "interrupted"
    assert not (out / "dataset.json").exists()
    assert not list(out.glob("label_*"))


def test_a_data_set_of_other_parameters_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digest(data)
    assert run(data) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "heatmaps True instead of False" in error
    assert digest(data) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run(tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_runs_in_one_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    (tmp_path / ".progress").mkdir()
    with open(tmp_path / ".progress" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(tmp_path) == 2
    assert "another run is writing there" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, workers: str) -> None:
    """A limit on the file size stands in for the full disk: the kernel refuses the same write."""
    out = tmp_path / "full"
    command = [sys.executable, "-m", "training.synthesize", "--out", str(out), *SMALL, "--workers", workers]
    shell = f"ulimit -f 1; exec {' '.join(command)}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    message = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(message) == 1
    assert str(out) in message[0]
    assert "Traceback" not in done.stderr
    assert not (out / "dataset.json").exists()
    assert not list(out.glob("label_*"))


def test_an_unwritable_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "data") == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--train-ids=-1", "--images-per-id=1", "--size=8", "--cameras=1", "--workers=0"]
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "x"), flag]) == 2
    assert flag.partition("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "orphans"
    command = [sys.executable, "-m", "training.synthesize", "--out", str(out), "--train-ids", "500"]
    command += ["--size", "48", "--cameras", "3", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(".progress/train_*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    _wait_until_gone(workers)


def _wait_until_gone(processes: list[int]) -> None:
    """Processes without a parent end within moments."""
    deadline = time.monotonic() + 30
    while any(map(_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, processes))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return not state.startswith("Z")
