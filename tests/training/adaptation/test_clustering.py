"""Pseudo-labels: clumps are found whatever the camera adds, and tracks and frames have the last word."""

import numpy as np
import pytest

from training.adaptation.clustering import NO_CLUSTER, ClusterOptions, cluster, comparable, numbered
from training.datasets.unlabelled import Unlabelled

VEHICLES, EACH = 12, 6
TRUTH = np.repeat(np.arange(VEHICLES), EACH)


def pictures(
    cameras: np.ndarray, tracks: dict[int, int] | None = None, moments: tuple[int, ...] = ()
) -> Unlabelled:
    """Pictures at cameras; `tracks` by picture, and `moments` that share one frame."""
    of_track, of_moment = (np.full(len(cameras), -1, np.int64) for _ in range(2))
    for picture, track in (tracks or {}).items():
        of_track[picture] = track
    of_moment[list(moments)] = 0
    return Unlabelled([], cameras, of_track, of_moment)


def embeddings(noise: float = 0.05, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Clumps of unit length, and the cameras that each adds an offset of its own to."""
    rng = np.random.default_rng(0)
    cameras = np.tile(np.arange(EACH) % 3, VEHICLES).astype(np.int64)
    found = rng.normal(size=(VEHICLES, 32))[TRUTH] + noise * rng.normal(size=(len(TRUTH), 32))
    found += offset * rng.normal(size=(3, 32))[cameras]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), cameras


def found_clusters(points: np.ndarray, known: Unlabelled, **options: bool) -> np.ndarray:
    return cluster(points, known, ClusterOptions(**options))


def test_clumps_are_found() -> None:
    points, cameras = embeddings()
    assert found_clusters(comparable(points, cameras, "cosine"), pictures(cameras)).tolist() == TRUTH.tolist()


def test_what_a_camera_adds_is_taken_away() -> None:
    points, cameras = embeddings(offset=1.0)
    known = pictures(cameras)
    assert found_clusters(comparable(points, cameras, "cosine"), known).tolist() == TRUTH.tolist()
    plain = found_clusters(comparable(points, cameras, "cosine", centre=False), known)
    assert plain.tolist() != TRUTH.tolist()


def test_without_centring_distances_are_those_of_the_embeddings() -> None:
    points, cameras = embeddings()
    moved = comparable(5 * points, cameras, "euclidean", centre=False)
    assert np.allclose(
        np.linalg.norm(moved[0] - moved[9]), 5 * np.linalg.norm(points[0] - points[9]), rtol=1e-5
    )


def test_a_frame_keeps_its_vehicles_apart() -> None:
    points, cameras = embeddings()
    known = pictures(cameras, moments=(0, 1))
    labels = found_clusters(points, known)
    assert labels[0] != labels[1] or labels[0] == NO_CLUSTER
    assert found_clusters(points, known, frames=False)[0] == found_clusters(points, known, frames=False)[1]


def test_a_track_joins_what_looks_different() -> None:
    points, cameras = embeddings()
    known = pictures(cameras, tracks={0: 4, EACH: 4})
    assert found_clusters(points, known)[0] == found_clusters(points, known)[EACH]
    assert found_clusters(points, known, tracks=False)[0] != found_clusters(points, known, tracks=False)[EACH]


def test_a_track_wins_over_a_frame() -> None:
    points, cameras = embeddings()
    labels = found_clusters(points, pictures(cameras, tracks={0: 4, 1: 4}, moments=(0, 1)))
    assert labels[0] == labels[1] != NO_CLUSTER


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_pictures(count: int) -> None:
    points, cameras = embeddings()
    labels = found_clusters(points[:count], pictures(cameras[:count]))
    assert labels.shape == (count,)


def test_groups_are_numbered_by_their_first_picture() -> None:
    assert numbered(np.array([7, 3, 9, 3, 7, 5])).tolist() == [0, 1, NO_CLUSTER, 1, 0, NO_CLUSTER]
