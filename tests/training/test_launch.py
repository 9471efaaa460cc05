"""Real training runs: what they learn, write, repeat and refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from tests.training.veri_layout import make_maps, make_veri
from training.evaluate import main as evaluate
from training.evaluation.query_results import read_query_results
from training.launch import main as launch
from training.run.recipe import RECIPES
from zoo.loading import load_model

FIGURES = set(
    [
        "mAP",
        "mINP",
        "rank1",
        "rank5",
        "rank10",
        "color_accuracy",
        "type_accuracy",
        "num_queries",
        "num_gallery",
    ]
)


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough vehicles that chance finds few."""
    return make_veri(tmp_path_factory.mktemp("data") / "stripes", train_ids=16, test_ids=12, images=8)


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke recipe's run, some epochs longer."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    assert launch([*arguments(stripes, out), "--epochs", "5"]) == 0
    return out


def arguments(root: Path, out: Path) -> list[str]:
    return ["--data-root", str(root), "--recipe", "smoke", "--cpus", "1", "--threads", "1", "--out", str(out)]


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_it_learns(run: Path) -> None:
    epochs = lines(run)
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1]["loss"] < 0.8 * epochs[0]["loss"]
    # A random order of 84 images, 7 of them right, has an mAP of about 0.12.
    assert json.loads((run / "metrics.json").read_text())["mAP"] > 0.35


