"""The benchmark at a small size: it measures what it says, and an index that is bad looks bad in it."""

import json
from pathlib import Path
from xml.etree import ElementTree

from retrieval.benchmark import SELECTIVITIES, main


def measured(capsys, *arguments: object) -> dict:
    assert main([*map(str, arguments), "--dimension", "64", "--queries", "10", "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])["runs"][0]


def test_small_run_is_whole(tmp_path: Path, capsys) -> None:
    run = measured(
        capsys,
        "--rows",
        6000,
        "--index",
        "IVF32,RaBitQ",
        "--mixed-seconds",
        0.3,
        "--out",
        tmp_path,
        "--scratch",
        tmp_path,
    )
    assert run["made"] == "IVF32,RaBitQ"
    assert [row["selectivity"] for row in run["searches"]] == list(SELECTIVITIES)
    assert all(row["recall"] >= 0.99 and row["missing"] == 0 for row in run["searches"])
    assert run["mixed"]["adds_per_second"] > 0
    assert run["start"]["resident_mb"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p50_ms.svg", "recall.svg", "results.json"]
    for name in ("p50_ms.svg", "recall.svg"):
        assert ElementTree.fromstring((tmp_path / name).read_text()).tag.endswith("svg")
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0] == run


def test_user_faults(capsys) -> None:
    assert main(["--rows", "10"]) == 2
    assert "at least 1000" in capsys.readouterr().err
    assert main(["--index", "IVF,what"]) == 2
