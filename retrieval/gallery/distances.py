"""Exact distances in float64, whatever proposed the candidates."""

from typing import Literal

import numpy as np

Metric = Literal["euclidean", "cosine"]

# A block of this many float64 numbers stays in the cache; larger ones are several times slower.
_BLOCK = 65_536


def distances(query: np.ndarray, rows: np.ndarray, metric: Metric) -> np.ndarray:
    """Distances float64 [M] of a query [D] to rows [M, D]; each is independent of the others."""
    result = np.empty(len(rows), np.float64)
    target = query.astype(np.float64)
    step = max(1, _BLOCK // max(1, len(query)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step].astype(np.float64)
        if metric == "cosine":
            lengths = np.sqrt(np.square(block).sum(axis=1) * np.square(target).sum())
            block *= target
            cosine = block.sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
            result[start : start + step] = np.maximum(1 - cosine, 0)
        else:
            block -= target
            np.square(block, out=block)
            result[start : start + step] = np.sqrt(block.sum(axis=1))
    return result


def is_settled(query: np.ndarray, last: float, kth: float, metric: Metric) -> bool:
    """Whether nothing beyond the candidates that float32 found can be nearer than the k-th best of them.

    Args:
        query: float32 [D].
        last: what float32 says of the last candidate: see `nearest`.
        kth: the k-th smallest distance among the candidates, in float64.
    """
    # Whatever is farther than `last` by more than float32's rounding is truly farther.
    rounding = 4 * np.sqrt(len(query)) * float(np.finfo(np.float32).eps)
    if metric == "cosine":
        return bool(last - rounding > kth)
    longest = float(np.linalg.norm(query.astype(np.float64)))
    return bool(last - rounding * (2 * longest + np.sqrt(max(last, 0.0))) ** 2 > kth**2)
