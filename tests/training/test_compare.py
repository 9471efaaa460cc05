"""Comparing evaluations: what is told apart, what is refused, and the files in between."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.compare import compare
from training.compare import main as compare_runs
from training.datasets.records import Record
from training.evaluation.metrics import rank_metrics
from training.evaluation.protocol import Evaluation
from training.evaluation.query_results import QueryResults, read_query_results, write_query_results


def results(values: np.ndarray, vehicles: np.ndarray, colors: np.ndarray | None = None) -> QueryResults:
    """Evaluations that differ in average precision alone."""
    count = len(values)
    nothing = np.full(count, np.nan)
    return QueryResults(
        "gallery",
        10,
        [f"{index:05d}.jpg" for index in range(count)],
        vehicles,
        {
            "average_precision": values,
            "inverse_negative_penalty": values / 2,
            "first_match": np.where(values > 0.5, 0.0, 7.0),
            "color_right": nothing if colors is None else colors,
            "type_right": nothing,
        },
    )


def test_the_figures_are_the_means() -> None:
    values = np.array([0.2, 0.6, np.nan, 1.0])
    found = compare([results(values, np.array([1, 1, 2, 3]))], draws=200)
    assert found["mAP"].figures[0].value == pytest.approx(0.6)
    assert found["mINP"].figures[0].value == pytest.approx(0.3)
    assert found["rank5"].figures[0].value == pytest.approx(2 / 4)
    assert found["mAP"].differences == []
    assert "color" not in found


def test_the_interval_is_that_of_drawn_vehicles() -> None:
    """Queries of a vehicle are alike: the spread of the mean is that of 40 vehicles, not of 400 queries."""
    rng = np.random.default_rng(0)
    of_vehicle = rng.normal(0.5, 0.1, 40)
    values = np.repeat(of_vehicle, 10)
    estimate = compare([results(values, np.repeat(np.arange(40), 10))])["mAP"].figures[0]
    expected = 2 * 1.96 * of_vehicle.std() / 40**0.5
    assert estimate.high - estimate.low == pytest.approx(expected, rel=0.1)
    assert estimate.low < estimate.value < estimate.high


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        values = np.random.default_rng(seed).normal(0.5, 0.2, (60, 1)).repeat(3, 1).ravel()
        estimate = compare([results(values, np.repeat(np.arange(60), 3))], draws=300)["mAP"].figures[0]
        held += estimate.low <= 0.5 <= estimate.high
    assert 0.89 <= held / 100 <= 0.99


def test_pairing_shows_a_small_steady_gain() -> None:
    rng = np.random.default_rng(1)
    values, vehicles = rng.uniform(0, 0.9, 300), np.arange(300) // 3
    gain, noise = values + 0.01, rng.permutation(values)
    found = compare([results(v, vehicles) for v in (values, gain, noise)])["mAP"]
    steady, chance = found.differences
    assert steady.value == pytest.approx(0.01)
    assert steady.excludes_zero
    assert found.figures[0].high > found.figures[1].low, "their own intervals overlap"
    assert chance.value == pytest.approx(0.0)
    assert not chance.excludes_zero


def test_the_same_seed_gives_the_same_intervals() -> None:
    values, vehicles = np.random.default_rng(2).uniform(size=50), np.arange(50) // 2
    first, again, other = (
        compare([results(values, vehicles)], draws=300, seed=seed)["mAP"].figures[0] for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Two runs of the same queries, the second better, and their files."""
    query = [
        Record(Path(f"q/{vehicle:04d}_c001_00000001_{i}.jpg"), vehicle, 1)
        for vehicle in range(40)
        for i in (0, 1)
    ]
    gallery = [Record(Path(f"g/{index}.jpg"), index, 2) for index in range(40)]
    rng = np.random.default_rng(0)
    for run, worst in (("a", 9), ("b", 3)):
        ranking = rank_metrics(
            [np.sort(rng.choice(worst, 2, replace=False)) for _ in query[1:]] + [np.empty(0, int)]
        )
        right = rng.integers(0, 2, len(query)).astype(float)
        evaluation = Evaluation(ranking, right, np.full(len(query), np.nan), len(gallery))
        write_query_results(tmp_path / run / "queries.jsonl", evaluation, query, gallery)
    return tmp_path


def test_what_was_written_is_read(saved: Path) -> None:
    found = read_query_results(saved / "a")
    assert (len(found.names), found.num_gallery, len(np.unique(found.vehicles))) == (80, 40, 40)
    last = found.names.index("0039_c001_00000001_1.jpg")
    assert np.isnan(found.values["average_precision"][last])
    assert np.isnan(found.values["first_match"][last])
    assert np.isnan(found.values["type_right"]).all()
    assert set(found.values["color_right"]) == {0.0, 1.0}


def test_the_command_tells_a_gain(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(saved / "a"), str(saved / "b" / "queries.jsonl")]
    assert compare_runs([*runs, "--ranks", "1", "2", "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["mAP", "mINP", "Rank-1", "Rank-2", "colour"]
    assert out[3].startswith(f"{runs[1]} - {runs[0]}")
    assert "80 queries of 40 vehicles, 40 gallery images" in out
    told = json.loads(out[-1])
    difference = told["differences"][runs[1]]["mAP"]
    assert difference["excludes_zero"]
    assert difference["low"] < difference["value"] < difference["high"]
    means = [told["figures"][run]["mAP"]["value"] for run in runs]
    assert difference["value"] == pytest.approx(means[1] - means[0])


def test_few_vehicles_are_warned_of(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (saved / "a" / "queries.jsonl").read_text().splitlines()
    (saved / "few.jsonl").write_text("\n".join(lines[:11]))
    assert compare_runs([str(saved / "few.jsonl")]) == 0
    assert "too narrow" in capsys.readouterr().err


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert compare_runs(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_evaluations_that_cannot_be_compared(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = str(saved / "a")
    lines = (saved / "b" / "queries.jsonl").read_text().splitlines()
    other = saved / "other.jsonl"
    other.write_text("\n".join(lines[:-1]))
    assert "asks other queries" in (message := refused([first, str(other)], capsys))
    assert "79 in common of 79 and 80" in message
    head = {**json.loads(lines[0]), "gallery": "0" * 64, "num_gallery": 41}
    other.write_text("\n".join([json.dumps(head), *lines[1:]]))
    assert "searches another gallery" in refused([first, str(other)], capsys)
    assert "named twice" in refused([first, first], capsys)
    assert "--draws" in refused([first, "--draws", "1"], capsys)


@pytest.mark.parametrize("text", ["", "{}", '{"gallery": "x", "num_gallery": 1}\n{"query"', "[]\n[]", "\x00"])
def test_a_file_that_is_not_whole(saved: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (saved / "broken.jsonl").write_text(text)
    assert "not the results of queries" in refused([str(saved / "broken.jsonl")], capsys)


def test_a_folder_without_results(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--save-queries" in refused([str(saved)], capsys)
