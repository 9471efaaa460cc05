"""The benchmark asks the real service; how fast a machine is, is no test, how often a photo is decoded is."""

import json
from pathlib import Path

import pytest

from benchmarks.image_walk import HERE, main
from tests.retrieval.small_model import write_bundle


def test_every_request_decodes_its_photo_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    arguments = ["--encoder", str(bundle), "--against", str(HERE), "--rounds", "1", "--json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert len(rows) == 7
    for sides in rows.values():
        assert set(sides) == {"before", "this version"}
        assert all(side["decoded"] == 1 and side["ms"] > 0 for side in sides.values())


def test_other_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--against", str(tmp_path)]) == 2
    assert "no checkout of this project; give its root" in capsys.readouterr().err
