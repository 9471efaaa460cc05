"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) of the head of a ranking.

An image is described by whom it is a mutual neighbour of, and two images are alike that are described alike.
Neighbours are looked for among the query and the head alone, whose distances fit into one small matrix.
"""

import numpy as np

K1, K2, PLAIN_SHARE = 20, 6, 0.3
HEAD = 100


def reranked_distances(query: np.ndarray, head: np.ndarray) -> np.ndarray:
    """The paper's final distances of a query [D] to the head of its ranking [M, D]: float64 [M].

    Embeddings of a `cosine` model are of unit length, so that Euclidean distance serves both metrics.
    """
    points = np.concatenate([query[None], head]).astype(np.float64)
    # Far from 0 and close together, the products would lose the digits that tell the distances apart.
    points -= points[0]
    squares = np.square(points).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares[None] - 2 * points @ points.T, 0)
    np.fill_diagonal(squared, 0)
    farthest = squared.max(axis=1)
    squared /= np.where(farthest > 0, farthest, 1)[:, None]
    count = len(points)
    # Each image is the first of its own neighbours, equally near ones come by index.
    ordering = squared.copy()
    np.fill_diagonal(ordering, -1)
    order = np.argsort(ordering, axis=1, kind="stable")
    k1 = min(K1, count - 1)
    mutual, near = _mutual(order, k1), _mutual(order, k1 // 2)
    weights = np.zeros((count, count))
    for image in range(count):
        members = mutual[image].copy()
        for other in np.flatnonzero(mutual[image]):
            # A neighbour's own neighbours join where two thirds of them are known already.
            if 3 * np.count_nonzero(near[other] & mutual[image]) >= 2 * np.count_nonzero(near[other]):
                members |= near[other]
        weights[image, members] = np.exp(-squared[image, members])
    weights /= weights.sum(axis=1, keepdims=True)
    weights = weights[order[:, : min(K2, count)]].mean(axis=1)
    shared = np.minimum(weights[0], weights[1:]).sum(axis=1)
    jaccard = 1 - shared / (2 - shared)
    return np.asarray(PLAIN_SHARE * squared[0, 1:] + (1 - PLAIN_SHARE) * jaccard)


def _mutual(order: np.ndarray, k: int) -> np.ndarray:
    """Which images are among each other's k nearest, bool [N, N]; each image is its own."""
    among = np.zeros(order.shape, bool)
    np.put_along_axis(among, order[:, : k + 1], True, axis=1)
    return among & among.T
