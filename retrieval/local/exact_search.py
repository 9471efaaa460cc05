"""The exact search that every other search is measured by: a scan of the stored vectors."""

from typing import Any

import faiss
import numpy as np

from retrieval.gallery.distances import Metric, distances
from retrieval.local.vectors import StoredVectors


def at(vectors: StoredVectors, query: np.ndarray, positions: np.ndarray, metric: Metric) -> np.ndarray:
    """Distances float64 [M] to the vectors at `positions`."""
    result = np.empty(len(positions), np.float64)
    step = max(1, 2**22 // vectors.dimension)
    for start in range(0, len(positions), step):
        part = slice(start, start + step)
        result[part] = distances(query, vectors.rows(positions[part]), metric)
    return result


def everywhere(vectors: StoredVectors, query: np.ndarray, metric: Metric) -> np.ndarray:
    """Distances float64 [N] to all vectors."""
    result = np.empty(len(vectors), np.float64)
    for start, block in vectors.blocks():
        result[start : start + len(block)] = distances(query, block, metric)
    return result


def nearest(
    vectors: StoredVectors, query: np.ndarray, fetch: int, mask: np.ndarray | None, metric: Metric
) -> tuple[np.ndarray, float]:
    """The `fetch` nearest in float32, by a scan of everything that `mask` allows.

    Args:
        mask: bool [N]; None for all. At least `fetch` of it are True.

    Returns:
        positions int64 [fetch] in no order, and what float32 says of the last of them: its squared distance,
        or 1 - its inner product for `cosine`.
    """
    positions, values = np.zeros(0, np.int64), np.zeros(0, np.float32)
    # FAISS's stubs know one of several signatures.
    scan: Any = faiss.knn_inner_product if metric == "cosine" else faiss.knn_L2sqr
    asked = np.ascontiguousarray(query, np.float32)
    for start, block in vectors.blocks():
        allowed = None if mask is None else mask[start : start + len(block)]
        count = len(block) if allowed is None else int(np.count_nonzero(allowed))
        k = min(fetch, count)
        if not k:
            continue
        near, found = np.empty(k, np.float32), np.empty(k, np.int64)
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        pointers = (faiss.swig_ptr(asked), faiss.swig_ptr(block), vectors.dimension, 1, len(block), k)
        results = (faiss.swig_ptr(near), faiss.swig_ptr(found))
        if metric == "cosine":
            scan(*pointers, *results, selector)
            near = 1 - near
        else:
            scan(*pointers, *results, None, selector)
        positions, values = np.append(positions, found + start), np.append(values, near)
        if len(positions) > fetch:
            kept = np.argpartition(values, fetch - 1)[:fetch]
            positions, values = positions[kept], values[kept]
    return positions, float(values.max())
