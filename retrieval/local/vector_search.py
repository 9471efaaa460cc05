"""The nearest rows: by an exact scan, or from the quantised index where that is quicker."""

import numpy as np

from retrieval.gallery.distances import Metric, is_settled
from retrieval.local import exact_search
from retrieval.local.centred_vectors import compared
from retrieval.local.snapshot import Derived
from retrieval.local.vectors import StoredVectors

SCANNED_ROWS = 1024
"""So many rows or fewer are compared one by one: exact, and quicker than the codes of a large gallery, whose
scan takes about as long as reading 1,000 single vectors does."""


def search(
    derived: Derived, query: np.ndarray, k: int, mask: np.ndarray | None, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of the rows that `mask` allows.

    Args:
        query: float32 [D], centred where the gallery centres.
        k: how many are wanted; 0 for all.
        mask: bool [N]; None for all rows.

    Returns:
        positions int64 and distances float64, at least min(k, rows allowed) of them, in no order.
    """
    vectors = compared(derived.vectors, derived.table["camera"], derived.means, metric)
    count = len(vectors) if mask is None else int(np.count_nonzero(mask))
    if mask is None and (k == 0 or count <= max(SCANNED_ROWS, 4 * k)):
        return np.arange(count), exact_search.everywhere(vectors, query, metric)
    if mask is not None and (k == 0 or count <= max(SCANNED_ROWS, 4 * k)):
        positions = np.flatnonzero(mask)
        return positions, exact_search.at(vectors, query, positions, metric)
    if derived.usable_index is not None:
        found = _quantised(derived, vectors, query, k, mask, metric)
        if len(found[0]) >= k:
            return found
    exact = _exact(vectors, query, k, mask, count, metric)
    if derived.index is not None:
        vectors.release()
    return exact


def _quantised(
    derived: Derived,
    vectors: StoredVectors,
    query: np.ndarray,
    k: int,
    mask: np.ndarray | None,
    metric: Metric,
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of the index, all rows that are too new to be in it, and those that it misplaces."""
    assert derived.index is not None
    indexed = len(derived.index)
    positions, values = derived.index.search(vectors, query, k, mask, metric)
    others = np.arange(indexed, len(vectors))
    if derived.drifted.size:
        others = np.setdiff1d(np.append(derived.drifted, others), positions)
    if mask is not None:
        others = others[mask[others]]
    if others.size:
        fresh = exact_search.at(vectors, query, others, metric)
        positions, values = np.append(positions, others), np.append(values, fresh)
    return positions, values


def _exact(
    vectors: StoredVectors, query: np.ndarray, k: int, mask: np.ndarray | None, count: int, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Scan in float32, more and more of the nearest, until its rounding cannot hide a nearer vector."""
    fetch = k + 32
    while 4 * fetch < count:
        positions, last = exact_search.nearest(vectors, query, fetch, mask, metric)
        values = exact_search.at(vectors, query, positions, metric)
        kth = float(np.partition(values, k - 1)[k - 1])
        if is_settled(query, last, kth, metric):
            return positions, values
        fetch *= 4
    if mask is None:
        return np.arange(count), exact_search.everywhere(vectors, query, metric)
    positions = np.flatnonzero(mask)
    return positions, exact_search.at(vectors, query, positions, metric)
