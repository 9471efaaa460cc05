"""Camera means: the arithmetic against plain loops, and what shrinkage does at its ends."""

import math

import numpy as np
import pytest

from zoo.camera_means import NO_CAMERA, STRENGTH, CameraMeans, CameraSums


def pictures(counts: dict[int, int], shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """So many random embeddings of each camera, whose means differ by about `shift` a dimension."""
    rng = np.random.default_rng(seed)
    cameras = np.repeat(list(counts), list(counts.values()))
    offsets = {camera: shift * rng.standard_normal(6) for camera in counts}
    embeddings = rng.standard_normal((len(cameras), 6)) + np.array([offsets[c] for c in cameras.tolist()])
    return embeddings.astype(np.float32), cameras.astype(np.int64)


def naive_means(embeddings: np.ndarray, cameras: np.ndarray) -> tuple[dict[int, list[float]], float]:
    """Each camera's shrunk mean and the variance within, number by number; `NO_CAMERA` is the mean of all."""
    rows, owners = embeddings.astype(float).tolist(), cameras.tolist()
    dimension, known = len(rows[0]), sorted({c for c in owners if c != NO_CAMERA})

    def mean(chosen: list[list[float]]) -> list[float]:
        return [math.fsum(row[d] for row in chosen) / len(chosen) for d in range(dimension)]

    groups = {c: [row for row, owner in zip(rows, owners, strict=True) if owner == c] for c in known}
    named = [row for c in known for row in groups[c]]
    own = {c: mean(groups[c]) for c in known}
    squared = sum((r[d] - own[c][d]) ** 2 for c in known for r in groups[c] for d in range(dimension))
    within = squared / (len(named) - len(known))
    common = mean(rows)
    found = {NO_CAMERA: common}
    for c in known:
        weight = len(groups[c]) / (len(groups[c]) + STRENGTH)
        found[c] = [common[d] + weight * (own[c][d] - common[d]) for d in range(dimension)]
    return found, within


def mean_of(means: CameraMeans, camera: int) -> np.ndarray:
    return means.means[means.of(np.array([camera]))[0]]


@pytest.mark.parametrize(
    "counts",
    [{1: 30, 2: 5}, {7: 3, 2: 40, -4: 12, 9: 1}, {NO_CAMERA: 9, 1: 6, 2: 8}, {c: 2 for c in range(30)}],
)
@pytest.mark.parametrize("shift", [0.0, 0.3, 5.0])
def test_means_are_those_of_a_plain_loop(counts: dict[int, int], shift: float) -> None:
    embeddings, cameras = pictures(counts, shift)
    means = CameraSums(6).with_pictures(embeddings, cameras).means
    expected, within = naive_means(embeddings, cameras)
    assert means.within == pytest.approx(within, rel=1e-6)
    for camera in counts:
        assert mean_of(means, camera) == pytest.approx(expected[camera], abs=1e-5)
    assert mean_of(means, 123456) == pytest.approx(expected[NO_CAMERA], abs=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_centred_embeddings_are_those_of_a_plain_loop(metric: str) -> None:
    embeddings, cameras = pictures({1: 20, 2: 3, NO_CAMERA: 4}, 2.0)
    expected, _ = naive_means(embeddings, cameras)
    centred = CameraSums(6).with_pictures(embeddings, cameras).means.centred(embeddings, cameras, metric)
    for row, camera, found in zip(embeddings.tolist(), cameras.tolist(), centred, strict=True):
        left = [value - taken for value, taken in zip(row, expected[camera], strict=True)]
        length = math.hypot(*left) if metric == "cosine" else 1.0
        assert found == pytest.approx([value / length for value in left], abs=1e-5)
    assert centred.dtype == np.float32


def test_a_row_is_centred_alike_alone_and_among_others() -> None:
    rng = np.random.default_rng(4)
    embeddings = rng.standard_normal((500, 97)).astype(np.float32)
    cameras = rng.integers(0, 9, 500)
    means = CameraSums(97).with_pictures(embeddings, cameras).means
    for metric in ("euclidean", "cosine"):
        together = means.centred(embeddings, cameras, metric)
        for row in range(0, 500, 7):
            alone = means.centred(embeddings[row : row + 1], cameras[row : row + 1], metric)
            assert np.array_equal(alone[0], together[row])


def test_sums_follow_what_comes_and_goes() -> None:
    embeddings, cameras = pictures({1: 20, 2: 30, 3: 4}, 1.0)
    sums = CameraSums(6)
    for start in range(0, len(embeddings), 7):
        sums = sums.with_pictures(embeddings[start : start + 7], cameras[start : start + 7])
    gone = cameras == 3
    gone[:5] = True
    before = sums
    sums = sums.without_pictures(embeddings[gone], cameras[gone])
    fresh = CameraSums(6).with_pictures(embeddings[~gone], cameras[~gone]).means
    assert sums.means.cameras.tolist() == [1, 2]
    assert sums.means.means == pytest.approx(fresh.means, abs=1e-6)
    assert before.means.cameras.tolist() == [1, 2, 3]
    kept = CameraSums.from_arrays(sums.to_arrays())
    assert np.array_equal(kept.means.means, sums.means.means)


def test_few_pictures_count_for_little() -> None:
    embeddings, cameras = pictures({1: 2000, 2: 2000, 3: 1}, 3.0)
    means = CameraSums(6).with_pictures(embeddings, cameras).means
    common = mean_of(means, NO_CAMERA)
    shares = []
    for camera in (1, 3):
        own = embeddings[cameras == camera].mean(axis=0)
        shares.append(np.linalg.norm(mean_of(means, camera) - common) / np.linalg.norm(own - common))
    assert shares == pytest.approx([2000 / 2005, 1 / 6], rel=1e-4)


def test_shrunk_means_lie_nearer_the_truth_than_plain_ones() -> None:
    """Over many small cameras, in squared error: what the rule is for."""
    rng = np.random.default_rng(8)
    offsets = 0.3 * rng.standard_normal((60, 64))
    cameras = np.repeat(np.arange(60), 5)
    embeddings = (offsets[cameras] + rng.standard_normal((300, 64))).astype(np.float32)
    means = CameraSums(64).with_pictures(embeddings, cameras).means.means[:60]
    plain = np.array([embeddings[cameras == camera].mean(axis=0) for camera in range(60)])
    assert np.square(means - offsets).sum() < 0.8 * np.square(plain - offsets).sum()


@pytest.mark.parametrize("counts", [{}, {1: 1}, {1: 5}, {1: 1, 2: 1}, {NO_CAMERA: 3}])
def test_hardly_any_pictures(counts: dict[int, int]) -> None:
    embeddings, cameras = pictures(counts or {1: 2}, 3.0)
    embeddings, cameras = embeddings[: sum(counts.values())], cameras[: sum(counts.values())]
    means = CameraSums(6).with_pictures(embeddings, cameras).means
    common = embeddings.mean(axis=0) if len(embeddings) else np.zeros(6)
    assert mean_of(means, 99) == pytest.approx(common, abs=1e-6)
    assert np.isfinite(means.centred(embeddings, cameras, "cosine")).all()
