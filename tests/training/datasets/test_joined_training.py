"""A whole training on data sets of two layouts, and on maps that nobody wrote as files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.training.datasets.layouts import write_cityflow
from tests.training.veri_layout import make_veri
from training.launch import main as launch
from training.run.recipe import RECIPES


def train(out: Path, *options: object, recipe: str | Path = "smoke") -> dict:
    fixed = ["--recipe", recipe, "--epochs", 1, "--cpus", 1, "--threads", 1, "--out", out]
    assert launch([str(option) for option in (*options, *fixed)]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_two_data_sets_and_a_third_to_evaluate_on(veri_root: Path, own_root: Path, tmp_path: Path) -> None:
    city = write_cityflow(tmp_path / "city")
    for path in (city / "image_train").iterdir():
        Image.new("RGB", (40, 30), "navy").save(path)
    data = ["--data-root", f"cityflow:{city}", "--data-root", own_root]
    metrics = train(tmp_path / "run", *data, "--evaluate-on", veri_root)
    assert metrics["dataset"] == veri_root.name
    assert (metrics["num_queries"], metrics["num_gallery"]) == (5, 25)
    labels = json.loads((tmp_path / "run" / "labels.json").read_text())
    assert list(labels) == ["7", "241", *(str(1_000_000 + vehicle) for vehicle in range(1, 5))]


def test_a_data_set_without_test_labels_needs_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    city = write_cityflow(tmp_path / "city")
    assert launch(["--data-root", str(city), "--recipe", "smoke", "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "not public" in message
    assert "--evaluate-on" in message
    assert not (tmp_path / "run").exists()


def test_training_on_drawn_maps(tmp_path: Path) -> None:
    root = make_veri(tmp_path / "veri", train_ids=4, test_ids=2, images=3)
    recipe = tmp_path / "maps.toml"
    text = (RECIPES / "smoke.toml").read_text().replace("cache = true", 'workers = 1\npose_maps = "drawn"')
    recipe.write_text(text.replace("[model]", "[model]\nheatmaps = true\nsegments = true"))
    metrics = train(tmp_path / "run", "--data-root", root, recipe=recipe)
    assert metrics["num_queries"] == 2
    assert not list(root.glob("heatmap_*"))
