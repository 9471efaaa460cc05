"""The benchmarks of evaluation and re-ranking at a small size: their sides agree, and memory is counted."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reranking_scale
from benchmarks.dense_reranking import dense_rows
from benchmarks.evaluation_speed import main as evaluation_speed
from benchmarks.memory import in_fresh_process, reset_peak, resident
from training.evaluation.reranking import Reranking, reranked_rows


def test_all_sides_of_the_evaluation_agree(capsys: pytest.CaptureFixture[str]) -> None:
    shape = ["--queries", "30", "--gallery", "400", "--dimension", "16", "--repeats", "1"]
    assert evaluation_speed([*shape, "--sides", "ours", "plain", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["sides"].keys() == {"ours", "plain"}
    assert all(side["seconds"] > 0 for side in told["sides"].values())


def test_the_dense_side_gives_the_same_distances() -> None:
    query, gallery, _ = reranking_scale.draw_task(15, 200)
    sparse = np.stack(list(reranked_rows(query, gallery)))
    assert dense_rows(query, gallery, Reranking()) == pytest.approx(sparse, abs=1e-5)


def allocate(mebibytes: int) -> int:
    before = reset_peak()
    np.ones(mebibytes * 2**17)
    return resident("VmHWM") - before


def test_the_peak_is_counted_after_the_memory_is_gone() -> None:
    found = in_fresh_process(allocate, 64)
    assert 60 * 2**20 < found < 80 * 2**20


def fail() -> None:
    raise SystemExit(3)


def test_a_process_without_a_result_is_told() -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        in_fresh_process(fail)


def test_the_page_gets_table_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = {"seconds": 2.0, "cpu_seconds": 3.0, "extra_bytes": 2**24, "process_bytes": 2**28, "mAP": 0.5}
    entries = [
        {"queries": n // 10, "gallery": n, "matrix_bytes": 4 * (n + n // 10) ** 2, "sparse": side}
        for n in (1000, 2000)
    ]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reranking_scale.BEGIN}\nold\n{reranking_scale.END}\nafter\n")
    monkeypatch.setattr(reranking_scale, "PAGE", page)
    monkeypatch.setattr(reranking_scale, "PLOT", tmp_path / "plot.svg")
    reranking_scale.write_page(entries)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| 200 x 2,000 | 2.0 | 3.0 |" in text
    assert (tmp_path / "plot.svg").read_text().count("<polyline") == 3
