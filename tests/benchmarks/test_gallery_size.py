"""The benchmark of galleries by size: its truth is a plain search's, and its figures are of that gallery."""

from pathlib import Path

import numpy as np

from benchmarks.gallery_size import JUDGED, SHARES, K, filled, searched, truth
from retrieval.benchmark import Vehicles
from retrieval.local.gallery import LocalGallery

ROWS, DIMENSION = 10_000, 32


def test_recall_of_an_exact_gallery(tmp_path: Path) -> None:
    assert filled(tmp_path / "gallery", ROWS, DIMENSION)["cpu_us_an_image"] > 0
    found = searched(tmp_path / "gallery", DIMENSION, ROWS)
    assert found["index"] == "exact"
    assert [(row["share"], row["recall"]) for row in found["searches"]] == [(share, 1.0) for share in SHARES]
    gallery = LocalGallery.open_folder(tmp_path / "gallery", None, False, None, None)
    queries = Vehicles(DIMENSION).block(0, JUDGED, view=1)
    nearest = truth(gallery, queries)
    derived = gallery.synchronizer.derived
    vectors = np.concatenate([block for _, block in derived.vectors.blocks()]).astype(np.float64)
    for share, distances in nearest.items():
        allowed = vectors[derived.table["time"] < share]
        plain = np.sort(np.square(allowed - queries[:, None].astype(np.float64)).sum(axis=2), axis=1)[:, :K]
        known = np.sort(distances, axis=1)[:, : plain.shape[1]]
        np.testing.assert_allclose(known, plain, rtol=1e-4)
    gallery.close()
