"""The data benchmark runs and tells its figures; how fast a machine is, is no test."""

import json

import pytest

from benchmarks.data_speed import main


def test_a_small_run(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--sides", "48", "--images", "6", "--maps", "2"]
    assert main([*size, "--workers", "0", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["48 px"]
    assert set(found) == {"RGB", "with maps", "decode", "resize"}
    for kind in ("RGB", "with maps"):
        assert all(row["wall"] > 0 and row["cpu"] > 0 for row in found[kind].values())
    # What makes the choice of decoders one of speed alone.
    assert found["decode"]["OpenCV"]["levels"] == 0
    assert found["resize"]["torch, antialiased"]["levels"] <= 2


def test_impossible_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", "4", "--maps", "5"]) == 2
    assert "must not be more than --images 4" in capsys.readouterr().err
