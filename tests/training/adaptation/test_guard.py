"""The guard and the preconditions: what speaks against a network or its pictures is found without labels."""

from pathlib import Path

import numpy as np
import pytest

from training.adaptation import preconditions
from training.adaptation.guard import Verdict, View, hold_out, judge, mutual, nearest_at_cameras
from training.datasets.unlabelled import Unlabelled

VEHICLES, CAMERAS, DIM = 40, 4, 24
CAMERA = np.tile(np.arange(CAMERAS), VEHICLES).astype(np.int64)
TRUTH = np.repeat(np.arange(VEHICLES), CAMERAS)
NO_TRACK = np.full(len(TRUTH), -1, np.int64)


def network(noise: float, varied: float | None = None, seed: int = 1) -> View:
    """A network that sees the same vehicles, with noise of its own; `varied` is that of varied pictures."""
    vehicles = np.random.default_rng(0).normal(size=(VEHICLES, DIM))[TRUTH]
    rng = np.random.default_rng(seed)
    points, other = (
        vehicles + each * rng.normal(size=vehicles.shape)
        for each in (noise, noise if varied is None else varied)
    )
    return View(points.astype(np.float32), other.astype(np.float32))


def verdict(old: View, new: View, tracks: np.ndarray = NO_TRACK) -> Verdict:
    return judge(old, new, np.arange(len(TRUTH)), CAMERA, tracks)


def test_a_better_network_is_taken() -> None:
    found = verdict(network(0.8), network(0.4, seed=2))
    assert found.new_is_better, found.reason
    assert found.new.consistency > found.old.consistency


def test_a_worse_network_is_not() -> None:
    assert not verdict(network(0.4), network(0.8, seed=2)).new_is_better


def test_the_same_network_is_not_better() -> None:
    assert not verdict(network(0.7), network(0.7)).new_is_better


def test_a_network_that_variation_confuses_is_not() -> None:
    found = verdict(network(0.8), network(0.4, varied=3.0, seed=2))
    assert not found.new_is_better
    assert found.reason.startswith("agreement")


def test_a_network_that_is_one_point_is_not() -> None:
    flat = np.full((len(TRUTH), DIM), 0.5, np.float32)
    assert not verdict(network(0.5), View(flat, flat)).new_is_better


def test_tracks_count() -> None:
    tracks = np.repeat(np.arange(len(TRUTH) // 2), 2)
    cameras = np.zeros(len(TRUTH), np.int64)
    cameras[::4] = cameras[1::4] = 1
    old, new = network(0.3), network(0.3)
    # The new network tells another track's picture from its own no more.
    new.points[::2] = np.random.default_rng(3).normal(size=new.points[::2].shape)
    found = judge(old, new, np.arange(len(TRUTH)), cameras, tracks)
    assert found.old.tracks is not None and found.new.tracks is not None
    assert found.new.tracks < found.old.tracks
    assert not found.new_is_better


def test_nothing_to_judge_by_is_no_proof() -> None:
    old, new = (View(each.points, each.varied[:4]) for each in (network(0.8), network(0.4)))
    found = judge(old, new, np.arange(4), CAMERA, NO_TRACK)
    assert (found.new_is_better, found.reason[:4]) == (False, "only")


def test_one_camera_has_no_matches() -> None:
    places = np.zeros(len(TRUTH), np.int64)
    nearest, distances = nearest_at_cameras(network(0.5).points, places)
    assert (nearest == -1).all() and np.isinf(distances).all() and not mutual(nearest, places).any()


def test_matches_are_the_nearest_at_each_camera() -> None:
    points = np.array([[0.0], [1.0], [1.2], [5.0], [0.9]], np.float32)
    places = np.array([0, 1, 1, 2, 2])
    nearest, distances = nearest_at_cameras(points, places)
    assert nearest.tolist() == [[-1, 1, 4], [0, -1, 4], [0, -1, 4], [0, 2, -1], [0, 1, -1]]
    assert mutual(nearest, places).tolist() == [
        [False, True, True],
        [True, False, True],
        [False, False, False],
        [False, False, False],
        [True, True, False],
    ]
    assert np.allclose(distances[0, 1:], [1.0, 0.81])


def test_clusters_and_tracks_are_held_out_whole() -> None:
    labels = np.where(np.arange(400) < 200, np.arange(400) // 4, -1)
    tracks = np.where(np.arange(400) >= 300, np.arange(400) // 5, -1)
    judged = hold_out(labels, tracks, seed=0)
    assert 0.1 < judged.mean() < 0.3
    for group in (labels, tracks):
        for number in set(group[group >= 0]):
            assert len(set(judged[group == number])) == 1


def test_clumps_stand_out_and_a_single_vehicle_does_not() -> None:
    assert preconditions.share_in_clumps(network(0.4).points, CAMERA, 0) > 0.8
    one = np.random.default_rng(0).normal(size=(160, DIM)).astype(np.float32)
    assert preconditions.too_even(preconditions.share_in_clumps(one, CAMERA, 0)) is not None
    assert preconditions.share_in_clumps(one, np.zeros_like(CAMERA), 0) == 0.0


@pytest.mark.parametrize(
    ("cameras", "said"),
    [
        ([1] * 50 + [2] * 50, None),
        ([1] * 50 + [2] * 49, "too few"),
        ([1] * 500, "cameras with"),
        ([1] * 500 + [2] * 19, "cameras with"),
        (list(range(500)), "cameras with"),
    ],
)
def test_too_little(cameras: list[int], said: str | None) -> None:
    none = np.full(len(cameras), -1, np.int64)
    found = preconditions.too_little(Unlabelled([Path()] * len(cameras), np.array(cameras), none, none))
    assert found is None if said is None else found is not None and said in found
