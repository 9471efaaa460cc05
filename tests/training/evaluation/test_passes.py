"""Passes: the mean of what a camera saw of a vehicle."""

import numpy as np

from training.evaluation.passes import pool_passes


def test_a_pass_is_the_mean_of_a_vehicle_by_a_camera() -> None:
    rows = np.array([[2, 0], [0, 4], [6, 0], [0, 2]], np.float32)
    means, vehicles, cameras, counts = pool_passes(
        rows, np.array([1, 1, 2, 1]), np.array([7, 7, 7, 8]), "euclidean"
    )
    np.testing.assert_allclose(means, [[1, 2], [0, 2], [6, 0]])
    assert (vehicles.tolist(), cameras.tolist(), counts.tolist()) == ([1, 1, 2], [7, 8, 7], [2, 1, 1])
    means, *_ = pool_passes(rows, np.array([1, 1, 2, 1]), np.array([7, 7, 7, 8]), "cosine")
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1)
