"""The benchmark runs every row for real, at the smallest scale; what it measures is judged by people."""

import json
import time
from pathlib import Path

import pytest

from serving.benchmark import BEGIN, END, main
from serving.bundle import Bundle
from serving.calibration import Inputs
from serving.export import Reduction, export_bundle
from serving.timing import in_turns, latencies
from zoo.weights import save_weights

from .conftest import make_model


def test_rates_are_medians_and_sides_take_turns() -> None:
    order: list[str] = []

    def work(name: str, seconds: float, count: int) -> int:
        order.append(name)
        time.sleep(seconds)
        return count

    rates = in_turns({"a": lambda: work("a", 0.01, 1), "b": lambda: work("b", 0.01, 10)}, 0.0)
    assert order == ["a", "b"] * 4
    assert rates["b"] / rates["a"] == pytest.approx(10, rel=0.5)
    median, worst = latencies(lambda: work("c", 0.002, 1), 0.0)
    assert 2 <= median <= worst


def test_every_row_is_measured_and_written(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, card = make_model()
    save_weights(model, card, tmp_path / "w.safetensors")
    calibration: Inputs | None = None
    half = export_bundle(model, card, tmp_path / "half", reduction=Reduction("fp16", calibration))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    command = ["--bundle", str(bundle.path), "--against", str(half.path), "--triton", "--threads", "1"]
    command += [
        "--weights",
        str(tmp_path / "w.safetensors"),
        "--seconds",
        "0.1",
        "--write",
        str(page),
        "--json",
    ]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    for row, side, other in (
        ("eager", "direct", "eager"),
        ("precision_ratio", "fp16", "fp32"),
        ("triton", "served", "direct"),
    ):
        assert found[row]["ratio"] == pytest.approx(found[row][side] / found[row][other])
    assert set(found["batches"]) == {"1", "2", "4", "8", "16", "32"}
    assert 0 < found["single"]["decode_ms"] < found["single"]["p50_ms"] <= found["single"]["p99_ms"]
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| triton |" in text


def test_a_page_without_marks_and_the_same_precision_are_refused(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(bundle.path), "--against", str(bundle.path)]) == 2
    assert "must be of another precision" in capsys.readouterr().err
    (tmp_path / "page.md").write_text("no marks")
    assert main(["--bundle", str(bundle.path), "--write", str(tmp_path / "page.md")]) == 2
    assert "has not got the marks" in capsys.readouterr().err
