"""Rows that an index proposes, compared by their stored vectors until no other can be among the nearest."""

import numpy as np

from retrieval.gallery.distances import Metric
from retrieval.local import exact_search
from retrieval.local.vectors import StoredVectors

_FEWEST_READ = 32
"""So many candidates tell how far the index's estimates are off."""
_DEVIATIONS = 3.0


class Candidates:
    """The rows compared so far.

    Attributes:
        positions: int64 [M], in no order.
        values: their distances, float64 [M].
    """

    def __init__(self, vectors: StoredVectors, query: np.ndarray, k: int, metric: Metric) -> None:
        self.positions, self.values = np.zeros(0, np.int64), np.zeros(0)
        self._vectors, self._query, self._k, self._metric = vectors, query, k, metric
        self._errors = np.zeros(0)

    def kth(self) -> float:
        """The k-th smallest distance, as `_as_estimate` has it; infinite while there are fewer."""
        if len(self.values) < self._k:
            return float("inf")
        return float(self._as_estimate(np.partition(self.values, self._k - 1)[self._k - 1]))

    def read(self, positions: np.ndarray, estimates: np.ndarray) -> bool:
        """Compare those that may be among the k nearest.

        Args:
            positions: int64 [C], nearest first as the index sees it. Those that are known are passed over.
            estimates: the index's squared distances to them, float64 [C].

        Returns:
            whether the last of them, and so any row that the index sees behind it, is too far to be one: by
            more than the index's errors, as the compared rows show them, explain.
        """
        is_fresh = np.isin(positions, self.positions, invert=True)
        fresh, guessed = positions[is_fresh], estimates[is_fresh]
        step = max(_FEWEST_READ, 3 * self._k)
        for start in range(0, len(fresh), step):
            if self._is_beyond(guessed[start]):
                break
            part = slice(start, start + step)
            values = exact_search.at(self._vectors, self._query, fresh[part], self._metric)
            self.positions = np.append(self.positions, fresh[part])
            self.values = np.append(self.values, values)
            self._errors = np.append(self._errors, self._as_estimate(values) - guessed[part])
        return bool(len(estimates)) and self._is_beyond(estimates[-1])

    def _is_beyond(self, estimate: float) -> bool:
        if len(self.values) < max(_FEWEST_READ, self._k):
            return False
        return bool(estimate - self.kth() >= _DEVIATIONS * float(np.std(self._errors)))

    def _as_estimate(self, values: np.ndarray) -> np.ndarray:
        """Distances as the index estimates them: squared, of vectors of unit length for `cosine`."""
        found: np.ndarray = np.square(values) if self._metric == "euclidean" else 2 * values
        return found
