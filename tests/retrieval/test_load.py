"""The load on a service: every acknowledged add is there after a kill, and a lost one would be told."""

import json
from pathlib import Path

import pytest

from benchmarks.retrieval_load import growth, main


@pytest.mark.slow
def test_nothing_is_lost_under_load(bundle: Path, capsys) -> None:
    assert main(["--encoder", str(bundle), "--minutes", "0.2", "--clients", "8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["errors"], result["lost"], result["not_served_again"]) == ({}, 0, 0)
    assert result["acknowledged"] > 0
    assert set(result["requests"]) >= {"search", "add", "page"}


def test_growth_is_that_after_warm_up() -> None:
    samples = [(2**20 * (100 if second < 9 else 200 + second), 10 * second) for second in range(30)]
    found = growth(samples)
    assert found is not None
    assert (found["after_warm_up_mb"], found["at_the_end_mb"], found["added_between"]) == (211, 228, 170)
    assert growth(samples[:8]) is None
