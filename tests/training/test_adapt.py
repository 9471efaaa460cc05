"""Adaptation from the command line: every architecture, what is left behind, and when all stays as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.veri_layout import make_veri
from training.adapt import main as adapt
from zoo.loading import load_model
from zoo.registry import create_model, list_archs, make_card
from zoo.weights import save_weights

FAST = 'base = "adapt"\nepochs = 1\nnum_identities = 2\nnum_instances = 2\n'


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_veri(tmp_path_factory.mktemp("adapt") / "veri", train_ids=8, test_ids=1, images=3)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "fast.toml"
    path.write_text(FAST, encoding="utf-8")
    return path


def weights(folder: Path, arch: str = "osnet_ain", **options: object) -> Path:
    """Untrained weights, with an identity classifier as a run's have."""
    options = {"embedding_dim": 32, "attribute_dim": 16, "num_ids": 5, **options}
    model = create_model(arch, **options)
    path = folder / "old.safetensors"
    card = make_card(model, f"{arch}.old", (32, 32), metrics=[{"dataset": "x", "device": "y", "mAP": 0.5}])
    save_weights(model, card, path)
    return path


def run(old: Path, data: object, out: Path, *options: str) -> int:
    return adapt(["--weights", str(old), "--data", str(data), "--out", str(out), "--cpus", "1", *options])


@pytest.mark.parametrize("arch", list_archs())
def test_every_architecture_is_adapted(arch: str, pictures: Path, recipe: Path, tmp_path: Path) -> None:
    old, out = weights(tmp_path, arch), tmp_path / "out"
    assert run(old, pictures, out, "--recipe", str(recipe), "--rounds", "1", "--skip", "guard") == 0
    content = json.loads((out / "adapt.json").read_text(encoding="utf-8"))
    assert json.loads((out / "environment.json").read_text(encoding="utf-8"))["device"]["type"] == "cpu"
    assert (content["kept"], content["pictures"], len(content["cameras"])) == ("new", 24, 3)
    assert content["rounds"][0]["across"] >= 2
    model, card = load_model(out / "best.safetensors")
    before, old_card = load_model(old)
    assert (card.name, card.metrics, card.outputs) == (f"{arch}.old-adapted", [], old_card.outputs)
    assert "24 pictures of 3 cameras" in card.notes
    assert card.command.startswith("python -m training.adapt --weights")
    assert (card.colors, card.types) == (old_card.colors, old_card.types)
    was, now = before.state_dict(), model.state_dict()
    assert not any(key.startswith("classifier_vid") for key in now)
    assert any(not np.allclose(was[key], now[key]) for key in now if key.endswith("weight"))
    assert "The new model was kept" in (out / "report.md").read_text(encoding="utf-8")


def test_too_few_pictures_leave_the_very_file(pictures: Path, tmp_path: Path) -> None:
    old, out = weights(tmp_path), tmp_path / "out"
    assert run(old, pictures, out) == 0
    content = json.loads((out / "adapt.json").read_text(encoding="utf-8"))
    assert content["kept"] == "old"
    assert "too few" in content["reason"]
    assert (out / "best.safetensors").read_bytes() == old.read_bytes()
    assert json.loads((out / "best.json").read_text()) == json.loads(old.with_suffix(".json").read_text())


def test_statistics_alone(pictures: Path, tmp_path: Path) -> None:
    old, out = weights(tmp_path), tmp_path / "out"
    assert run(old, pictures, out, "--skip", "guard", "clusters") == 0
    was, now = (load_model(path)[0].state_dict() for path in (old, out / "best.safetensors"))
    moved = {key.rpartition(".")[2] for key in now if not np.allclose(was[key], now[key])}
    assert {"running_mean", "running_var"} <= moved
    assert not moved & {"weight", "bias"}


def test_without_any_step_the_old_model_stays(pictures: Path, tmp_path: Path) -> None:
    old, out = weights(tmp_path), tmp_path / "out"
    assert run(old, pictures, out, "--skip", "guard", "clusters", "statistics") == 0
    assert json.loads((out / "adapt.json").read_text())["kept"] == "old"


def test_unrelated_pictures_are_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for camera in ("a", "b"):
        (tmp_path / "noise" / camera).mkdir(parents=True)
        for number in range(50):
            image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
            image.save(tmp_path / "noise" / camera / f"{number}.png")
    out = tmp_path / "out"
    assert run(Path("osnet_ain.synthetic"), tmp_path / "noise", out) == 0
    content = json.loads((out / "adapt.json").read_text())
    assert (content["kept"], content["rounds"]) == ("old", [])
    assert "unlike" in content["reason"]


def test_a_run_is_not_overwritten(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, out = weights(tmp_path), tmp_path / "out"
    assert run(old, pictures, out) == 0
    assert run(old, pictures, out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(old, pictures, out, "--overwrite") == 0
    assert run(old, pictures, old.parent, "--overwrite") == 2
    assert old.is_file()


def test_a_model_that_takes_keypoints_is_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = weights(tmp_path, "densenet121", keypoints=True)
    assert run(old, pictures, tmp_path / "out") == 2
    assert "takes keypoints" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rounds", "0"), "--rounds 0"),
        (("--seed", "-1"), "--seed"),
        (("--max-pictures", "0"), "pictures 0"),
    ],
)
def test_options_out_of_range(
    options: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "old.safetensors", tmp_path, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
