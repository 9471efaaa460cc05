"""The vector index: FAISS finds candidates, float64 arithmetic on the same vectors decides their order."""

from typing import Literal

import faiss
import numpy as np

# Below this many vectors the exact arithmetic alone is as fast as asking FAISS first.
_EXHAUSTIVE = 4096
# A block of this many float64 numbers stays in the cache; larger ones are several times slower.
_BLOCK = 65_536


class FlatIndex:
    """Every vector, as it was stored, in a `faiss.IndexFlat`; positions are those of the gallery's table.

    Not thread-safe: the gallery holds its lock around every call.
    """

    def __init__(self, dimension: int, metric: Literal["euclidean", "cosine"]) -> None:
        self.dimension = dimension
        self.metric = metric
        kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
        self._index = faiss.IndexFlat(dimension, kind)
        self._largest_norm = 0.0

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def vectors(self) -> np.ndarray:
        """The stored vectors without a copy, float32 [N, D]; valid until the next append or drop."""
        if not len(self):
            return np.zeros((0, self.dimension), np.float32)
        flat = faiss.rev_swig_ptr(self._index.get_xb(), len(self) * self.dimension)
        return flat.reshape(len(self), self.dimension)

    def append(self, vectors: np.ndarray) -> None:
        """Add vectors, float32 [M, D], at the end."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        self._largest_norm = max(self._largest_norm, float(np.sqrt(squares.max(initial=0.0))))
        self._index.add(vectors)

    def drop(self, positions: np.ndarray) -> None:
        """Take vectors out; the others move up and keep their order."""
        if positions.size:
            self._index.remove_ids(faiss.IDSelectorBatch(np.ascontiguousarray(positions, np.int64)))

    def search(self, query: np.ndarray, k: int, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest vectors, with every vector that is as near as the last of them.

        Args:
            query: float32 [D].
            k: how many are wanted; 0 for all.
            rows: int64 [M], the positions that may be returned; None for all.

        Returns:
            positions int64 and distances float64, at least min(k, M) of them, in no order.
        """
        allowed = np.arange(len(self)) if rows is None else rows
        if k == 0 or len(allowed) <= max(_EXHAUSTIVE, 4 * k):
            return allowed, self._distances(query, allowed)
        fetch = k + 32
        while 4 * fetch < len(allowed):
            found = self._nearest(query, k, fetch, None if rows is None else allowed)
            if found is not None:
                return found
            fetch *= 4
        return allowed, self._distances(query, allowed)

    def _nearest(
        self, query: np.ndarray, k: int, fetch: int, rows: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The `fetch` nearest by FAISS, or None where float32 could hide a nearer vector behind them."""
        parameters = None
        if rows is not None:
            mask = np.zeros(len(self), bool)
            mask[rows] = True
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        near, positions = self._index.search(query[None], fetch, params=parameters)
        positions = positions[0][positions[0] >= 0].astype(np.int64)
        distances = self._distances(query, positions)
        kth = float(np.partition(distances, k - 1)[k - 1])
        last = float(near[0][len(positions) - 1])
        return (positions, distances) if self._is_beyond(last, kth, query) else None

    def _is_beyond(self, last: float, kth: float, query: np.ndarray) -> bool:
        """Whether whatever FAISS put behind `last` is truly farther than `kth`, rounding included."""
        rounding = 4 * np.sqrt(self.dimension) * float(np.finfo(np.float32).eps)
        if self.metric == "cosine":
            # Stored vectors and queries are of unit length to a few float32 steps.
            return 1 - last - rounding > kth
        norm = float(np.linalg.norm(query.astype(np.float64)))
        return last - rounding * (norm + self._largest_norm) ** 2 > kth**2

    def _distances(self, query: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Exact distances, float64; a vector's distance does not depend on what is computed beside it."""
        result = np.empty(len(positions), np.float64)
        target = query.astype(np.float64)
        vectors = self.vectors
        everything = len(positions) == len(vectors)
        rows = max(1, _BLOCK // self.dimension)
        for start in range(0, len(positions), rows):
            part = slice(start, start + rows)
            # All positions come in order, and a slice saves the copy that an index array makes.
            block = (vectors[part] if everything else vectors[positions[part]]).astype(np.float64)
            if self.metric == "cosine":
                lengths = np.sqrt(np.square(block).sum(axis=1) * np.square(target).sum())
                block *= target
                cosine = block.sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
                result[part] = np.maximum(1 - cosine, 0)
            else:
                block -= target
                np.square(block, out=block)
                result[part] = np.sqrt(block.sum(axis=1))
        return result
