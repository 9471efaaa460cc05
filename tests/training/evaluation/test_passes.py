"""Passes: what strangers come nearer by when their vectors are means."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.evaluation.test_sameness import draw_vehicles
from training.evaluation.passes import fit_passes, pool_passes
from zoo.sameness import Sameness

USUAL = Sameness((-2.0, 5.0, 0.0, 0.0, 0.0, 0.0), (0.0,) * 7, (0.0,) * 8, (-3.0, 1.0), (0.5, 1.0))


def test_a_pass_is_the_mean_of_a_vehicle_by_a_camera() -> None:
    rows = np.array([[2, 0], [0, 4], [6, 0], [0, 2]], np.float32)
    means, vehicles, cameras, counts = pool_passes(
        rows, np.array([1, 1, 2, 1]), np.array([7, 7, 7, 8]), "euclidean"
    )
    np.testing.assert_allclose(means, [[1, 2], [0, 2], [6, 0]])
    assert (vehicles.tolist(), cameras.tolist(), counts.tolist()) == ([1, 1, 2], [7, 8, 7], [2, 1, 1])
    means, *_ = pool_passes(rows, np.array([1, 1, 2, 1]), np.array([7, 7, 7, 8]), "cosine")
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1)


def test_means_come_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.passes._SEARCHES", 500)
    embeddings, vehicles, cameras = draw_vehicles(120, 0)
    assert fit_passes(USUAL, embeddings, vehicles, cameras, "euclidean") == USUAL
    # Twice as many pictures of each camera, of which the second half is spoilt.
    rng = np.random.default_rng(1)
    spoilt = embeddings + rng.normal(size=embeddings.shape).astype(np.float32)
    twice = np.concatenate([embeddings, spoilt])
    fitted = fit_passes(USUAL, twice, np.tile(vehicles, 2), np.tile(cameras, 2), "euclidean")
    assert fitted.passes is not None and fitted.passes > 0.2
    assert replace(fitted, passes=None) == USUAL
