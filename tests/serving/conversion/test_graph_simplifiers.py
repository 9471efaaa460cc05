"""The comparison of graph simplifiers measures files that compute the same, and tells which travel."""

import json

import pytest

from benchmarks.graph_simplifiers import main
from serving.bundle import Bundle


@pytest.mark.slow
def test_onnxruntimes_own_simplification_is_compared(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(bundle.path), "--seconds", "0", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = {row["name"]: row for row in result["rows"]}
    assert {"as exported", "the same again", "onnxruntime, basic", "onnxruntime, extended"} <= set(rows)
    assert set(rows) | set(result["failed"]) >= {"onnxslim", "onnxsim"}
    assert rows["onnxruntime, extended"]["nodes"] < rows["onnxruntime, basic"]["nodes"]
    assert {name: row["portable"] for name, row in rows.items() if not name.startswith("onnxs")} == {
        "as exported": True,
        "the same again": True,
        "onnxruntime, basic": True,
        "onnxruntime, extended": False,
    }
    assert all(row["difference"] < 1e-5 for row in rows.values())
    assert all(rate > 0 for row in rows.values() for rate in row["images_per_second"].values())
