"""The nearest neighbours of every image among all images, exactly, a square block of pairs at a time."""

from dataclasses import dataclass

import numba
import numpy as np
from tqdm import tqdm

BLOCK = 2048
"""Images on a side of a block of distances."""

STRETCH = 16
"""Pairs of a block that are looked at together."""


@dataclass(frozen=True)
class Neighbors:
    """Who is near whom.

    Attributes:
        index: int32 [N, k + 1]; each image itself, then its k nearest others, equally near ones by index.
        distances: [N, k], the squared distances to those others.
        farthest: [N], the squared distance from each image to the farthest of all.
    """

    index: np.ndarray
    distances: np.ndarray
    farthest: np.ndarray


def nearest_among(points: np.ndarray, k: int) -> Neighbors:
    """Find the `k` nearest others of each of `points`, [N, D], by Euclidean distance, in its number type.

    A distance is worked out once for both of its ends, so that the two always agree on it.
    """
    count = len(points)
    k = min(k, count - 1)
    squares = np.einsum("nd,nd->n", points, points)
    distances = np.full((count, k), np.inf, points.dtype)
    index = np.full((count, k), count, np.int32)
    worst = np.full(count, np.inf, points.dtype)
    farthest = np.zeros(count, points.dtype)
    blocks = [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    with tqdm(total=len(blocks) * (len(blocks) + 1) // 2, desc="neighbours", leave=False) as bar:
        for number, rows in enumerate(blocks):
            doubled = points[rows] * points.dtype.type(-2)
            for columns in blocks[number:]:
                block = doubled @ points[columns].T
                _finish(block, squares[rows], squares[columns], farthest[rows], farthest[columns])
                _offer(block, rows.start, columns.start, distances, index, worst)
                bar.update()
    itself = np.arange(count, dtype=np.int32)[:, None]
    return Neighbors(np.concatenate([itself, index], axis=1), distances, farthest)


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def _finish(  # type: ignore[no-untyped-def]
    block, row_squares, column_squares, row_farthest, column_farthest
) -> None:
    """Turn -2 x products into squared distances, and keep the greatest of each row and column."""
    zero = block.dtype.type(0)
    for r in range(block.shape[0]):
        row, square, greatest = block[r], row_squares[r], row_farthest[r]
        for c in range(block.shape[1]):
            distance = max(square + column_squares[c] + row[c], zero)
            row[c] = distance
            greatest = max(greatest, distance)
            column_farthest[c] = max(column_farthest[c], distance)
        row_farthest[r] = max(row_farthest[r], greatest)


@numba.njit(cache=True, nogil=True)
def _offer(  # type: ignore[no-untyped-def]
    block, first_row, first_column, distances, index, worst
) -> None:
    """Offer each pair of a block to both of its ends; of a block on the diagonal, the upper triangle only.

    `worst` holds each image's last distance so far. Most pairs are of no use to either end, which a stretch
    of them tells at once.
    """
    last = distances.shape[1] - 1
    for r in range(block.shape[0]):
        i, row = first_row + r, block[r]
        for start in range(r + 1 if first_row == first_column else 0, block.shape[1], STRETCH):
            end = min(start + STRETCH, block.shape[1])
            limit, useful = worst[i], 0
            for c in range(start, end):
                useful += (row[c] <= limit) | (row[c] <= worst[first_column + c])
            if not useful:
                continue
            for c in range(start, end):
                j, distance = first_column + c, row[c]
                if distance <= worst[i]:
                    _insert(distances[i], index[i], distance, j)
                    worst[i] = distances[i, last]
                if distance <= worst[j]:
                    _insert(distances[j], index[j], distance, i)
                    worst[j] = distances[j, last]


@numba.njit(cache=True, nogil=True)
def _insert(distances, index, distance, neighbor) -> None:  # type: ignore[no-untyped-def]
    """Put a neighbour into its place among the nearest so far, or nowhere."""
    place = len(distances)
    while place > 0 and (
        distance < distances[place - 1] or (distance == distances[place - 1] and neighbor < index[place - 1])
    ):
        place -= 1
    for later in range(len(distances) - 1, place, -1):
        distances[later] = distances[later - 1]
        index[later] = index[later - 1]
    if place < len(distances):
        distances[place] = distance
        index[place] = neighbor
