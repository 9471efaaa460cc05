"""A disk that is really full: one line, nothing acknowledged lost, and all is well with space again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from retrieval.galleries import open_gallery
from tests.adversary.conftest import Home
from tests.retrieval.running_app import running_app
from tests.training.veri_layout import make_veri


class Disk:
    """A file system in memory of a size that changes, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, size: int) -> None:
        """Let it hold so many bytes."""
        self._mount("remount,", size)

    def fill(self, space: int) -> None:
        """Leave so much of it."""
        found = os.statvfs(self.path)
        with open(self.path / "ballast", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - space))

    def empty(self) -> None:
        """Take everything away."""
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _mount(self, how: str, size: int) -> None:
        options = ["-t", "tmpfs", "-o", f"{how}size={size}", "tmpfs", str(self.path)]
        subprocess.run(["mount", *options], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    disk = Disk(path)
    try:
        disk._mount("", 2**20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mounting here; test_starved.py stands in with a limit on files")
    yield disk
    subprocess.run(["umount", "--lazy", str(path)], check=True)


COMMANDS = {
    "ingest": ("retrieval.ingest --images IMAGES --gallery O --encoder BUNDLE", ""),
    "backup": ("retrieval.maintenance backup --gallery GALLERY --to O", ""),
    "restore": ("retrieval.maintenance restore --from COPY --gallery O", ""),
    "reembed": ("retrieval.maintenance reembed --gallery GALLERY --to O --encoder BUNDLE", ""),
    "transfer": ("retrieval.transfer --from GALLERY --to O", ""),
    "encode": ("serving.encode --images IMAGES --encoder BUNDLE --out O", ""),
    "repository": ("serving.repository --bundle BUNDLE --out O", ""),
    "export": ("serving.export --weights osnet_ain.synthetic --out O", ""),
    "zoo": ("zoo push-to-folder osnet_ain.synthetic O", ""),
    "synthesize": (
        "training.synthesize --train-ids 2 --test-ids 1 --images-per-id 2 --workers 1 --out O",
        "",
    ),
    "train": ("training.launch --data-root VERI --recipe smoke --cpus 1 --threads 1 --out O", "--overwrite"),
    "evaluate": (
        "training.evaluate --data-root VERI --weights lite0_osnet.real --save-queries O",
        "",
    ),
    "keys": ("retrieval.keys add me --keys O", ""),
}
"""Commands that write to O, and what the same command needs to be run again over what it has left."""

SPACE = (0, 60_000, 300_000)
"""Bytes that there are: for nothing, for the first files, and for many of them."""


@pytest.fixture(scope="module")
def places(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands read."""
    folder = tmp_path_factory.mktemp("places")
    argv = ["retrieval.maintenance", "backup", "--gallery", f"{home.gallery}", "--to", f"{folder / 'copy'}"]
    assert run(argv).returncode == 0
    found = {"IMAGES": home.images, "BUNDLE": home.bundle, "GALLERY": home.gallery, "COPY": folder / "copy"}
    found["VERI"] = make_veri(folder / "veri")
    return {name: str(path) for name, path in found.items()}


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
        env=environment,
    )


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str, places: dict[str, str], disk: Disk) -> None:
    line, again = COMMANDS[name]
    out = str(disk.path / "out")
    argv = [out if word == "O" else places.get(word, word) for word in line.split()]
    refused = 0
    for space in SPACE:
        disk.resize(2**20)
        disk.fill(space)
        done = run(argv)
        if done.returncode:
            refused += 1
            errors = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
            assert (done.returncode, len(errors)) == (2, 1), done.stderr
            assert "Traceback" not in done.stderr
            assert "pace" in errors[0] or "full" in errors[0] or "written" in errors[0], errors
            disk.resize(2**30)
            done = run([*argv, *again.split()])
            assert done.returncode == 0, done.stderr
        if "gallery" in line and "backup" not in line:
            with open_gallery(out) as gallery:
                assert len(gallery) == 8
        disk.empty()
    assert refused


def test_what_a_service_has_acknowledged(home: Home, disk: Disk) -> None:
    """Images are added until nothing fits any more; searches go on, and adding does once there is space."""
    gallery = shutil.copytree(home.gallery, disk.path / "gallery")
    image = (home.images / "1.jpg").read_bytes()
    acknowledged = set(home.names)

    def add(client: httpx.Client, count: int) -> int:
        for number in range(count):
            key = f"{len(acknowledged)}-{number}"
            answer = client.put(f"/api/entries/{key}", files={"image": image})
            if answer.status_code not in (200, 201):
                return answer.status_code
            acknowledged.add(key)
        return 0

    with (
        running_app("--gallery", gallery, "--writable", "--audit", disk.path / "audit.jsonl") as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        assert add(client, 2) == 0
        disk.fill(40_000)
        assert add(client, 500) == 503
        # With an audit log that cannot be written to, nobody searches.
        found = client.post("/api/search", files={"image": image})
        assert (found.status_code, "audit log cannot be written" in found.text) in ((200, False), (503, True))
        assert client.get("/api/images/1.jpg").status_code == 200
        with open_gallery(gallery) as other:
            assert {result.key for result in other.browse(limit=1000)} == acknowledged
        disk.resize(2**24)
        assert add(client, 3) == 0
        assert client.post("/api/search", files={"image": image}).status_code == 200
    with open_gallery(gallery) as left:
        assert {result.key for result in left.browse(limit=1000)} == acknowledged