def test_what_a_run_writes(run: Path, stripes: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == [
        "best.json",
        "best.safetensors",
        "environment.json",
        "labels.json",
        "last.ckpt",
        "last.json",
        "last.safetensors",
        "metrics.json",
        "metrics.jsonl",
        "previous.ckpt",
        "queries.jsonl",
        "recipe.json",
        "tensorboard",
    ]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics.keys() >= FIGURES | {"fps", "epochs", "device", "seconds", "amp", "best_epoch"}
    assert metrics["mAP"] == max(entry["mAP"] for entry in lines(run))
    told = read_query_results(run).values["average_precision"]
    assert np.nanmean(told) == pytest.approx(metrics["mAP"], abs=1e-12)
    assert metrics["fps"] > 0
    assert json.loads((run / "labels.json").read_text()) == {str(n): n - 1 for n in range(1, 17)}
    model, card = load_model(run / "best.safetensors")
    assert not model.training
    assert (card.name, card.recipe, card.input_size) == ("densenet121.smoke", "smoke", (32, 32))
    assert card.command.startswith(f"python -m training.launch --data-root {stripes}")
    assert card.metrics[0]["mAP"] == metrics["mAP"]
    assert card.metrics[0]["dataset"] == "stripes"
    assert card.metrics[0]["device"].startswith("CPU")


def test_evaluate_finds_the_same_figures(
    run: Path, stripes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = str(run / "best.safetensors")
    assert evaluate(["--data-root", str(stripes), "--weights", weights, "--cpus", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    attributes = figures.pop("attributes")
    expected = json.loads((run / "metrics.json").read_text())
    assert attributes["color"]["accuracy"] == pytest.approx(expected["color_accuracy"], abs=1e-9)
    # Training judges the queries alone.
    figures = {key: value for key, value in figures.items() if not key.endswith("_with_gallery")}
    assert figures == pytest.approx({key: expected[key] for key in figures}, abs=1e-9)


def test_same_seed_same_weights(own_root: Path, tmp_path: Path) -> None:
    def weights(out: str, seed: str) -> dict[str, np.ndarray]:
        argv = [*arguments(own_root, tmp_path / out), "--epochs", "1", "--seed", seed]
        assert launch(argv) == 0
        state = safetensors.torch.load_file(tmp_path / out / "last.safetensors")
        return {key: value.numpy() for key, value in state.items()}

    first, again, other = weights("a", "1"), weights("b", "1"), weights("c", "2")
    assert all((first[key] == again[key]).all() for key in first)
    assert any((first[key] != other[key]).any() for key in first)


def test_every_option_of_a_recipe_at_once(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "query", "test"):
        make_maps(own_root, split, "heatmap", 36)
        make_maps(own_root, split, "segment", 13)
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        'size = [40, 32]\nepochs = 3\nnum_identities = 3\nnum_instances = 2\ninit = "none"\namp = "bf16"\n'
        "channels_last = false\nema_decay = 0.9\nprogressive = [[1, 32]]\neval_every = 2\nworkers = 1\n"
        'sampler = "even"\nteacher = "osnet_ain.synthetic"\n'
        "[model]\nembedding_dim = 16\nattribute_dim = 8\nkeypoints = true\nheatmaps = true\nsegments = true\n"
        '[optimizer]\nname = "sgd"\nclip_norm = 1.0\nwarmup_epochs = 1\n'
        "[loss]\nsoft_margin = true\ntriplet_start = 1\nlabel_smoothing = 0.1\nteacher = 1.0\n"
        "[augmentation]\nerasing = 0.5\njitter = 0.2\ntone = 0.5\nsoftness = 0.5\nnoise = 0.5\nfading = 0.5\n"
    )
    out = tmp_path / "run"
    argv = ["--data-root", str(own_root), "--recipe", str(recipe), "--cpus", "1", "--out", str(out), "--json"]
    assert launch([*argv, "--profile", "1"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ["mAP" in entry for entry in lines(out)] == [False, True, True]
    assert ["loss_triplet" in entry for entry in lines(out)] == [False, True, True]
    assert printed["amp"] == "bf16"
    (trace,) = (out / "profile").iterdir()
    operators = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert {"ProfilerStep#2", "aten::convolution_backward"} <= operators
    assert "ProfilerStep#3" not in operators
    _, card = load_model(out / "best.safetensors")
    assert (card.input_size, card.outputs["embedding"]) == ((40, 32), 16)
    assert list(card.pose_inputs) == ["keypoints", "heatmaps", "segments"]
    assert evaluate(["--data-root", str(own_root), "--weights", str(out / "best.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["mAP"] == pytest.approx(
        printed["mAP"], abs=1e-6
    )


def test_starting_from_weights(run: Path, stripes: Path, own_root: Path, tmp_path: Path, capsys) -> None:
    weights = ["--init", str(run / "last.safetensors"), "--epochs", "1"]
    assert launch([*arguments(stripes, tmp_path / "same"), *weights]) == 0
    assert "identity classifier loaded" in capsys.readouterr().err
    assert lines(tmp_path / "same")[0]["loss"] < 0.8 * lines(run)[0]["loss"]
    assert launch([*arguments(own_root, tmp_path / "others"), *weights]) == 0
    assert "identity classifier starts afresh" in capsys.readouterr().err


def fails(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with one clear line; return that line."""
    assert launch(argv) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_a_run_is_not_overwritten_unasked(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "metrics.jsonl").write_text("{}\n")
    (out / "notes.txt").write_text("mine")
    argv = [*arguments(own_root, out), "--epochs", "1"]
    assert "--overwrite" in fails(argv, capsys)
    assert (out / "metrics.jsonl").read_text() == "{}\n"
    assert launch([*argv, "--overwrite"]) == 0
    assert len(lines(out)) == 1
    assert (out / "notes.txt").read_text() == "mine"


def test_runs_are_numbered_and_a_run_that_cannot_start_leaves_none(
    own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["--data-root", str(own_root), "--recipe", "smoke", "--cpus", "1", "--epochs", "1"]
    for _ in range(2):
        assert launch(argv) == 0
    assert "nowhere" in fails([*argv, "--data-root", str(tmp_path / "nowhere")], capsys)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["smoke-001", "smoke-002"]


def test_a_loss_that_is_not_finite_ends_the_run(stripes: Path, tmp_path: Path, capsys) -> None:
    recipe = tmp_path / "wild.toml"
    recipe.write_text((RECIPES / "smoke.toml").read_text().replace("lr = 1e-3", "lr = 1e30"))
    argv = [*arguments(stripes, tmp_path / "run"), "--recipe", str(recipe)]
    message = fails(argv, capsys)
    assert "steps in a row were skipped" in message
    assert "lower [optimizer] lr" in message
    assert not (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.parametrize("split", ["train", "query", "test"])
def test_a_damaged_image_is_named_before_the_first_epoch(
    own_root: Path, tmp_path: Path, capsys, split: str
) -> None:
    path = sorted((own_root / f"image_{split}").iterdir())[-1]
    path.write_bytes(b"")
    message = fails(arguments(own_root, tmp_path / "run"), capsys)
    assert str(path) in message
    assert not (tmp_path / "run" / "last.safetensors").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--recipe", "smok"], "no such recipe"),
        (["--epochs", "0"], "epochs = 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--threads", "0"], "--threads 0"),
        (["--cpus", "0"], "--cpus 0"),
        (["--init", "no.safetensors"], "no.safetensors: no weights there"),
    ],
)
def test_faults_of_the_command_line(
    own_root: Path, tmp_path: Path, capsys, extra: list[str], message: str
) -> None:
    assert message in fails([*arguments(own_root, tmp_path / "run"), *extra], capsys)
    assert not (tmp_path / "run").exists()


def test_a_run_that_learnt_nothing_does_not_stand_in_the_way(own_root: Path, tmp_path: Path, capsys) -> None:
    path = sorted((own_root / "image_train").iterdir())[0]
    whole = path.read_bytes()
    path.write_bytes(b"")
    argv = [*arguments(own_root, tmp_path / "run"), "--epochs", "1"]
    assert str(path) in fails(argv, capsys)
    path.write_bytes(whole)
    assert launch(argv) == 0
    assert "--overwrite" in fails(argv, capsys)
