"""The wheel works alone: outside the repository and without torch, models are found by their names."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "zoo",
    "training",
    "serving",
    "retrieval",
    "vehicle_reid.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
BLOCKED = ("torch", "torchvision", "safetensors", "onnx", "onnxscript")
"""What a search node does not have."""

STARTER = f"""
import sys
sys.path.insert(0, sys.argv.pop(1))
sys.modules.update(dict.fromkeys({BLOCKED!r}))
from vehicle_reid import main
sys.exit(main())
"""
"""The console script `vehicle-reid`, of a wheel that was unpacked into the folder of the first argument."""

# A checkout's metadata on the path would count as the installed package.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy so that nothing is left in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", str(folder), str(folder / "source")], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures, all different."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for index in range(5):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((160, 120)).save(tmp_path / "pictures" / f"{index}.jpg")
    return tmp_path / "pictures"


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command from a folder, and end the test where it fails."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[str]:
    """Start the search page, yield its address, and insist that it ends well."""
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ingest_search_and_serve(command: Command, pictures: Path) -> None:
    """Fill a gallery by a model's name, find a picture in it, and open it in the service."""
    folder = pictures.parent
    gallery = ["--gallery", "gallery"]
    run(command("ingest", "--images", "pictures", *gallery, "--encoder", "osnet_ain.synthetic"), folder)
    found = run(command("search", *gallery, "--query", "pictures/3.jpg", "--json"), folder)
    assert json.loads(found.stdout.splitlines()[-1])["results"][0]["key"] == "3.jpg"
    with running(command("app", *gallery, "--port", "0", "--json"), folder) as url:
        with urllib.request.urlopen(url, timeout=30) as page:
            assert page.status == 200
        with urllib.request.urlopen(f"{url}/ready", timeout=30) as ready:
            assert ready.status == 200


def test_wheel_carries_weights_once(wheel: Path) -> None:
    weights = sum(path.stat().st_size for path in (ROOT / "zoo/pretrained").glob("*.safetensors"))
    assert wheel.stat().st_size < weights
    names = ZipFile(wheel).namelist()
    assert "zoo/pretrained/osnet_ain.synthetic.onnx" in names
    assert not [name for name in names if name.startswith(("tests/", "deploy/", "benchmarks/"))]


def test_wheel_encodes_searches_and_serves_by_name(wheel: Path, pictures: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    run([*pip, "--target", str(packages), str(wheel)], tmp_path)

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-I", "-c", STARTER, str(packages), *arguments]

    where = "import sys; sys.path.insert(0, sys.argv[1]); import zoo; print(zoo.__file__)"
    assert run([sys.executable, "-I", "-c", where, str(packages)], tmp_path).stdout.startswith(str(packages))
    ingest_search_and_serve(command, pictures)
    refused = subprocess.run(command("export"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.endswith("the extra `train`: pip install 'vehicle-reid-zoo[train]'\n")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_wheel_works_in_a_clean_environment(wheel: Path, pictures: Path, tmp_path: Path) -> None:
    """As a user installs it, with what it depends on from the package index."""
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    run([str(programs / "pip"), "install", "--quiet", str(wheel)], tmp_path)
    listed = run([str(programs / "pip"), "list", "--format=freeze"], tmp_path).stdout
    assert not any(line.startswith(("torch==", "safetensors==", "onnx==")) for line in listed.splitlines())
    ingest_search_and_serve(lambda *arguments: [str(programs / "vehicle-reid"), *arguments], pictures)
