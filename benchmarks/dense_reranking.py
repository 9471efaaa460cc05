"""k-reciprocal re-ranking with matrices of all pairs, as it is usually written: what needs the square."""

import numpy as np

from training.evaluation.reranking import Reranking


def dense_rows(query: np.ndarray, gallery: np.ndarray, options: Reranking) -> np.ndarray:
    """Final distances, float32 [Q, G], by the conventions of `training.evaluation.reranking`."""
    points = np.concatenate([query, gallery]).astype(np.float32)
    squares = np.einsum("nd,nd->n", points, points)
    plain = points @ points.T
    plain *= -2.0
    plain += squares
    plain += squares[:, None]
    np.fill_diagonal(plain, -1.0)
    near = np.argsort(plain, axis=1).astype(np.int32)
    np.maximum(plain, 0.0, out=plain)
    plain /= plain.max(axis=1, keepdims=True)
    weights = np.zeros_like(plain)
    k1, half = options.k1, options.k1 // 2
    for image in range(len(points)):
        core = _mutual(near, image, k1)
        found = core
        for member in core:
            more = _mutual(near, member, half)
            if 3 * len(np.intersect1d(more, core)) >= 2 * len(more):
                found = np.append(found, more)
        found = np.unique(found)
        row = np.exp(-plain[image, found])
        weights[image, found] = row / row.sum()
    mean = np.empty_like(weights)
    for image in range(len(points)):
        mean[image] = weights[near[image, : options.k2]].mean(axis=0)
    del weights, near
    final = np.empty((len(query), len(gallery)), np.float32)
    holders = [np.flatnonzero(column) for column in mean[len(query) :].T]
    for image in range(len(query)):
        shared = np.zeros(len(gallery), np.float32)
        for column in np.flatnonzero(mean[image]):
            holder = holders[column]
            shared[holder] += np.minimum(mean[image, column], mean[len(query) + holder, column])
        jaccard = 1.0 - shared / (2.0 - shared)
        final[image] = (
            options.plain_share * plain[image, len(query) :] + (1.0 - options.plain_share) * jaccard
        )
    return final


def _mutual(near: np.ndarray, image: int, k: int) -> np.ndarray:
    forward = near[image, : k + 1]
    return forward[(near[forward, : k + 1] == image).any(axis=1)]
