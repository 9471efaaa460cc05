"""How many pictures a vehicle has is told without knowing one."""

import numpy as np
import pytest

from training.adaptation.chance import pictures_each, points_by_chance
from training.adaptation.clustering import ClusterOptions, neighbours
from training.datasets.unlabelled import Unlabelled


def clumps(each: int, vehicles: int = 40, noise: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(each)
    centres = rng.normal(size=(vehicles, 16))
    return (np.repeat(centres, each, axis=0) + noise * rng.normal(size=(vehicles * each, 16))).astype(
        np.float32
    )


@pytest.mark.parametrize("each", [2, 3, 6, 12])
def test_clumps_are_counted(each: int) -> None:
    assert pictures_each(clumps(each), 20) == each


def test_kinds_of_vehicles_are_not_taken_for_vehicles() -> None:
    # Pairs, ten of which are of one kind.
    rng = np.random.default_rng(0)
    kinds = np.repeat(rng.normal(size=(12, 16)), 20, axis=0)
    vehicles = np.repeat(rng.normal(size=(120, 16)), 2, axis=0)
    points = (kinds + vehicles + 0.1 * rng.normal(size=(240, 16))).astype(np.float32)
    assert pictures_each(points, 20) == 2


def test_no_more_than_asked_for() -> None:
    assert pictures_each(clumps(12), 8) <= 8


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_pictures(count: int) -> None:
    assert 2 <= pictures_each(clumps(2)[:count], 20) <= max(2, count)


def test_a_track_counts_as_one_picture() -> None:
    # Forty vehicles at two cameras, three pictures of each pass.
    points = clumps(6)
    passes = np.repeat(np.arange(80), 3)
    none = np.full(len(points), -1)
    known = Unlabelled([], passes % 2, passes, none)
    found = neighbours(points, known, ClusterOptions())
    assert (found.k1, found.k2) == (6, 2)


def test_chance_is_spread_as_the_points_are() -> None:
    points = clumps(5) * np.linspace(0.1, 2.0, 16, dtype=np.float32)
    drawn = points_by_chance(points, np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(drawn, axis=1), np.linalg.norm(points, axis=1), rtol=1e-4)
    assert np.corrcoef(drawn.std(axis=0), points.std(axis=0))[0, 1] > 0.9
