"""The benchmark of a card: its table, and all of it on a CPU."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import main, run_part
from benchmarks.gpu.page import BEGIN, END, table, write_page
from zoo.errors import UserError

REPORT = {
    "facts": {
        "device": {"name": "Card", "type": "cuda"},
        "driver": None,
        "packages": {"torch": "2.14"},
        "python": "3.12",
        "cpu_cores": 16,
    },
    "size": 256,
    "seconds": 12.5,
    "parts": {
        "steps": {
            "rows": [
                {
                    "name": "plain arithmetic",
                    "batch": 32,
                    "images_per_second": 100.0,
                    "ratio": 1.0,
                    "peak_gib": 5,
                },
                {
                    "name": "this project, O2",
                    "batch": 32,
                    "images_per_second": 250.0,
                    "ratio": 2.5,
                    "peak_gib": 3,
                },
                {
                    "name": "this project, O2",
                    "batch": 512,
                    "images_per_second": None,
                    "ratio": None,
                    "peak_gib": 80,
                },
            ]
        },
        "learning": {"first_loss": 9.0, "last_loss": 1.0, "steps": 20, "skipped_steps": 0},
        "loader": {"error": "no disk"},
        "evaluation": {"images_per_second": 900.0, "least_cosine_to_cpu": 1.0},
        "onnx": {"skipped": "onnxruntime is not installed"},
    },
}


def test_the_table_tells_figures_failures_and_what_was_not_run() -> None:
    text = table(REPORT)
    assert "| this project, O2 | 32 | 250.0 | 2.5 | 3 |" in text
    assert "| this project, O2 | 512 | does not fit | - | 80 |" in text
    assert "| train_performance_1p: images/s, O2, batch 32 | GPU 200, NPU 89.3 | 250.0 |" in text
    assert "9.0 to 1.0 in 20 steps, 0 skipped" in text
    assert "failed: no disk" in text
    assert "not run: onnxruntime is not installed" in text
    assert "Card, driver unknown, torch 2.14" in text


def test_the_page_keeps_what_is_around_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(page, REPORT)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    page.write_text("nothing")
    with pytest.raises(UserError, match="has no lines"):
        write_page(page, REPORT)


def test_a_part_that_fails_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> dict:
        raise RuntimeError("out of\nmemory")

    def lack() -> dict:
        raise ModuleNotFoundError("no", name="onnxruntime")

    assert run_part("steps", fail, 1.0)["error"] == "out of memory"
    assert run_part("onnx", lack, 1.0)["skipped"] == "onnxruntime is not installed"
    assert run_part("onnx", fail, 0.0) == {"skipped": "no time was left"}


@pytest.mark.slow
def test_all_of_it_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--size", "32", "--batches", "8", "--seconds", "0", "--no-compile"]
    assert main([*options, "--out", str(out), "--json"]) == 0
    report = json.loads(out.read_text())
    assert report == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["parts"].keys() == {"steps", "learning", "loader", "evaluation", "onnx"}
    assert all("error" not in part for part in report["parts"].values())
