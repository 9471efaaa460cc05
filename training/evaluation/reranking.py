"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) in memory that grows with the images, not with their
square.

An image is described by whom it is a mutual neighbour of, and two images are alike that are described alike.
Almost all weights of such a description are 0, so that sparse rows and an inverted index hold them all; a
query's row of final distances is made when it is judged.

Conventions, where the paper leaves room: an image is the first of its own neighbours, equally near ones come
by index, and `k1` counts the others; distances are squared and divided by the greatest from that image before
they become weights or are mixed; a description's weights are scaled to sum 1; `k2` counts the image itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from training.evaluation.distances import Embeddings, check_comparable, distance_rows
from training.evaluation.neighbors import Neighbors, nearest_among

DESCRIBED_AT_ONCE = 4096
"""Images whose sparse rows are made before they are packed."""


@dataclass(frozen=True)
class Reranking:
    """The paper's k1 and k2, and its lambda: the share of the plain distance in the final one."""

    k1: int = 20
    k2: int = 6
    plain_share: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0.0 <= self.plain_share <= 1.0:
            raise ValueError(f"{self}: k1 and k2 count from 1, and the share lies in 0..1")


@dataclass(frozen=True)
class SparseRows:
    """Rows of weights that are 0 but for a few; row i's are at `starts[i]:starts[i + 1]`, by column."""

    starts: np.ndarray
    columns: np.ndarray
    weights: np.ndarray


def reranked_rows(
    query: np.ndarray, gallery: np.ndarray, metric: str = "euclidean", options: Reranking | None = None
) -> Iterator[np.ndarray]:
    """Each query's final distances to the gallery: float64 [G].

    Args:
        query: [Q, D] embeddings.
        gallery: [G, D] embeddings. Neighbours are found in float32, and in float64 where either is float64 or
            float32 does not tell them apart.
        metric: `euclidean` or `cosine`.
        options: k1, k2 and lambda.

    Raises:
        ValueError: shapes that do not fit, an unknown metric, or an embedding that is not finite.
    """
    options = options or Reranking()
    check_comparable(query, gallery)
    asked, known = Embeddings(query, metric), Embeddings(gallery, metric)
    precise = np.float64 in (query.dtype, gallery.dtype)
    return _final_rows(asked, known, np.float64 if precise else np.float32, options)


def _final_rows(
    query: Embeddings, gallery: Embeddings, dtype: type[np.floating], options: Reranking
) -> Iterator[np.ndarray]:
    """Prepare when the first row is asked for, so that wrong arguments are refused before."""
    points = _joined(query, gallery, dtype)
    neighbors = nearest_among(points, options.k1)
    if dtype is np.float32 and not _are_told_apart(neighbors, options):
        points = _joined(query, gallery, np.float64)
        neighbors = nearest_among(points, options.k1)
    described = mean_of_neighbors(describe(points, neighbors), neighbors, options.k2)
    del points
    inverted = invert(described, len(query), len(gallery))
    jaccard = _jaccard_rows(described, inverted, len(query), len(gallery))
    for index, (row, distances) in enumerate(zip(distance_rows(query, gallery), jaccard, strict=True)):
        plain = np.maximum(row + query.squares[index], 0.0) / (neighbors.farthest[index] or 1.0)
        yield options.plain_share * plain + (1.0 - options.plain_share) * distances


def jaccard_rows(points: np.ndarray, options: Reranking | None = None) -> Iterator[np.ndarray]:
    """Each image's Jaccard distance to every image, itself among them: float64 [N], the paper's equation 10.

    Args:
        points: float32 or float64 [N, D], compared by Euclidean distance.
        options: k1 and k2.
    """
    options = options or Reranking()
    neighbors = nearest_among(points, options.k1)
    described = mean_of_neighbors(describe(points, neighbors), neighbors, options.k2)
    return _jaccard_rows(described, invert(described, 0, len(points)), len(points), len(points))


def _jaccard_rows(
    described: SparseRows, inverted: SparseRows, rows: int, columns: int
) -> Iterator[np.ndarray]:
    """The distances of the first `rows` descriptions to the `columns` that were turned around."""
    shared = np.zeros(columns)
    for index in range(rows):
        own = slice(described.starts[index], described.starts[index + 1])
        shared[:] = 0.0
        _share(
            described.columns[own],
            described.weights[own],
            inverted.starts,
            inverted.columns,
            inverted.weights,
            shared,
        )
        # Of two rows of sum 1 the minima sum to s and the maxima to 2 - s.
        yield 1.0 - shared / (2.0 - shared)


def _joined(query: Embeddings, gallery: Embeddings, dtype: type[np.floating]) -> np.ndarray:
    """Both as seen from one of them, [Q + G, D]: close together far from 0, products would tell nothing."""
    points = np.empty((len(query) + len(gallery), query.values.shape[1]), dtype)
    origin = gallery.rows(slice(0, 1)) if len(gallery) else 0.0
    for embeddings, start in ((query, 0), (gallery, len(query))):
        for rows in embeddings.blocks():
            points[start + rows.start : start + rows.stop] = embeddings.rows(rows) - origin
    return points


