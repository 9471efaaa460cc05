"""The whole road as a user walks it: `deploy/demo.py` as a process, from nothing, again, and stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {"mAP", "rank1", "rank5", "color_accuracy", "type_accuracy"}
MARK = "VEHICLE_REID_TEST_ROAD"


@dataclass(frozen=True)
class Road:
    """One folder for everything that the demo makes, and a mark that its processes carry."""

    folder: Path
    mark: str

    def start(self, *arguments: str, build: str = "build") -> "subprocess.Popen[str]":
        """Start the demo from the project's root, as make does."""
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        command = [sys.executable, "deploy/demo.py", "--train", "--recipe", "smoke", "--size", "96"]
        command += ["--train-ids", "24", "--test-ids", "12", *arguments]
        command += ["--build", str(self.folder / build), "--runs", str(self.folder / "runs")]
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
        # Progress bars go to a file: in a pipe that nobody reads meanwhile, they would hold the demo up.
        with self.progress.open("w") as progress:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=progress, text=True
            )

    @property
    def progress(self) -> Path:
        """Stderr of the demo that was started last."""
        return self.folder / "stderr.txt"

    def processes(self) -> dict[int, str]:
        """The living processes that the demo started, however deep, with their command lines."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
                if f"{MARK}={self.mark}".encode() in environment:
                    line = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(process.name)] = line.decode(errors="replace")
            except OSError:
                continue  # ended meanwhile, or not ours to read
        return found

    def left_behind(self, seconds: float = 10) -> dict[int, str]:
        """The processes that are still there after the demo's end; a kernel needs a moment to reap."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def scratch(self) -> list[str]:
        """What of ours lies in the folder for temporary files."""
        return [path.name for path in (self.folder / "scratch").glob("vehicle-*")]


@dataclass(frozen=True)
class Ended:
    """A demo that came to its end."""

    code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, dict[str, float]]:
        """The object in the last line."""
        answer: dict[str, dict[str, float]] = json.loads(self.stdout.splitlines()[-1])
        return answer

    @property
    def table(self) -> list[str]:
        """The lines of the table for people."""
        lines = self.stdout.splitlines()
        start = next(number for number, line in enumerate(lines) if line.split() == ["served", "offline"])
        return lines[start : start + 1 + len(FIGURES)]


def run(road: Road, *arguments: str) -> Ended:
    """Run the demo to its end."""
    process = road.start(*arguments)
    stdout, _ = process.communicate(timeout=400)
    return Ended(process.returncode, stdout, road.progress.read_text())


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    folder = tmp_path_factory.mktemp("road")
    road = Road(folder, str(folder))
    yield road
    for pid in road.processes():  # only where a test has failed
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def first(road: Road) -> Ended:
    """The first run, which makes everything."""
    before = set((ROOT / "runs").glob("*"))
    ended = run(road, "--headless")
    assert ended.code == 0, ended.stderr[-3000:]
    assert set((ROOT / "runs").glob("*")) == before
    return ended


def stages(stderr: str) -> list[str]:
    """The titles of the stages that were run."""
    return re.findall(r"^== (.*)$", stderr, re.MULTILINE)


def test_served_figures_are_the_offline_ones(road: Road, first: Ended) -> None:
    answer = first.answer
    assert set(answer) == {"served", "offline", "seconds"}
    served, offline = answer["served"], answer["offline"]
    assert set(served) == set(offline) == FIGURES
    for name in FIGURES:
        assert served[name] == pytest.approx(offline[name], abs=1e-6), name
        assert 0 < served[name] <= 1, name
    assert f"{served['mAP']:.2%}" in first.table[1]
    assert stages(first.stderr)[:3] == [
        "Synthetic vehicles",
        "Training from scratch (smoke)",
        "Export to ONNX and a Triton repository",
    ]
    # The demo has asked the page itself, and says so where it does not answer.
    assert stages(first.stderr)[-1] == "Search page"
    assert road.left_behind() == {}
    assert road.scratch() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_run_reuses_and_a_signal_stops_everything(
    road: Road, first: Ended, number: signal.Signals
) -> None:
    process = road.start()
    assert process.stdout is not None
    try:
        shown = []
        for line in process.stdout:
            shown.append(line)
            if line.startswith("Search page:"):
                break
        else:
            pytest.fail(road.progress.read_text()[-3000:])
        page = re.search(r"http://127\.0\.0\.1:(\d+)", shown[-1])
        assert page is not None
        with urllib.request.urlopen(page[0], timeout=30) as response:
            assert response.status == 200
            assert b"gradio" in response.read().lower()

        started = road.processes()
        for part in ("serving.launch", "retrieval.app", "tritonserver", "triton_python_backend_stub"):
            assert any(part in line for line in started.values()), (part, started)
        text = " ".join(started.values())
        ports = [int(port) for port in re.findall(r"--(?:grpc|http|metrics)-port=(\d+)", text)]
        ports.append(int(page[1]))
        assert len(set(ports)) == 4
        assert all(is_open(port) for port in ports)

        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    ended = Ended(process.returncode, "".join(shown) + rest, road.progress.read_text())
    # With the page open, a signal is the way in which the demo is meant to end.
    assert ended.code == 0, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    assert road.left_behind() == {}
    assert not any(is_open(port) for port in ports)
    assert road.scratch() == []
    assert not [path for path in Path("/dev/shm").glob("vehicle_reid_*") if is_of(path, started)]

    assert ended.table == first.table
    made_again = {"Training from scratch (smoke)", "Export to ONNX and a Triton repository"}
    assert not made_again & set(stages(ended.stderr))
    assert "Offline evaluation (torch)" not in stages(ended.stderr)
    (report,) = (road.folder / "build").glob("gallery-*/ingest-report.json")
    summary = json.loads(report.read_text(encoding="utf-8"))
    assert (summary["added"], summary["known"]) == (0, summary["found"])


def test_interrupted_stage_leaves_nothing_running(road: Road) -> None:
    process = road.start("--headless", build="interrupted")
    data = road.folder / "interrupted" / "data-24-12-96"
    deadline = time.monotonic() + 120
    while not list(data.glob(".progress/t*_*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    stderr = road.progress.read_text()
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    assert road.left_behind() == {}
    # What is there is not taken for a whole data set, and the next run goes on with it.
    assert list(data.glob(".progress/t*_*.json"))
    assert not (data / "dataset.json").exists()


def is_open(port: int) -> bool:
    """Tell whether somebody listens at a port of the loopback address."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_of(region: Path, started: dict[int, str]) -> bool:
    """Tell whether a region of shared memory is of one of these processes, as its name says."""
    return any(region.name.startswith(f"vehicle_reid_{pid}_") for pid in started)
