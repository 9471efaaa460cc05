"""What chance would bring: points spread as pictures are, without vehicles among them; and what is beyond."""

import numpy as np

HUMP, FLAT = 0.75, 0.9
"""Share of the highest overlap from which on it is high, and of a hump's top that still counts as its top."""


def points_by_chance(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw points [N, D] of a normal distribution with the covariance of others, at their lengths.

    Random sums of the points themselves are such draws, as in the gap statistic (Tibshirani, Walther, Hastie,
    2001).
    """
    drawn = rng.standard_normal((len(points), len(points)), np.float32) @ (points - points.mean(axis=0))
    lengths = np.linalg.norm(points, axis=1) / np.maximum(np.linalg.norm(drawn, axis=1), 1e-12)
    return np.asarray(drawn * lengths[:, None])


def pictures_each(points: np.ndarray, most: int) -> int:
    """Tell how many pictures a vehicle usually has, 2 to `most`, without knowing one.

    The k nearest of a picture and of each of these overlap (by the Jaccard index) as the k nearest do by
    chance, and beyond that most where they are the vehicle's own pictures: with fewer, neighbours choose
    among equals; with more, each adds strangers of its own. Vehicles of one kind overlap too, so it is the
    first hump that counts. Where vehicles are hard to tell apart its top is flat, and they end at its end.

    Args:
        points: float32 [N, D], by Euclidean distance.
        most: that are of interest.
    """
    most = min(most, len(points))
    if most <= 2:
        return 2
    gain = _overlaps(points, most) - _overlaps(points_by_chance(points, np.random.default_rng(0)), most)
    high = np.append(gain >= HUMP * gain.max(), False)
    first = int(high.argmax())
    hump = gain[first : first + int((~high[first:]).argmax())]
    return 2 + first + int(np.flatnonzero(hump >= FLAT * hump.max(initial=0.0)).max(initial=0))


def _overlaps(points: np.ndarray, most: int) -> np.ndarray:
    """How much pictures and their neighbours agree on who is near, float64 [most - 1], for groups of 2 to
    `most`, the picture itself among them."""
    lengths = np.square(points).sum(axis=1)
    distances = lengths[:, None] + lengths - 2 * points @ points.T
    np.fill_diagonal(distances, -np.inf)
    near = np.argpartition(distances, most - 1, axis=1)[:, :most]
    near = np.take_along_axis(near, np.take_along_axis(distances, near, axis=1).argsort(axis=1), axis=1)
    rank = np.full(distances.shape, most, np.uint8)
    np.put_along_axis(rank, near, np.arange(most, dtype=np.uint8), axis=1)
    # [i, a, b]: the place that i's b-th neighbour has with i's a-th.
    places = np.stack([rank[near[:, a][:, None], near] for a in range(1, most)], axis=1)
    found = []
    for size in range(2, most + 1):
        shared = (places[:, : size - 1, :size] < size).sum(axis=2)
        found.append((shared / (2 * size - shared)).mean())
    return np.array(found)
