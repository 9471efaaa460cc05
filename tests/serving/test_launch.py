"""The command: it serves, explains where it cannot, and takes everything down with it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import server_of, session_members
from serving.bundle import Bundle
from serving.probe import probe
from serving.server.binary import CONTAINER_IMAGE
from zoo.processes import children


@pytest.fixture
def launched(bundle: Bundle) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.launch", "--bundle", str(bundle.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(60)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def wait_until_gone(session: int, seconds: float) -> list[int]:
    """Wait for a session to empty; return who is left."""
    deadline = time.monotonic() + seconds
    while (left := session_members(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_everything(
    launched: "subprocess.Popen[str]", bundle: Bundle, number: signal.Signals
) -> None:
    assert launched.stdout is not None
    addresses = json.loads(launched.stdout.readline())
    assert set(addresses) == {"grpc", "http", "metrics"}
    assert probe(addresses["http"], bundle.card.outputs) is None
    server = server_of(launched.pid)
    launched.send_signal(number)
    assert launched.wait(60) == 0
    assert wait_until_gone(server, 0) == []


def test_kill_of_the_parent_stops_the_server(launched: "subprocess.Popen[str]") -> None:
    assert launched.stdout is not None
    launched.stdout.readline()
    server = server_of(launched.pid)
    pid = launched.pid
    launched.kill()
    assert wait_until_gone(server, 30) == []
    # The watchdog tidies up after the server's end.
    deadline = time.monotonic() + 10
    while (left := list(Path("/dev/shm").glob(f"vehicle_reid_{pid}_*"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_interrupt_while_it_starts_leaves_nothing(launched: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 30
    while not (watchdogs := children(launched.pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    launched.send_signal(signal.SIGINT)
    _, stderr = launched.communicate(timeout=60)
    assert launched.returncode == 130, stderr
    # Interrupted between the start of the watchdog and taking note of it, the command ends first and the
    # watchdog after it.
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in watchdogs) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in watchdogs)
    assert list(Path("/dev/shm").glob(f"vehicle_reid_{launched.pid}_*")) == []


def test_kill_of_the_watchdog_stops_the_server(launched: "subprocess.Popen[str]") -> None:
    assert launched.stdout is not None
    launched.stdout.readline()
    server = server_of(launched.pid)
    (watchdog,) = children(launched.pid)
    os.kill(watchdog, signal.SIGKILL)
    assert launched.wait(30) == 2
    assert wait_until_gone(server, 5) == []
    assert list(Path("/dev/shm").glob(f"vehicle_reid_{launched.pid}_*")) == []


def test_without_any_server_the_container_command_is_printed(bundle: Bundle) -> None:
    with tempfile.TemporaryDirectory() as cache:
        # The second time, a half-made environment lies there: it is not taken for a whole one.
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "serving.launch", "--bundle", str(bundle.path)],
                env={**os.environ, "XDG_CACHE_HOME": cache, "PIP_NO_INDEX": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 2
            last = done.stderr.splitlines()[-1]
            assert last.startswith("error: the server's environment cannot be made")
            assert "docker run" in last
            assert CONTAINER_IMAGE in last
            assert f"'{bundle.repository}:/models:ro'" in last
            assert list(Path(cache).rglob("pyvenv.cfg"))


def test_missing_bundle_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving.launch", "--bundle", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'none'}: no bundle there")


def test_missing_client_is_reported_before_anything_is_started(bundle, run_python) -> None:
    done = run_python(
        "import sys; sys.modules['tritonclient'] = None; from serving.launch import main; "
        f"sys.exit(main(['--bundle', {str(bundle.path)!r}]))"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: a Triton server needs tritonclient")
    assert done.stderr.endswith("it comes with the extra `triton`: pip install -e '.[triton]'\n")
