"""The study's table: means, differences seed by seed, and where they are put."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rank_study import inputs
from benchmarks.rank_study.__main__ import (
    PAGE,
    check_start,
    filled,
    main,
    parse_arguments,
    pending,
    with_inputs,
)
from benchmarks.rank_study.arms import Start, ours, passes, switched
from benchmarks.rank_study.plot import svg
from benchmarks.rank_study.report import fill, interval, read, table
from benchmarks.rank_study.run import Run, recipe_of
from training.datasets import read_split
from training.run.recipe import load_recipe


def row(arm: str, seed: int, precision: list[float]) -> dict[str, Any]:
    """A run on two queries of each test vehicle."""
    return {
        "arm": arm,
        "start": "pretrained",
        "seed": seed,
        "mAP": 100 * sum(precision) / len(precision),
        "rank1": 50.0,
        "train_accuracy": 0.5,
        "steps": 96,
        "global_batch": 128,
        "lr": 3e-4,
        "ap_of_vehicles": {str(vehicle): [2 * value, 2] for vehicle, value in enumerate(precision)},
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        row("one@1", 0, [0.5, 0.7]),
        row("one@1", 1, [0.6, 0.8]),
        row("ours@8", 1, [0.7, 0.9]),
        row("ours@8", 0, [0.5, 0.8]),
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in rows))
    return path


def test_table(results: Path) -> None:
    best, base = table(read(results)["pretrained"]).splitlines()[2:]
    cells = [cell.strip() for cell in best.split("|")[1:-1]]
    assert cells[:6] == ["`ours`", "8", "128", "96", "0.0003", "2"]
    # 65 and 80 against 60 and 70: means 72.5 and 65, standard deviation 15 / sqrt(2).
    assert cells[6] == "72.5 ± 10.6"
    assert cells[9] == "+7.5 (+5.0, +10.0)"
    # Vehicle 0 gains 5 points on the mean of the seeds, vehicle 1 gains 10.
    assert cells[10] == "+5.0 .. +10.0"
    assert "| `one` | 1 |" in base


def test_the_interval_holds_no_difference_where_there_is_none() -> None:
    same = [row("a", 0, [0.1, 0.9, 0.4])]
    assert interval(same, same) == (0.0, 0.0)


def test_fill_and_plot(results: Path) -> None:
    found = read(results)
    page = (
        "a\n<!-- pretrained -->\nold\n<!-- end of pretrained -->\nb\n<!-- random --><!-- end of random -->\nc"
    )
    filled = fill(page, found)
    assert table(found["pretrained"]) in filled
    assert "old" not in filled
    assert fill(filled, found) == filled
    with pytest.raises(ValueError, match="no marks"):
        fill("nothing", found)
    assert svg(found).count("<circle") == 4


def test_the_page_shows_the_results_that_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run python -m benchmarks.rank_study --table"


def test_a_study_goes_on_where_it_was_broken_off(results: Path) -> None:
    arguments = parse_arguments(["--results", str(results), "--data", "d", "--weights", "w"])
    left = [run.key for run in pending(arguments)]
    assert ("one@1", "pretrained", 0) not in left
    assert ("one@1", "pretrained", 2) in left
    everything = 3 * sum(len(arms) for start in ("pretrained", "random") for arms in passes(start))
    assert len(left) == len(set(left)) == everything - 4


def test_rows_of_two_pretrained_starts_are_not_mixed(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "start.safetensors"
    weights.write_bytes(b"others")
    command = ["--results", str(results), "--data", str(tmp_path), "--weights", str(weights)]
    assert main(command) != 0
    assert "has rows from another pretrained start than --weights" in capsys.readouterr().err
    arguments = parse_arguments(command)
    left = pending(arguments)
    rows = [{**json.loads(line), "start_hash": left[0].start_hash} for line in results.open()]
    results.write_text("".join(json.dumps(line) + "\n" for line in rows))
    check_start(left, results)


@pytest.mark.parametrize("starts", ["pretrained", "random"])
def test_a_missing_input_is_named(tmp_path: Path, starts: str, capsys: pytest.CaptureFixture[str]) -> None:
    results = str(tmp_path / "results.jsonl")
    argv = ["--starts", starts, "--results", results]
    assert main([*argv, "--data", str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'}: no such folder" in capsys.readouterr().err
    if starts == "pretrained":
        assert main([*argv, "--data", str(tmp_path), "--weights", "none.safetensors"]) == 2
        assert "--weights none.safetensors: no such file" in capsys.readouterr().err


def test_inputs_that_none_was_named_for_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set by its command, and a start that is complete is taken as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "_VEHICLES", ("--train-ids", "4", "--test-ids", "2"))
    monkeypatch.setattr(inputs, "_IMAGES", ("--images-per-id", "2", "--size", "32"))
    inputs.START.mkdir(parents=True)
    (inputs.START / "metrics.json").touch()
    left = with_inputs(pending(parse_arguments(["--results", "none.jsonl"])))
    assert {run.data for run in left} == {inputs.DATA}
    assert {run.weights for run in left} == {inputs.WEIGHTS}
    assert len(read_split(inputs.DATA, "train")) == 2 * 4


WORKER_OF_A_POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from benchmarks.rank_study import worker

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, worker.start) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(WORKER_OF_A_POOL)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.parametrize("start", ["pretrained", "random"])
def test_ours_is_what_several_ranks_do_by_default(start: Start) -> None:
    arm = ours(8, start)
    followed = recipe_of(Run(arm, start, 0, Path("d"), Path("w")))
    default = load_recipe("pamtri", init=followed.init)
    assert (arm.dealing, arm.mining, arm.sync_bn) == (
        default.ranks.dealing,
        default.ranks.mining,
        default.ranks.sync_bn,
    )
    product = default.over_ranks(8).optimizer
    assert followed.optimizer.lr == pytest.approx(product.lr)
    # Warm-up is a sixth of these short trainings.
    assert followed.optimizer.warmup_epochs == followed.epochs / 6
    assert followed.optimizer.warmup_epochs == min(product.warmup_epochs, followed.epochs / 6)


@pytest.mark.parametrize("start", ["pretrained", "random"])
def test_every_switch_changes_one_ingredient(start: Start) -> None:
    changed = switched(8, start)
    assert len(set(changed.values())) == len(changed)
    for name, arm in changed.items():
        differing = [
            key for key in vars(arm) if key != "name" and getattr(arm, key) != getattr(ours(8, start), key)
        ]
        assert len(differing) == 1 + name.count(", ")
