"""Commands that the machine gives too little: disk, open files, memory. One line, nothing half."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.galleries import open_gallery
from tests.adversary.conftest import Home
from tests.training.veri_layout import make_veri
from zoo.decoding_memory import DecoderBusyError
from zoo.preprocess import read_image


def run(argv: list[str], limit: int, value: int) -> subprocess.CompletedProcess[str]:
    """Run a command under a limit of `resource`."""
    return subprocess.run(
        [sys.executable, "-m", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
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


@pytest.mark.parametrize("megabytes", [100, 200, 250, 300])
def test_too_few_addresses_to_load_libraries(megabytes: int) -> None:
    """FAISS crashes, and OpenBLAS ends the process, which no handler sees."""
    for argv in (["retrieval.maintenance", "check", "--gallery", "G"], ["vehicle_reid", "ingest"]):
        done = run(argv, resource.RLIMIT_AS, megabytes * 2**20)
        assert_one_line(done)
        assert "`ulimit -v unlimited`" in done.stderr


HEAVY = {
    "export": "serving.export --weights osnet_ain.synthetic --out O",
    "evaluate": "training.evaluate --data-root VERI --weights lite0_osnet.real --cpus 1 --save-queries O",
    "train": "training.launch --data-root VERI --recipe smoke --cpus 1 --threads 1 --out O",
    "train on two": "training.launch --data-root VERI --recipe smoke --cpus 2 --threads 1 --out O",
}
"""Commands that load torch, and take seconds for it."""

STARVING = {
    "files": (resource.RLIMIT_NOFILE, (6, 8, 10, 16, 24), "ulimit -n"),
    "disk": (resource.RLIMIT_FSIZE, (0, 1000, 50_000), ""),
    "memory": (resource.RLIMIT_AS, (10**9, 2 * 10**9, 3 * 10**9), "ulimit -v"),
}
"""Limits, and the cure that is named. Some of them are enough for some commands."""


@pytest.fixture(scope="module")
def veri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_veri(tmp_path_factory.mktemp("starved") / "veri")


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("lack", STARVING)
@pytest.mark.parametrize("name", HEAVY)
def test_heavy_commands(veri: Path, tmp_path: Path, name: str, lack: str) -> None:
    limit, values, cure = STARVING[lack]
    for value in values:
        out = tmp_path / f"out{value}"
        places = {"VERI": veri, "O": out}
        argv = [str(places.get(word, word)) for word in HEAVY[name].split()]
        done = run(argv, limit, value)
        if done.returncode:
            assert_one_line(done)
            # `-a` where so little is left that which of the two it was cannot be told.
            assert cure in done.stderr.splitlines()[-1].replace("ulimit -a", cure)
            # With enough, the same command does it over what it has left.
            again = ["--overwrite"] if "launch" in argv[0] and out.exists() else []
            done = run([*argv, *again], resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("raised", "cure"),
    [
        ("MemoryError()", "ulimit -v"),
        ("ImportError('libx.so: failed to map segment from shared object')", "ulimit -v"),
        ("ImportError('libx.so: cannot open shared object file: Too many open files')", "ulimit -n"),
        ("ImportError('libGL.so.1: cannot open shared object file: No such file or directory')", "install"),
        ("RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried')", "ulimit -v"),
        ("OSError(12, 'Cannot allocate memory')", "ulimit -v"),
        ("ValueError('a mistake of ours')", None),
    ],
)  # fmt: skip
def test_libraries_that_cannot_be_loaded(raised: str, cure: str | None) -> None:
    """Before a command's `main` runs there is nobody but the hook to tell it."""
    code = f"import sys; sys.argv = ['-m']; import zoo; raise {raised}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if cure is None:
        assert done.returncode == 1 and "Traceback" in done.stderr
    else:
        assert_one_line(done)
        assert cure in done.stderr


def test_no_memory_is_no_fault_of_the_picture(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lacking)
    with pytest.raises(DecoderBusyError, match=r"1.jpg: there is no memory"):
        read_image(home.images / "1.jpg")