def _are_told_apart(neighbors: Neighbors, options: Reranking) -> bool:
    """Whether the nearest neighbours that are counted off lie well above what float32 rounds away."""
    counted = max(1, min(options.k2 - 1, options.k1 // 2, neighbors.distances.shape[1]))
    hidden = 1000 * np.finfo(np.float32).eps * neighbors.farthest
    return not neighbors.distances.shape[1] or bool((neighbors.distances[:, counted - 1] >= hidden).all())


def describe(points: np.ndarray, neighbors: Neighbors) -> SparseRows:
    """Weigh each image's extended mutual neighbours: the paper's equations 3, 5 and 7."""
    k1 = neighbors.index.shape[1] - 1
    width = (k1 + 1) * (k1 // 2 + 2)
    parts = []
    for start in range(0, len(points), DESCRIBED_AT_ONCE):
        rows = np.arange(start, min(start + DESCRIBED_AT_ONCE, len(points)))
        columns = np.empty((len(rows), width), np.int32)
        weights = np.empty((len(rows), width), points.dtype)
        counts = np.empty(len(rows), np.int64)
        _describe(points, neighbors.index, neighbors.farthest, rows, columns, weights, counts)
        used = np.arange(width) < counts[:, None]
        parts.append((counts, columns[used], weights[used]))
    return _pack(parts)


def mean_of_neighbors(rows: SparseRows, neighbors: Neighbors, k2: int) -> SparseRows:
    """Average each row with those of the nearest neighbours: the paper's equation 11."""
    k2 = min(k2, neighbors.index.shape[1])
    count = len(neighbors.index)
    scratch, parts = np.zeros(count), []
    lengths = np.diff(rows.starts)
    for start in range(0, count, DESCRIBED_AT_ONCE):
        near = neighbors.index[start : start + DESCRIBED_AT_ONCE, :k2]
        room = int(lengths[near].sum())
        columns, weights = np.empty(room, np.int32), np.empty(room, rows.weights.dtype)
        counts = np.empty(len(near), np.int64)
        filled = _average(rows.starts, rows.columns, rows.weights, near, scratch, columns, weights, counts)
        parts.append((counts, columns[:filled].copy(), weights[:filled].copy()))
    return _pack(parts)


def invert(rows: SparseRows, first: int, count: int) -> SparseRows:
    """Turn the `count` rows from `first` on around: for each column, the rows that have it, from 0."""
    begin, end = rows.starts[first], rows.starts[first + count]
    columns = rows.columns[begin:end]
    order = np.argsort(columns, kind="stable")
    owners = np.repeat(np.arange(count, dtype=np.int32), np.diff(rows.starts[first : first + count + 1]))
    lengths = np.bincount(columns, minlength=len(rows.starts) - 1)
    return SparseRows(_starts(lengths), owners[order], rows.weights[begin:end][order])


def _pack(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> SparseRows:
    counts, columns, weights = (np.concatenate(values) for values in zip(*parts, strict=True))
    return SparseRows(_starts(counts), columns, weights)


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


@numba.njit(cache=True, nogil=True)
def _mutual(index, image, k, found) -> int:  # type: ignore[no-untyped-def]
    """Write the k-reciprocal neighbours of an image, itself among them, to `found`; returns their number."""
    count = 0
    for place in range(k + 1):
        neighbor = index[image, place]
        if _holds(index[neighbor], k + 1, image):
            found[count] = neighbor
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _holds(values, count, value) -> bool:  # type: ignore[no-untyped-def]
    """Whether `value` is among the first `count`."""
    for place in range(count):  # noqa: SIM110, numba has no any()
        if values[place] == value:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _describe(  # type: ignore[no-untyped-def]
    points, index, farthest, rows, columns, weights, counts
) -> None:
    k1 = index.shape[1] - 1
    near = np.empty(k1 + 1, np.int32)
    for r in range(len(rows)):
        image, found = rows[r], columns[r]
        mutual = _mutual(index, image, k1, found)
        count = mutual
        for member in range(mutual):
            size = _mutual(index, found[member], k1 // 2, near)
            common = 0
            for place in range(size):
                common += _holds(found, mutual, near[place])
            if 3 * common >= 2 * size:
                for place in range(size):
                    if not _holds(found, count, near[place]):
                        found[count] = near[place]
                        count += 1
        scale = 1.0 / farthest[image] if farthest[image] > 0 else 1.0
        total = 0.0
        for member in range(count):
            squared = 0.0
            for d in range(points.shape[1]):
                squared += (points[image, d] - points[found[member], d]) ** 2
            weights[r, member] = np.exp(-squared * scale)
            total += weights[r, member]
        for member in range(count):
            weights[r, member] /= total
        counts[r] = count


@numba.njit(cache=True, nogil=True)
def _average(  # type: ignore[no-untyped-def]
    starts, columns, weights, near, scratch, mean_columns, mean_weights, counts
) -> int:
    """Write the mean rows one after the other; `scratch` is all 0 before and after."""
    filled = 0
    for r in range(near.shape[0]):
        begin = filled
        for place in range(near.shape[1]):
            neighbor = near[r, place]
            for at in range(starts[neighbor], starts[neighbor + 1]):
                if scratch[columns[at]] == 0.0:
                    mean_columns[filled] = columns[at]
                    filled += 1
                scratch[columns[at]] += weights[at]
        for at in range(begin, filled):
            mean_weights[at] = scratch[mean_columns[at]] / near.shape[1]
            scratch[mean_columns[at]] = 0.0
        counts[r] = filled - begin
    return filled


@numba.njit(cache=True, nogil=True)
def _share(  # type: ignore[no-untyped-def]
    columns, weights, starts, owners, owned, shared
) -> None:
    """Add up, for each gallery image, the minima of its weights and the query's."""
    for c in range(len(columns)):
        for at in range(starts[columns[c]], starts[columns[c] + 1]):
            shared[owners[at]] += min(weights[c], owned[at])
