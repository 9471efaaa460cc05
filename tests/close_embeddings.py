"""Embeddings close together far from 0, where products of float32 tell nothing apart, and their distances."""

import numpy as np

SETS = [(32, np.float32), (100, np.float32), (1000, np.float32), (100, np.float16)]
"""Rows and number types to try; above 25 rows torch takes products."""


def close_together(
    count: int, dtype: type = np.float32, dimension: int = 128, offset: float = 5.0, spread: float = 1e-3
) -> np.ndarray:
    """Normal values about an offset in all dimensions, [N, D]; half precision has them farther apart."""
    spread = spread if dtype is not np.float16 else 0.02
    values = offset + spread * np.random.default_rng(count).normal(size=(count, dimension))
    return values.astype(dtype)


def two_crowds(count: int, dimension: int = 128) -> np.ndarray:
    """The same about two points far from each other: no one point lies amid all of them."""
    values = close_together(count, np.float64, dimension)
    values[::2] -= 10
    return values.astype(np.float32)


def true_squares(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squared distances by differences in float64."""
    known = columns.astype(np.float64)
    return np.stack([np.square(known - row).sum(1) for row in rows.astype(np.float64)])
