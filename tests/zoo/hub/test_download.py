"""Downloads over a real connection that breaks, on a real disk that fills up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.zoo.server import RangeServer, serving
from zoo.errors import UserError
from zoo.hub import download as module
from zoo.hub.download import DownloadError, download

DATA = os.urandom(1_500_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(DATA)
    with serving(folder) as running:
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file.part"


def test_a_whole_file(server: RangeServer, part: Path) -> None:
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
    assert server.requests == [("/file.bin", None)]


def test_a_connection_that_breaks_off_is_taken_up_again(server: RangeServer, part: Path) -> None:
    server.drop_after = 400_000
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
    ranges = [asked for _, asked in server.requests]
    assert ranges == [None, "bytes=400000-", "bytes=800000-", "bytes=1200000-"]


def test_a_server_that_breaks_off_too_often_leaves_what_came(
    server: RangeServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    server.drop_after = 100_000
    with pytest.raises(DownloadError, match="broke off; the 200000 bytes that came are kept"):
        download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA[:200_000]
    server.drop_after = 0
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
    assert server.requests[-1] == ("/file.bin", "bytes=200000-")


def test_a_killed_process_goes_on_where_it_was(server: RangeServer, part: Path) -> None:
    server.pause = 0.1
    code = (
        "import sys, pathlib; from zoo.hub.download import download\n"
        "download(sys.argv[1], pathlib.Path(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"{server.url}/file.bin", str(part)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 500_000):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = part.stat().st_size
    assert 500_000 <= kept < len(DATA)
    server.pause = 0
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
    assert server.requests == [("/file.bin", None), ("/file.bin", f"bytes={kept}-")]


def test_a_killed_server_is_gone_on_with_when_it_is_back(tmp_path: Path, part: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(DATA)
    code = (
        "import sys, pathlib, time; from tests.zoo.server import serving\n"
        "with serving(pathlib.Path(sys.argv[1])) as server:\n"
        "    server.pause = 0.1\n    print(server.url, flush=True)\n    time.sleep(100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        killer = (
            f"import os, pathlib, time\nwhile not (os.path.exists({str(part)!r}) and "
            f"os.path.getsize({str(part)!r}) >= 300_000): time.sleep(0.01)\nos.kill({process.pid}, 9)"
        )
        kept = pytest.raises(DownloadError, match="bytes that came are kept")
        with subprocess.Popen([sys.executable, "-c", killer]), kept:
            download(f"{url}/file.bin", part)
    finally:
        process.kill()
        process.wait()
    size = part.stat().st_size
    assert 300_000 <= size < len(DATA)
    with serving(folder) as server:
        download(f"{server.url}/file.bin", part)
        assert server.requests == [("/file.bin", f"bytes={size}-")]
    assert part.read_bytes() == DATA


def test_a_server_without_ranges_starts_anew(server: RangeServer, part: Path) -> None:
    server.ranges = False
    part.parent.mkdir()
    part.write_bytes(b"something else")
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA


def test_a_part_that_is_already_whole_or_too_long(server: RangeServer, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(DATA)
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
    part.write_bytes(DATA + b"more")
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
    assert server.requests[-1] == ("/file.bin", None)


def test_refusals_name_their_reason(server: RangeServer, part: Path) -> None:
    with pytest.raises(DownloadError, match="answers 404"):
        download(f"{server.url}/absent.bin", part)
    with serving(server.folder) as other:
        url = other.url
    with pytest.raises(DownloadError, match="refused"):
        download(f"{url}/file.bin", part)
    with pytest.raises(DownloadError):
        download("http://host.invalid/file.bin", part)
    assert part.stat().st_size == 0


def test_a_server_that_sends_too_much_is_cut_off(
    server: RangeServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    with pytest.raises(DownloadError, match="1500000 bytes are more than the limit"):
        download(f"{server.url}/file.bin", part)
    assert part.stat().st_size == 0


def test_two_at_a_time_do_not_mix(server: RangeServer, part: Path) -> None:
    import fcntl

    part.parent.mkdir()
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is fetching"):
            download(f"{server.url}/file.bin", part)


FULL_DISK = """
import pathlib, resource, signal, sys
from zoo.hub.download import download
from zoo.errors import exit_on_user_error

@exit_on_user_error
def main():
    download({url!r}, pathlib.Path({part!r}))
    return 0

# A write past this size fails as one to a full disk does; the signal would end the process before.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
sys.exit(main())
"""


def test_full_disk(
    run_python: Callable[[str], subprocess.CompletedProcess[str]], server: RangeServer, part: Path
) -> None:
    ran = run_python(FULL_DISK.format(url=f"{server.url}/file.bin", part=str(part)))
    assert ran.returncode == 2
    assert f"error: {part}: cannot be written" in ran.stderr
    assert "Traceback" not in ran.stderr
    download(f"{server.url}/file.bin", part)
    assert part.read_bytes() == DATA
