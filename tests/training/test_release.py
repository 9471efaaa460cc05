"""Weights as they are shipped: smaller, without the identity classifier, measured as written."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from training.launch import main as launch
from training.release import main as release
from zoo.loading import load_model


@pytest.fixture(scope="module")
def run(veri_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "smoke"
    assert (
        launch(["--data-root", str(veri_root), "--recipe", "smoke", "--epochs", "1", "--out", str(out)]) == 0
    )
    return out / "best.safetensors"


def arguments(run: Path, veri_root: Path, out: Path, name: str = "densenet121.test") -> list[str]:
    return ["--weights", str(run), "--name", name, "--out", str(out), "--data-root", str(veri_root),
            "--licence", "Apache-2.0", "--notes", "for tests", "--json"]  # fmt: skip


def test_release(run: Path, veri_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release(arguments(run, veri_root, tmp_path / "shipped")) == 0
    printed = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    path = tmp_path / "shipped" / "densenet121.test.safetensors"
    state = safetensors.torch.load_file(path)
    assert not any(key.startswith("classifier_vid") for key in state)
    assert state["fc_vid.weight"].dtype == torch.float16
    model, card = load_model(path)
    assert model.options["num_ids"] == 0
    assert (card.name, card.licence, card.notes) == ("densenet121.test", "Apache-2.0", "for tests")
    assert card.recipe == "smoke"
    assert card.command.startswith("python -m training.launch")
    (measured,) = card.metrics
    assert measured["dataset"] == veri_root.name
    assert 0.0 < measured["mAP"] <= 1.0
    assert printed["metrics"][0]["mAP"] == measured["mAP"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["densenet121.test.json", path.name]


def test_a_name_without_a_tag_is_refused(
    run: Path, veri_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release(arguments(run, veri_root, tmp_path, name="densenet121")) == 2
    assert "arch.tag" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--weights", "best.safetensors"], "give --name, --data-root, --licence too"),
        (["--device", "cpu", "--name", "densenet121.veri"], "densenet121.veri is not trained anew; give "),
        (["--device", "cpu", "--data-root", "data/veri"], "leave --data-root out"),
        (["--device", "cpu", "--minutes", "0"], "--minutes must be above 0"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release([*options, "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_shipped_model_is_trained_anew(tmp_path: Path) -> None:
    options = ["--train-ids", "32", "--images-per-id", "4", "--size", "64", "--minutes", "0.1"]
    name = "osnet_ain.synthetic"
    assert release(["--device", "cpu", "--name", name, *options, "--out", str(tmp_path)]) == 0
    card = load_model(tmp_path / f"{name}.safetensors")[1]
    assert (card.name, card.recipe, card.input_size) == (name, "small", (64, 64))
    assert card.temperature["color"] != 1.0
    assert card.sameness
    assert card.metrics[0]["dataset"] == "synthetic"
