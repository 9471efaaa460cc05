"""Embedding distances of many queries to a large gallery, a block of queries at a time.

The arithmetic is float64: on two cores that costs 0.3 s more than float32 at VeRi's size, and its rounding is
so small that next to no pair of gallery images has to be looked at again to be put in the right order. Only a
block of the gallery is float64 at any time.
"""

from collections.abc import Iterator

import numpy as np

ROW_BYTES = 32 * 2**20
"""Distances held at one time, at least one query's; more are no faster."""

BLOCK_BYTES = 8 * 2**20
"""Of gallery embeddings that are float64 at one time."""


class Embeddings:
    """Embeddings [N, D] of any number type, read as float64 and, for `cosine`, at unit length."""

    def __init__(self, values: np.ndarray, metric: str = "euclidean") -> None:
        """Look at every value once.

        Raises:
            ValueError: an unknown metric, or an embedding that is not finite.
        """
        if metric not in ("euclidean", "cosine"):
            raise ValueError(f"metric {metric!r}: expected euclidean or cosine")
        self.values = np.asarray(values)
        self.norms: np.ndarray | None = None
        norms = np.empty((len(self), 1))
        self.squares = np.empty(len(self))
        """float64 [N], the squared lengths."""
        for rows in self.blocks():
            block = self.rows(rows)
            if not np.isfinite(block).all():
                raise ValueError("an embedding is not finite")
            if metric == "cosine":
                norms[rows] = np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
                block /= norms[rows]
            self.squares[rows] = np.einsum("nd,nd->n", block, block)
        if metric == "cosine":
            self.norms = norms

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: slice | np.ndarray) -> np.ndarray:
        """Some rows: float64 [n, D], a copy."""
        block = np.array(self.values[index], np.float64)
        return block if self.norms is None else np.divide(block, self.norms[index], out=block)

    def blocks(self) -> Iterator[slice]:
        """All rows, in slices of `BLOCK_BYTES`."""
        step = max(1, BLOCK_BYTES // (8 * max(1, self.values.shape[1])))
        return (slice(start, min(start + step, len(self))) for start in range(0, len(self), step))


def check_comparable(query: np.ndarray, gallery: np.ndarray) -> None:
    """Raise ValueError for arrays that are not [Q, D] and [G, D]."""
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"embeddings of shapes {query.shape} and {gallery.shape} cannot be compared")


def distance_rows(query: Embeddings, gallery: Embeddings) -> Iterator[np.ndarray]:
    """Each query's squared distances to the gallery, less the query's own squared length: float64 [G].

    What is left out is the same for a whole row and so leaves its order alone. A row may be written to; it is
    gone when the next is asked for.
    """
    step = max(1, ROW_BYTES // (8 * max(1, len(gallery))))
    rows = np.empty((min(step, len(query)), len(gallery)))
    for start in range(0, len(query), step):
        doubled = -2.0 * query.rows(slice(start, start + step))
        filled = rows[: len(doubled)]
        for block in gallery.blocks():
            np.matmul(doubled, gallery.rows(block).T, out=filled[:, block])
            filled[:, block] += gallery.squares[block]
        yield from filled


def rounding(query: Embeddings, gallery: Embeddings) -> np.ndarray:
    """How far apart two values in a row of `distance_rows` must be for their order to be beyond doubt.

    The usual bound on a dot product's rounding (Higham, Accuracy and Stability of Numerical Algorithms, 3.5),
    on both sides: float64 [Q].
    """
    terms = 4 * (query.values.shape[1] + 4) * np.finfo(np.float64).eps
    return terms * (query.squares + gallery.squares.max(initial=0.0))


def direct_distances(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Squared distances by the definition, a difference a dimension; equal embeddings give equal bits.

    Args:
        query: float64 [D].
        gallery: float64 [n, D].
    """
    return np.square(gallery - query).sum(axis=1)
