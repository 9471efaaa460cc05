"""The comparison's own arithmetic, and its phases for the one engine that is always there."""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers.__main__ import SHARES, make_data, measure, table, write_truth


def test_the_gallery_in_processes_of_its_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_data(data, rows=12_000, dimension=16)
    vectors, values, queries = (np.load(data / f"{name}.npy") for name in ("vectors", "values", "queries"))
    # First of those that a slow engine got to, then of all rows.
    for rows in (10_100, 12_000):
        write_truth(data, rows)
        for share in SHARES:
            distances = np.linalg.norm(vectors[:rows] - queries[7], axis=1)
            distances[values[:rows] >= share] = np.inf
            assert set(np.load(data / f"truth-{share}.npy")[7]) == set(np.argsort(distances)[:10])
    found = measure(sys.executable, "gallery", data, tmp_path, rows=12_000, minutes=10)
    assert found["rows"] == 12_000
    assert [row["share"] for row in found["searches"]] == list(SHARES)
    assert all(row["recall"] == 1.0 for row in found["searches"])
    assert found["killed"]["there"] >= found["killed"]["acknowledged"] >= 8 * 512
    printed = table({"engines": {"gallery": json.loads(json.dumps(found)), "x": {"failure": "x: gone"}}})
    assert printed.count("| gallery |") == 2
    assert printed.endswith("x: gone")
