"""Stored embeddings as camera centring compares them, computed while they are read."""

from collections.abc import Iterator

import numpy as np

from retrieval.gallery.distances import Metric
from retrieval.local.vectors import StoredVectors, Vectors
from zoo.camera_means import CameraMeans

_BLOCK_BYTES = 2**20
"""So much is centred at a time: it stays in the cache until it has been compared."""


class CentredVectors:
    """Embeddings by position, float32 [N, D], without their cameras' means.

    Args:
        vectors: as they are stored.
        cameras: of the positions, int64 [N].
        means: what is taken away.
        metric: of the model; for `cosine`, what is left is of unit length.
    """

    def __init__(self, vectors: Vectors, cameras: np.ndarray, means: CameraMeans, metric: Metric) -> None:
        self.dimension = vectors.dimension
        self._vectors = vectors
        self._cameras = cameras
        self._means = means
        self._metric = metric

    def __len__(self) -> int:
        return len(self._vectors)

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Some of them, float32 [M, D]."""
        return self._means.centred(self._vectors.rows(positions), self._cameras[positions], self._metric)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All of them in blocks, each with the position of its first."""
        step = max(1, _BLOCK_BYTES // (4 * self.dimension))
        for first, block in self._vectors.blocks():
            for start in range(0, len(block), step):
                part = block[start : start + step]
                cameras = self._cameras[first + start : first + start + len(part)]
                yield first + start, self._means.centred(part, cameras, self._metric)

    def release(self) -> None:
        """Give the pages of a scan back."""
        self._vectors.release()


def compared(
    vectors: Vectors, cameras: np.ndarray, means: CameraMeans | None, metric: Metric
) -> StoredVectors:
    """Vectors as they are compared: without the means, or as they are where there are none."""
    return vectors if means is None else CentredVectors(vectors, cameras, means, metric)
