"""Training interrupted by kill -9 and continued: bit for bit the weights of an uninterrupted run."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.training.run.killed_run import kill_within
from tests.training.veri_layout import make_veri
from training.data.transforms import Augmentation
from training.launch import main as launch
from training.run.checkpoint import (
    LAST,
    PREVIOUS,
    deserialise,
    read_checkpoint,
    serialise,
    write_checkpoint,
)
from training.run.recipe import Recipe
from training.run.resume import run_facts
from training.run.run_folder import FIRST_FILES

# The network whose processes start fastest: it needs no torchvision.
RECIPE = (
    'size = [32, 32]\nepochs = 2\nnum_identities = 2\nnum_instances = 2\ninit = "none"\ncache = true\n'
    'ema_decay = 0.9\n[model]\narch = "efficientnet_lite0"\nembedding_dim = 16\nattribute_dim = 8\n'
    '[optimizer]\nschedule = "cosine"\n'
)
SPEEDS = {"fps", "seconds", "data_wait"}


@pytest.fixture(scope="module")
def argv(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What all runs here have in common."""
    folder = tmp_path_factory.mktemp("resume")
    root = make_veri(folder / "data", train_ids=8, test_ids=2, images=6)
    (folder / "tiny.toml").write_text(RECIPE)
    return ["--data-root", str(root), "--recipe", str(folder / "tiny.toml"), "--threads", "1"]


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "two ranks"])
def broken_off(
    request: pytest.FixtureRequest, argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], Path, Path]:
    """A whole run's folder, and that of one whose processes were all killed within the first epoch."""
    folder = tmp_path_factory.mktemp("runs")
    own = [*argv, "--cpus", str(request.param)]
    assert launch([*own, "--out", str(folder / "whole")]) == 0
    killed = folder / "killed"
    kill_within(own, killed)
    return own, folder / "whole", killed


def position(run: Path) -> dict:
    payload = read_checkpoint(run)
    assert payload is not None
    return deserialise(payload)["position"]


def tensors(run: Path, name: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / f"{name}.safetensors")


def lines(run: Path) -> list[dict]:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key not in SPEEDS} for entry in entries]


