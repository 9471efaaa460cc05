"""Rankings from a file, and the baseline: the same figures from the same order, every fault named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.baseline import color_histogram, describe
from training.baseline import main as baseline
from training.datasets import read_split
from training.evaluate import main as evaluate
from zoo.labels import COLORS


@pytest.fixture
def rankings(veri_root: Path, tmp_path: Path) -> Path:
    """What a perfect copy of the baseline would write, with every second colour wrong."""
    query, gallery = read_split(veri_root, "query"), read_split(veri_root, "test")
    distances = ((describe(query, "q")[:, None].astype(float) - describe(gallery, "g")[None]) ** 2).sum(2)
    path = tmp_path / "served.jsonl"
    with path.open("w") as file:
        for i, record in enumerate(query):
            order = np.argsort(distances[i], kind="stable")
            entry = {
                "query": record.path.name,
                "color": COLORS[(COLORS.index(record.color) + i % 2) % len(COLORS)],
                "type": record.type,
                "results": [gallery[g].path.name for g in order],
            }
            file.write(json.dumps(entry) + "\n")
    return path


def run(command: Callable[[list[str]], int], argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert command([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_rankings_give_the_figures_of_the_embeddings(veri_root: Path, rankings: Path, capsys) -> None:
    from_file = run(evaluate, ["--data-root", str(veri_root), "--rankings", str(rankings)], capsys)
    from_embeddings = run(baseline, ["--data-root", str(veri_root)], capsys)
    for key in ("mAP", "rank1", "rank5", "num_queries", "num_gallery"):
        assert from_file[key] == pytest.approx(from_embeddings[key], abs=1e-12)
    assert (from_file["color_accuracy"], from_file["type_accuracy"]) == (3 / 5, 1.0)
    assert from_embeddings["color_accuracy"] is None


def test_the_table(veri_root: Path, rankings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(["--data-root", str(veri_root), "--rankings", str(rankings)]) == 0
    table = capsys.readouterr().out
    for word in (
        "mAP",
        "Rank-1",
        "Rank-5",
        "colour",
        "type",
        "60.00",
        "100.00",
        "5 queries, 25 gallery images",
    ):
        assert word in table


def first(entries: list[dict]) -> dict:
    return entries[0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda e: e.pop(), "4 of the 5 queries are ranked, missing 0013_c001"),
        (lambda e: e.append(e[0]), ":6: '0009_c001_00000100_0.jpg' is ranked a second time"),
        (
            lambda e: first(e)["results"].pop(),
            ":1: 24 of the 25 gallery images are ranked; search with --k 0",
        ),
        (
            lambda e: first(e)["results"].append(e[0]["results"][0]),
            ":1: 1 gallery images are ranked more than once",
        ),
        (
            lambda e: first(e)["results"].append("x.jpg"),
            ":1: 1 results are not in image_test (first 'x.jpg')",
        ),
        (lambda e: first(e).update(query="x.jpg"), ":1: 'x.jpg' is not a query of this data set"),
        (lambda e: first(e).update(color="pink"), ":1: color 'pink' is not one of yellow"),
        (lambda e: first(e).update(results="all"), ':1: "results" must be a list'),
        (lambda e: first(e).pop("query"), ':1: an object with "query"'),
    ],
)
def test_faulty_rankings_are_refused(veri_root: Path, rankings: Path, capsys, fault, message: str) -> None:
    entries = [json.loads(line) for line in rankings.read_text().splitlines()]
    fault(entries)
    rankings.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert evaluate(["--data-root", str(veri_root), "--rankings", str(rankings)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_rankings_file_cut_off_or_missing(veri_root: Path, rankings: Path, capsys) -> None:
    rankings.write_bytes(rankings.read_bytes()[:-20])
    assert evaluate(["--data-root", str(veri_root), "--rankings", str(rankings)]) == 2
    assert ":5: broken JSON" in capsys.readouterr().err
    assert evaluate(["--data-root", str(veri_root), "--rankings", "none.jsonl"]) == 2
    assert "none.jsonl: no rankings" in capsys.readouterr().err


def test_weights_that_are_not_there(veri_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(["--data-root", str(veri_root), "--weights", "nothing.safetensors"]) == 2
    assert "nothing.safetensors: no weights there" in capsys.readouterr().err


def test_the_histogram_tells_colours_and_forgets_places() -> None:
    red, blue = (np.full((20, 20, 3), value, np.uint8) for value in ((200, 10, 10), (10, 10, 200)))
    left, right = np.hstack([red, blue]), np.hstack([blue, red])
    assert color_histogram(left) == pytest.approx(color_histogram(right), abs=0.1)
    assert np.linalg.norm(color_histogram(red) - color_histogram(blue)) == pytest.approx(2**0.5)
    assert np.linalg.norm(color_histogram(left)) == pytest.approx(1.0)


def test_the_baseline_names_a_bad_image(own_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((own_root / "image_test").iterdir())
    path.write_bytes(b"not an image")
    assert baseline(["--data-root", str(own_root)]) == 2
    assert str(path) in capsys.readouterr().err
