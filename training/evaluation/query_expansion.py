"""Query expansion: search again with the mean of a query and what it found first.

Average query expansion (Chum et al., ICCV 2007) gives all of them the same weight; alpha query expansion
(Radenovic et al., TPAMI 2019) the alpha-th power of the cosine of their angle to the query.
"""

from dataclasses import dataclass

import numpy as np

from training.evaluation.distances import Embeddings, check_comparable, distance_rows


@dataclass(frozen=True)
class Expansion:
    """How many results are added to a query, and the power of their weights; 0 is the plain average."""

    results: int = 5
    alpha: float = 3.0

    def __post_init__(self) -> None:
        if self.results < 1 or self.alpha < 0:
            raise ValueError(f"{self}: at least 1 result, and an alpha of at least 0")


def expand_queries(
    query: np.ndarray, gallery: np.ndarray, metric: str = "euclidean", options: Expansion | None = None
) -> np.ndarray:
    """Replace each query by the weighted mean of itself and its first results, whosever they are.

    No label is looked at: pictures of the query's own camera are among the results as they are in a search.

    Returns:
        float64 [Q, D]; of `cosine` embeddings, the mean of those at unit length.

    Raises:
        ValueError: shapes that do not fit, an unknown metric, or an embedding that is not finite.
    """
    options = options or Expansion()
    check_comparable(query, gallery)
    asked, known = Embeddings(query, metric), Embeddings(gallery, metric)
    expanded = np.empty(query.shape)
    for index, row in enumerate(distance_rows(asked, known)):
        image = asked.rows(slice(index, index + 1))[0]
        first = nearest(row, options.results)
        found = known.rows(first)
        lengths = np.sqrt(asked.squares[index] * known.squares[first])
        cosines = np.clip(found @ image / np.where(lengths > 0, lengths, 1.0), 0.0, 1.0)
        weights = cosines**options.alpha
        expanded[index] = (image + weights @ found) / (1.0 + weights.sum())
    return expanded


def nearest(distances: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` least of `distances`, in order, equal ones by index."""
    if count < len(distances):
        limit = np.partition(distances, count - 1)[count - 1]
        candidates = np.flatnonzero(distances <= limit)
    else:
        candidates = np.arange(len(distances))
    return candidates[np.argsort(distances[candidates], kind="stable")][:count]
