"""Commands that the machine gives too little: a full disk, too few open files. One line, nothing half."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from tests.retrieval.small_model import write_bundle


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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("starved")
    (home / "images").mkdir()
    for number in range(1, 9):
        Image.new("RGB", (48, 48), (20 * number, 90, 200)).save(home / "images" / f"{number}.jpg")
    write_bundle(home / "bundle")
    return home


def ingest(home: Path, gallery: Path) -> list[str]:
    images, bundle = home / "images", home / "bundle"
    return ["retrieval.ingest", "--images", f"{images}", "--gallery", f"{gallery}", "--encoder", f"{bundle}"]


def assert_one_line(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("size", [1000, 50_000])
def test_a_disk_that_is_full(home: Path, tmp_path: Path, size: int) -> None:
    """A limit on the size of files stands for it: the first write beyond it fails."""
    command = ingest(home, tmp_path / "gallery")
    assert_one_line(run(command, resource.RLIMIT_FSIZE, size))
    # With space again, the same command completes what there is.
    assert run(command, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY).returncode == 0
    with open_gallery(tmp_path / "gallery") as gallery:
        assert len(gallery) == 8


@pytest.mark.parametrize("files", [16, 26])
def test_too_few_open_files(home: Path, tmp_path: Path, files: int) -> None:
    command = ingest(home, tmp_path / "gallery")
    done = run(command, resource.RLIMIT_NOFILE, files)
    if done.returncode:
        assert_one_line(done)
    assert run(command, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY).returncode == 0
    with open_gallery(tmp_path / "gallery") as gallery:
        assert len(gallery) == 8
