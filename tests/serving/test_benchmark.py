"""The benchmark runs every row for real, at the smallest scale; what it measures is judged by people."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from serving.benchmark import main
from serving.benchmarks import rows as benchmark_rows
from serving.benchmarks import served as benchmark_served
from serving.benchmarks.report import BEGIN, END
from serving.bundle import Bundle
from serving.conversion.bundling import Reduction, export_bundle
from serving.engines import timing
from serving.engines.timing import in_turns, latencies, under_load
from serving.server.server import TritonServer
from tests.serving.conftest import SIZE, make_small_model
from zoo.weights import save_weights


def test_rates_are_medians_and_sides_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own: a busy machine has no say in it."""
    order: list[str] = []
    now = 0.0

    def work(name: str, seconds: float, count: int) -> int:
        nonlocal now
        order.append(name)
        now += seconds
        return count

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now))

    rates = in_turns({"a": lambda: work("a", 0.01, 1), "b": lambda: work("b", 0.01, 10)}, 0.0)
    assert order == ["a", "b"] * 4
    assert rates["b"] / rates["a"] == pytest.approx(10, rel=0.5)
    median, worst = latencies(lambda: work("c", 0.002, 1), 0.0)
    assert 2 <= median <= worst


def test_load_is_counted_over_all_threads() -> None:
    def work() -> int:
        time.sleep(0.01)
        return 2

    found = under_load(work, 4, 0.1)
    assert 10 <= found["p50_ms"] <= found["p99_ms"]
    assert found["rate"] == pytest.approx(4 * 2 / 0.01, rel=0.6)


def test_every_row_is_measured_and_written(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_rows, "REFERENCE_SIZE", SIZE)
    monkeypatch.setattr(benchmark_rows, "REFERENCE_BATCH", 2)
    monkeypatch.setattr(benchmark_served, "CONCURRENCIES", (1, 2))
    monkeypatch.setattr(benchmark_served, "ROUNDS", 1)
    pictures = benchmark_rows.make_images(benchmark_served.IN_FLIGHT)
    monkeypatch.setattr(benchmark_rows, "make_images", lambda count: pictures)
    model, card = make_small_model()
    save_weights(model, card, tmp_path / "w.safetensors")
    half = export_bundle(model, card, tmp_path / "half", reduction=Reduction("fp16", None))
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
        ("eager", "direct", "reference"),
        ("precision_ratio", "fp16", "fp32"),
        ("triton", "served", "direct"),
        ("triton_256", "served", "direct"),
    ):
        assert found[row]["ratio"] == pytest.approx(found[row][side] / found[row][other])
    assert set(found["batches"]) == {"1", "2", "4", "8", "16", "32"}
    assert set(found["engines"]) == {
        f"{precision}_{engine}" for precision in ("fp32", "fp16") for engine in ("onnxruntime", "openvino")
    }
    assert len(found["transports"]) == 5
    assert [(row["instances"], row["threads"]) for row in found["instances"]] == [(1, 1)]
    assert 0 < found["single"]["decode_ms"] < found["single"]["p50_ms"] <= found["single"]["p99_ms"]
    stages = dict(found["time"])
    total = stages.pop("total")
    assert sum(stages.values()) == pytest.approx(total)
    assert all(stages[name] > 0 for name in stages if not name.startswith("between"))
    assert stages["normalise and network"] < total
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    for expected in ("| triton |", "| transports |", "| instances | threads |", "| client and gRPC |"):
        assert expected in text
    assert "`perf_analyzer` is " in text or "`perf_analyzer`, the same server" in text
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", text)
    assert ElementTree.fromstring((tmp_path / picture).read_text()).tag.endswith("svg")


PERF_ANALYZER = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in --input-data) data=$2 ;; -f) report=$2 ;; esac; shift; done
grep -q image_bytes "$data" || { echo "no data" >&2; exit 1; }
echo "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p99 latency" > "$report"
echo "8,41.5,3,190000,220000,250000" >> "$report"
"""


def test_perf_analyzer_is_run_where_it_is_found(
    server: TritonServer, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in with its command line and table: the real one needs a newer C library than Debian 12."""
    setting = benchmark_rows.Setting(bundle, 1, 0.1, benchmark_rows.make_images(2))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(benchmark_served, "PERF_ANALYZER", "perf_analyzer_stand_in")
    assert benchmark_served.perf_analyzer(setting, server) == {"found": False}
    program = tmp_path / "perf_analyzer_stand_in"
    program.write_text(PERF_ANALYZER)
    program.chmod(0o755)
    found = benchmark_served.perf_analyzer(setting, server)
    assert found == {"found": True, "rate": 41.5, "p50_ms": 190.0, "p99_ms": 250.0}
    program.write_text("#!/bin/sh\necho 'cannot start' >&2; exit 1\n")
    assert benchmark_served.perf_analyzer(setting, server) == {"found": True, "failure": "cannot start"}


def test_a_page_without_marks_and_the_same_precision_are_refused(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(bundle.path), "--against", str(bundle.path)]) == 2
    assert "must be of another precision" in capsys.readouterr().err
    (tmp_path / "page.md").write_text("no marks")
    assert main(["--bundle", str(bundle.path), "--write", str(tmp_path / "page.md")]) == 2
    assert "has not got the marks" in capsys.readouterr().err
