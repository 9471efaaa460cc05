"""A clock that somebody sets, by seconds or years, while the service and commands run: nothing heeds it."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from socket import MSG_DONTWAIT, MSG_PEEK

import httpx
import pytest

from retrieval.galleries import open_gallery
from retrieval.keys import add_key, read_keys, remove_key
from tests.adversary.conftest import Home, Trials
from tests.retrieval.running_app import running_app

DAY = 86400.0
STEPS = (-10 * 365 * DAY, -DAY, -3600.0, -5.0, -0.2, 0.2, 5.0, 3600.0, DAY, 10 * 365 * DAY)


class Clock:
    """The clock of the processes that get `environment`."""

    def __init__(self, library: Path, place: Path) -> None:
        place.write_bytes(bytes(8))
        self._place, self.offset = place, 0.0
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(place)}

    def set(self, chance: random.Random) -> None:
        """Move it; it stays within what people live to see."""
        step = chance.choice(STEPS)
        self.offset = self.offset + step if abs(self.offset + step) < 20 * 365 * DAY else 0.0
        with open(self._place, "r+b") as file:
            file.write(int(self.offset * 1e9).to_bytes(8, "little", signed=True))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux" or (compiler := shutil.which("cc")) is None:
        pytest.skip("a C compiler on Linux is needed to set the clock of a process")
    path = tmp_path_factory.mktemp("clock") / "set_clock.so"
    source = Path(__file__).with_name("set_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return path


@pytest.fixture
def clock(library: Path, tmp_path: Path) -> Clock:
    return Clock(library, tmp_path / "offset")


def test_a_service_whose_clock_is_set(home: Home, clock: Clock, tmp_path: Path, trials: Trials) -> None:
    """Keys, rates, streams, logs, adds and removals go on as if nothing had been."""
    gallery, keys = shutil.copytree(home.gallery, tmp_path / "gallery"), tmp_path / "keys.json"
    audit, log = tmp_path / "audit.jsonl", tmp_path / "log"
    bearer = {"Authorization": f"Bearer {add_key(keys, 'writer', 'write')}"}
    image = (home.images / "1.jpg").read_bytes()
    options = ("--keys", keys, "--writable", "--rate", "50", "--audit", audit)
    options = (*options, "--log", "debug", "--log-form", "json")
    asked = 0
    with (
        open(log, "w") as stderr,
        running_app(*options, "--gallery", gallery, stderr=stderr, environment=clock.environment) as url,
        closing(httpx.Client(base_url=url, headers=bearer, timeout=30, trust_env=False)) as client,
        client.stream("GET", "/gradio_api/heartbeat/a") as stream,
    ):
        beats = stream.iter_raw()
        assert next(beats)
        socket = stream.extensions["network_stream"].get_extra_info("socket")
        truth = client.post("/api/search", files={"image": image}, data={"k": "3"}).json()
        for chance in trials(6):
            clock.set(chance)
            found = client.post("/api/search", files={"image": image}, data={"k": "3"})
            assert (found.status_code, found.json()) == (200, truth)
            assert client.put("/api/entries/new", files={"image": image}).status_code in (200, 201)
            assert client.get("/api/entries/new").status_code == 200
            assert client.delete("/api/entries/new").status_code in (200, 204)
            assert client.get("/ready").status_code == client.get("/metrics").status_code == 200
            name = f"guest {chance.random()}"
            guest = {"Authorization": f"Bearer {add_key(keys, name, 'read')}"}
            assert client.get("/api/cameras", headers=guest).status_code == 200
            remove_key(keys, name)
            assert client.get("/api/cameras", headers=guest).status_code == 401
            asked += 1
        assert len(read_keys(keys)) == 1
        with contextlib.suppress(BlockingIOError):
            assert socket.recv(1, MSG_PEEK | MSG_DONTWAIT), "the page's stream has ended"
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert len([line for line in lines if line["endpoint"] == "search"]) == asked + 1
    answers = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert len(answers) > 8 * asked
    assert all(min(answer["seconds"], *answer.get("stages", {}).values(), 0) == 0 for answer in answers)
    with open_gallery(gallery) as left:
        assert len(left) == len(home.names)


def _commands(home: Home, out: Path) -> Iterator[list[str]]:
    gallery, keys = str(out / "gallery"), str(out / "keys.json")
    yield [
        "retrieval.ingest",
        "--images",
        f"{home.images}",
        "--gallery",
        gallery,
        "--encoder",
        f"{home.bundle}",
    ]
    yield ["retrieval.maintenance", "backup", "--gallery", gallery, "--to", f"{out / 'copy'}"]
    yield ["retrieval.maintenance", "check", "--gallery", gallery]
    yield ["retrieval.maintenance", "restore", "--from", f"{out / 'copy'}", "--gallery", f"{out / 'again'}"]
    # A year before any of the clocks; what has no time stays.
    yield ["retrieval.maintenance", "prune", "--gallery", gallery, "--older-than", "1980-01-01"]
    yield ["retrieval.transfer", "--from", gallery, "--to", f"{out / 'third'}"]
    yield ["retrieval.search", "--gallery", gallery, "--query", f"{home.images / '1.jpg'}", "--json"]
    yield ["retrieval.keys", "add", "me", "--keys", keys]
    yield ["retrieval.keys", "list", "--keys", keys]


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_commands_whose_clock_is_set(home: Home, clock: Clock, tmp_path: Path, trials: Trials) -> None:
    for number, chance in enumerate(trials(1)):
        out = tmp_path / str(number)
        out.mkdir()
        for argv in _commands(home, out):
            with ThreadPoolExecutor(1) as pool:
                done = pool.submit(
                    subprocess.run,
                    [sys.executable, "-m", *argv],
                    capture_output=True,
                    text=True,
                    timeout=120,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **clock.environment},
                )
                while not done.done():
                    clock.set(chance)
            assert done.result().returncode == 0, (argv, done.result().stderr)
        for name in ("gallery", "again", "third"):
            with open_gallery(out / name) as gallery:
                assert len(gallery) == len(home.names)
        shutil.rmtree(out)
