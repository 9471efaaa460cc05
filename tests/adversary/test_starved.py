"""Commands that the machine gives too little: a full disk, too few open files. One line, nothing half."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.galleries import open_gallery
from tests.adversary.conftest import Home


def run(argv: list[str], limit: int, value: int) -> subprocess.CompletedProcess[str]:
    """Run a command under a limit of `resource`."""
    return subprocess.run(
        [sys.executable, "-m", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
    )


def ingest(home: Home, gallery: Path) -> list[str]:
    argv = ["retrieval.ingest", "--images", f"{home.images}", "--gallery", f"{gallery}"]
    return [*argv, "--encoder", f"{home.bundle}"]


def assert_one_line(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("size", [1000, 50_000])
def test_a_disk_that_is_full(home: Home, tmp_path: Path, size: int) -> None:
    """A limit on the size of files stands for it: the first write beyond it fails."""
    command = ingest(home, tmp_path / "gallery")
    assert_one_line(run(command, resource.RLIMIT_FSIZE, size))
    # With space again, the same command completes what there is.
    assert run(command, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY).returncode == 0
    with open_gallery(tmp_path / "gallery") as gallery:
        assert len(gallery) == 8


@pytest.mark.parametrize("files", [16, 26])
def test_too_few_open_files(home: Home, tmp_path: Path, files: int) -> None:
    command = ingest(home, tmp_path / "gallery")
    done = run(command, resource.RLIMIT_NOFILE, files)
    if done.returncode:
        assert_one_line(done)
    assert run(command, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY).returncode == 0
    with open_gallery(tmp_path / "gallery") as gallery:
        assert len(gallery) == 8


@pytest.mark.parametrize(
    "line",
    [
        "retrieval.search --gallery GALLERY --query IMAGE",
        pytest.param("retrieval.maintenance backup --gallery GALLERY --to O", marks=pytest.mark.slow),
        pytest.param("retrieval.transfer --from GALLERY --to O", marks=pytest.mark.slow),
        pytest.param("retrieval.ingest --images IMAGES --gallery O --encoder BUNDLE", marks=pytest.mark.slow),
    ],
)
def test_too_few_open_files_are_named(home: Home, tmp_path: Path, line: str) -> None:
    """Not taken for permissions or a full disk, which the database itself cannot tell from them.

    How many a command needs is the machine's matter: each number is tried until one is enough.
    """
    places = {
        "GALLERY": home.gallery,
        "IMAGE": home.images / "1.jpg",
        "IMAGES": home.images,
        "BUNDLE": home.bundle,
    }
    refused = 0
    for files in range(5, 40):
        places["O"] = tmp_path / f"out{files}"
        done = run([str(places.get(word, word)) for word in line.split()], resource.RLIMIT_NOFILE, files)
        if done.returncode == 0:
            break
        assert_one_line(done)
        assert "ulimit -n" in done.stderr.splitlines()[-1]
        refused += 1
    assert refused and done.returncode == 0
