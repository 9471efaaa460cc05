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
from typing import Any

import httpx
import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Entry
from retrieval.local.index_policy import IndexPolicy
from serving.encoders.encoder import open_encoder
from tests.retrieval.running_app import running_app
from training.datasets import read_split
from training.evaluation.rankings import evaluate_rankings

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
        command += ["--train-ids", "8", "--test-ids", "8", "--site-seconds", "0", *arguments]
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


@dataclass(frozen=True)
class Made:
    """What the first run has left: data, bundle, gallery, and the query images."""

    data: Path
    bundle: Path
    gallery: Path
    queries: list[Path]

    def ranked_over_rest(self, gallery: Path) -> dict[str, dict[str, Any]]:
        """What a service of a gallery answers to each query image, in the form of a rankings file's lines."""
        ranked = {}
        with (
            running_app("--gallery", gallery, "--encoder", self.bundle) as url,
            httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
        ):
            for path in self.queries:
                answer = client.post("/api/search", files={"image": path.read_bytes()}, data={"k": "1000"})
                assert answer.status_code == 200, answer.text
                found = answer.json()
                keys = [item["key"] for item in found["results"]]
                ranked[path.name] = {"query": path.name, **found["query"], "results": keys}
        return ranked


@pytest.fixture(scope="module")
def made(road: Road, first: Ended) -> Made:
    build = road.folder / "build"
    data = build / "data-8-8-96"
    (bundle,), (gallery,) = build.glob("bundle-*"), build.glob("gallery-*")
    return Made(data, bundle, gallery, sorted((data / "image_query").glob("*.jpg")))


def test_figures_over_rest_are_the_offline_ones(made: Made, first: Ended, tmp_path: Path) -> None:
    """Exact search, every image ranked: the same mAP and Rank-1 as `training.evaluate` of the torch model."""
    path = tmp_path / "rankings.jsonl"
    answers = made.ranked_over_rest(made.gallery).values()
    path.write_text("".join(json.dumps(line) + "\n" for line in answers), encoding="utf-8")
    found = evaluate_rankings(path, read_split(made.data, "query"), read_split(made.data, "test"))
    assert found.ranking.mean_average_precision == pytest.approx(first.answer["offline"]["mAP"], abs=1e-9)
    assert found.ranking.rank(1) == pytest.approx(first.answer["offline"]["rank1"], abs=1e-9)


@pytest.mark.slow
def test_figures_over_rest_with_the_automatic_index(made: Made, tmp_path: Path) -> None:
    """Among thousands of made-up images near the real ones, mAP of 1000 results is nearly a plain scan's."""
    chance = np.random.default_rng(0)
    with open_gallery(made.gallery) as small:
        real = [entry for batch in small.entries() for entry in batch]
        model = small.model
    vectors = np.stack([entry.embedding for entry in real])
    base, one, other = (vectors[chance.integers(0, len(real), 6000)] for _ in range(3))
    others = base + np.float32(1.5) * (one - other)
    policy = IndexPolicy(exact_up_to=4000)
    with open_gallery(tmp_path / "gallery", model=model, writable=True, policy=policy) as large:
        large.add(real)
        large.add(Entry(f"other/{n}", vector) for n, vector in enumerate(others))
        held = [entry for batch in large.entries() for entry in batch]
    (index,) = (tmp_path / "gallery" / "derived").glob("index-*.faiss")
    assert index.stat().st_size < vectors.itemsize * others.size / 4
    answers = made.ranked_over_rest(tmp_path / "gallery")

    keys = np.array([entry.key for entry in held])
    # Of unit length where the model's metric is the cosine, whose order is then that of the distance.
    stored = np.stack([entry.embedding for entry in held]).astype(np.float64)
    encoder = open_encoder(str(made.bundle), threads=1)
    queries = read_split(made.data, "query")
    embedded = encoder.encode([record.path.read_bytes() for record in queries]).embedding
    encoder.close()
    gallery = read_split(made.data, "test")
    figures = []
    for record, embedding in zip(queries, embedded, strict=True):
        same = [each for each in gallery if each.vehicle_id == record.vehicle_id]
        matches = {each.path.name for each in same if each.camera_id != record.camera_id}
        junk = {each.path.name for each in same} - matches
        order = np.argsort(np.linalg.norm(stored - embedding, axis=1), kind="stable")[:1000]
        figures.append(
            [
                average_precision([key for key in ranked if key not in junk], matches)
                for ranked in (answers[record.path.name]["results"], keys[order].tolist())
            ]
        )
    served, exact = np.nanmean(figures, axis=0)
    assert 0.05 < exact < 1
    assert served == pytest.approx(exact, abs=0.005)


def average_precision(ranked: list[str], matches: set[str]) -> float:
    """Of all matches; one that is not ranked counts 0."""
    places = [place for place, key in enumerate(ranked) if key in matches]
    if not matches:
        return float("nan")
    return sum((n + 1) / (place + 1) for n, place in enumerate(places)) / len(matches)


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
    data = road.folder / "interrupted" / "data-8-8-96"
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