def test_resumed_weights_are_those_of_a_whole_run(
    broken_off: tuple[list[str], Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    own, whole, killed = broken_off
    there = position(killed)
    assert there["epoch"] == 0
    assert there["sums"]["steps"] >= 2
    # As a kill between the epoch's line and its checkpoint leaves it.
    (killed / "metrics.jsonl").write_text((whole / "metrics.jsonl").read_text().splitlines()[0] + "\n")
    assert launch([*own, "--out", str(killed), "--resume"]) == 0
    assert f"resumed: 0 epochs and {there['sums']['steps']} of" in capfd.readouterr().err
    for name in ("last", "best"):
        expected, found = tensors(whole, name), tensors(killed, name)
        assert expected.keys() == found.keys()
        assert not any(key.startswith("module.") for key in found)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert lines(killed) == lines(whole)
    assert [entry["epoch"] for entry in lines(killed)] == [1, 2]


@pytest.fixture(scope="module")
def stopped(argv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one rank with both checkpoints, as one that was killed before its end leaves it."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert launch([*argv, "--cpus", "1", "--out", str(out)]) == 0
    (out / "metrics.json").unlink()
    return out


def copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to))


def flip(path: Path) -> None:
    """Change one bit in the midst of the tensors."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(
    argv: list[str], stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(stopped, tmp_path / "run")
    flip(run / LAST)
    assert launch([*argv, "--cpus", "1", "--out", str(run), "--resume"]) == 0
    errors = capsys.readouterr().err
    assert f"warning: {run / LAST}: refused, it is damaged" in errors
    assert f"continuing from {run / PREVIOUS}" in errors
    assert lines(run) == lines(stopped)
    expected, found = tensors(stopped, "last"), tensors(run, "last")
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:1000])])
def test_two_damaged_checkpoints(argv, stopped: Path, tmp_path: Path, capsys, damage) -> None:
    run = copy(stopped, tmp_path / "run")
    damage(run / LAST)
    damage(run / PREVIOUS)
    assert launch([*argv, "--cpus", "1", "--out", str(run), "--resume"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {run}: no checkpoint there can be used")
    assert "--overwrite" in last


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "5"], "--seed = 0, and now it is 5"),
        (["--epochs", "3"], "recipe: epochs = 2, and now it is 3"),
        (["--cpus", "2"], "number of ranks = 1, and now it is 2"),
    ],
)
def test_another_run_is_not_gone_on_with(
    argv, stopped: Path, tmp_path: Path, capfd, change: list[str], message: str
) -> None:
    run = copy(stopped, tmp_path / "run")
    before = (run / LAST).read_bytes()
    assert launch([*argv, "--cpus", "1", *change, "--out", str(run), "--resume"]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert (run / LAST).read_bytes() == before


def test_other_data_are_noticed(argv, stopped: Path, tmp_path: Path, own_root: Path, capsys) -> None:
    run = copy(stopped, tmp_path / "run")
    others = ["--data-root", str(own_root), *argv[2:]]
    assert launch([*others, "--cpus", "1", "--out", str(run), "--resume"]) == 2
    assert "data = " in capsys.readouterr().err.splitlines()[-1]


def test_a_picture_replaced_under_its_name_is_noticed(
    argv, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, root = copy(stopped, tmp_path / "run"), copy(Path(argv[1]), tmp_path / "data")
    elsewhere = ["--data-root", str(root), *argv[2:], "--cpus", "1", "--out", str(run), "--resume"]
    first, other, *_ = sorted((root / "image_train").iterdir())
    whole = first.read_bytes()
    first.write_bytes(other.read_bytes())
    assert launch(elsewhere) == 2
    assert "training pictures = " in capsys.readouterr().err.splitlines()[-1]
    # The same pictures at another place, with other dates, are the same.
    first.write_bytes(whole)
    assert launch(elsewhere) == 0


def test_runs_from_before_pictures_were_looked_at_go_on(argv, stopped: Path, tmp_path: Path) -> None:
    run = copy(stopped, tmp_path / "run")
    payload = read_checkpoint(run)
    assert payload is not None
    content = deserialise(payload)
    for name in ("training pictures", "evaluation pictures"):
        del content["facts"][name]
    write_checkpoint(run, serialise(content))
    assert launch([*argv, "--cpus", "1", "--out", str(run), "--resume"]) == 0


def test_what_older_runs_did_not_know_counts_only_where_it_is_asked_for() -> None:
    plain, noisy = (
        run_facts(Recipe(augmentation=Augmentation(noise=share)), 0, 1, [], []) for share in (0.0, 0.2)
    )
    assert not plain.keys() & {"recipe: antialias", "recipe: augmentation.noise"}
    assert plain["recipe: augmentation.flip"] == 0.5
    assert noisy == plain | {"recipe: augmentation.noise": 0.2}


def test_without_out_the_newest_unfinished_run_is_gone_on_with(
    argv, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    resume = [*argv, "--cpus", "1", "--resume"]
    assert launch(resume) == 2
    assert "no unfinished run of tiny" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    for name in ("tiny-002", "tiny-010", "tiny-011"):
        copy(stopped, tmp_path / "runs" / name)
    (tmp_path / "runs" / "tiny-011" / "metrics.json").write_text("{}")
    assert launch(resume) == 0
    assert "run runs/tiny-010" in capsys.readouterr().err
    assert (tmp_path / "runs" / "tiny-010" / "metrics.json").exists()
    assert launch([*resume, "--out", "runs/tiny-010"]) == 2
    assert "is complete" in capsys.readouterr().err


def test_a_run_killed_before_its_first_checkpoint_starts_over(
    argv, stopped: Path, tmp_path: Path, capsys
) -> None:
    run = copy(stopped, tmp_path / "run")
    shutil.rmtree(run / "tensorboard")
    for path in run.iterdir():
        if path.name not in FIRST_FILES:
            path.unlink()
    (run / ".last.ckpt.abc.part").write_bytes(b"half")
    assert launch([*argv, "--cpus", "1", "--out", str(run), "--resume"]) == 0
    assert "resumed: 0 epochs and 0 of" in capsys.readouterr().err
    assert lines(run) == lines(stopped)
    assert not (run / ".last.ckpt.abc.part").exists()
