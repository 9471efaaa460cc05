"""From exact distances to a ranked list with scores that people can read."""

from collections.abc import Callable
from typing import Literal

import numpy as np

# A float32 vector that a model normalised is this near to length 1; such a vector is kept bit for bit.
_NORMALISED = 1e-6


def nearest_first(
    positions: np.ndarray, distances: np.ndarray, key: Callable[[int], str], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Order by distance, equal distances by key, and keep the first k (0 keeps all).

    Args:
        positions: int64 [M].
        distances: float64 [M].
        key: the name of the image at a position.

    Returns:
        positions and distances in order.
    """
    count = len(positions) if k == 0 else min(k, len(positions))
    if count < len(positions):
        # Everything as near as the last wanted one stays in, so that the key decides among equals.
        limit = np.partition(distances, count - 1)[count - 1]
        near = distances <= limit
        positions, distances = positions[near], distances[near]
    order = np.argsort(distances, kind="stable")
    positions, distances = positions[order].copy(), distances[order]
    bounds = np.append(np.flatnonzero(np.diff(distances, prepend=np.nan) != 0), len(distances))
    for run in np.flatnonzero(np.diff(bounds) > 1):
        equal = slice(bounds[run], bounds[run + 1])
        positions[equal] = sorted(positions[equal], key=key)
    return positions[:count], distances[:count]


def similarity(
    distances: np.ndarray, query: np.ndarray, metric: Literal["euclidean", "cosine"]
) -> np.ndarray:
    """Scores in 0..1 that fall with the distance.

    Euclidean embeddings are of no fixed length, so their distance is measured in lengths of the query:
    exp(-(d / |query|)^2) is 1 for the same image and about 0.14 for an unrelated direction. For cosine it is
    the cosine itself, 0 where that is negative.
    """
    if metric == "cosine":
        return np.asarray(np.clip(1 - distances, 0, 1))
    length = float(np.linalg.norm(query.astype(np.float64)))
    return np.exp(-np.square(distances / (length or 1.0)))


def unit_length(vector: np.ndarray) -> np.ndarray:
    """Normalise a float32 vector; one that already is normalised, or zero, comes back as it is."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if length == 0 or abs(length - 1) < _NORMALISED:
        return vector
    return (vector.astype(np.float64) / length).astype(np.float32)
