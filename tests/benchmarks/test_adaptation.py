"""The benchmark of adaptation, as small as it runs."""

import json
from pathlib import Path

import pytest

from benchmarks.adaptation import SPOILED, SPOILED_SEEDS, main


@pytest.mark.slow
def test_domains_and_spoiled_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "fast.toml"
    recipe.write_text('base = "adapt"\nepochs = 1\n', encoding="utf-8")
    counts = (
        "--train-ids",
        "40",
        "--test-ids",
        "10",
        "--images-per-id",
        "5",
        "--seeds",
        "1",
        "--rounds",
        "1",
    )
    counts += ("--seeds", "1", "--rounds", "1")
    run = ("--domains", "hard", "--data", str(tmp_path / "data"), "--recipe", str(recipe), "--threads", "1")
    assert main([*counts, *run, "--spoiled", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["rows"]
    assert len(found) == 1 + len(SPOILED) * SPOILED_SEEDS
    assert all(0 < found[0][figure] < 100 for figure in ("direct", "adapted", "supervised"))
    for row in found[1:]:
        assert row["trial"] == "wrong-cameras" or row["kept"] == "old", row
        assert row["change"] > -1.0, row
