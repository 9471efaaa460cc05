"""Faults that users make, met by the commands: one line that names the file and the cure, nothing left."""

import io
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import ctrl_c
from tests.training.veri_layout import read_rows, write_labels
from training.baseline import main as baseline
from training.evaluate import main as evaluate
from training.launch import main as launch
from training.run.recipe import RECIPES
from zoo.registry import create_model, make_card
from zoo.weights import load_weights, save_weights

Command = Callable[[Path], int]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = create_model("densenet121", embedding_dim=32, attribute_dim=16)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(model, make_card(model, "densenet121.small", (32, 32)), path)
    return path


@pytest.fixture(params=["launch", "evaluate", "baseline"])
def command(request: pytest.FixtureRequest, weights: Path, tmp_path: Path) -> Command:
    """A command, to be given a data set."""
    more = {
        "launch": f"--recipe smoke --epochs 1 --threads 1 --out {tmp_path / 'run'}".split(),
        "evaluate": ["--weights", str(weights), "--threads", "1"],
        "baseline": [],
    }
    main = {"launch": launch, "evaluate": evaluate, "baseline": baseline}[request.param]
    return lambda root: main(["--data-root", str(root), *more[request.param]])


def fails(command: Command, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that has to fail; return the one line that it says last."""
    capsys.readouterr()
    assert command(root) == 2
    output = capsys.readouterr()
    assert output.out == ""
    errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert errors == output.err.splitlines()[-1:]
    return errors[0]


def test_missing_data_set(command: Command, tmp_path: Path, capsys) -> None:
    message = fails(command, tmp_path / "没有 data", capsys)
    assert message.startswith(f"error: {tmp_path / '没有 data'}: no such folder")
    assert "python -m training.synthesize" in message
    assert not (tmp_path / "run").exists()


def test_half_copied_data_set(command: Command, own_root: Path, tmp_path: Path, capsys) -> None:
    missing = sorted((own_root / "image_test").iterdir())[1]
    missing.unlink()
    message = fails(command, own_root, capsys)
    assert message.startswith(f"error: {missing.parent}: holds 3 of the 4 images")
    assert f"missing {missing.name}: copy the folder again" in message
    shutil.rmtree(own_root / "image_query")
    message = fails(command, own_root, capsys)
    assert message.startswith(f"error: {own_root / 'image_query'}: missing; ")
    assert "holds 5 of the 6 expected entries" in message
    assert not (tmp_path / "run").exists()


def test_label_row_cut_short(command: Command, own_root: Path, tmp_path: Path, capsys) -> None:
    rows = read_rows(own_root / "label_query.csv")
    write_labels(own_root / "label_query.csv", [rows[0], rows[1][:50]])
    message = fails(command, own_root, capsys)
    assert message.startswith(f"error: {own_root / 'label_query.csv'}:2: 50 fields where 112 are expected")
    assert not (tmp_path / "run").exists()


def huge(_path: Path) -> bytes:
    """A real image of 20,000 x 20,000 pixels in a file of some kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("damage", "reason", "cure"),
    [
        (lambda path: path.read_bytes()[:700], "truncated", "copy it again"),
        (lambda path: b"", "the image is empty (0 bytes)", "copy it again"),
        (lambda path: b"<html>not found</html>", "not a JPEG, PNG, WebP or BMP image", "copy it again"),
        (huge, "exceeds the limit of 64000000 pixels", "make it smaller"),
    ],
    ids=["truncated", "empty", "no image", "huge"],
)
def test_image_that_cannot_be_used(
    command: Command, own_root: Path, tmp_path: Path, capsys, damage, reason: str, cure: str
) -> None:
    path = sorted((own_root / "image_test").iterdir())[1]
    path.write_bytes(damage(path))
    message = fails(command, own_root, capsys)
    assert message.startswith(f"error: {path}: ")
    assert reason in message
    assert message.endswith(cure)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_images_of_every_kind_are_used(command: Command, own_root: Path, capsys) -> None:
    """Under a path with a space and Chinese characters, like all of these."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[Callable[[Image.Image, Path], None]] = [
        lambda image, path: image.convert("CMYK").save(path, "JPEG"),
        lambda image, path: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(
            path, "PNG"
        ),
        lambda image, path: image.convert("P").save(path, "PNG"),
        lambda image, path: image.convert("RGBA").save(path, "PNG"),
        lambda image, path: image.save(path, "JPEG", exif=exif),
    ]
    paths = sorted(own_root.glob("image_*/*"))
    assert len(paths) > 2 * len(kinds)
    for number, path in enumerate(paths):
        image = Image.open(path).copy()
        kinds[number % len(kinds)](image, path)
    assert command(own_root) == 0


def test_full_disk(own_root: Path, tmp_path: Path) -> None:
    """A limit on the file size stands in for the full disk: the kernel refuses the same write."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))

    out = tmp_path / "run"
    command = [sys.executable, "-m", "training.launch", "--data-root", str(own_root), "--out", str(out)]
    done = subprocess.run(
        [*command, "--recipe", "smoke", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=full,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {out / 'last.safetensors'}: cannot be written")
    assert "Free some space" in last
    assert sorted(path.name for path in out.iterdir()) == [
        "environment.json",
        "labels.json",
        "recipe.json",
        "tensorboard",
    ]


def test_interrupted_training_leaves_whole_files(own_root: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the processes that load images too; none of them may add its traceback."""
    recipe = tmp_path / "long.toml"
    text = (RECIPES / "smoke.toml").read_text()
    recipe.write_text(text.replace("epochs = 2", "epochs = 1000").replace("cache = true", "workers = 2"))
    out = tmp_path / "run"
    process = ctrl_c.start(
        "training.launch", "--data-root", own_root, "--out", out, "--recipe", recipe, "--threads", 1
    )
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    code, stderr = ctrl_c.press(process)
    assert code == 130, stderr
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "interrupted"
    for name in ("best", "last"):
        load_weights(out / f"{name}.safetensors")
    assert not list(out.glob(".*"))
    # What tells a complete run from this one.
    assert not (out / "metrics.json").exists()
