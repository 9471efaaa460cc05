"""Retrieval metrics by VeRi's protocol: mean average precision and the cumulative match characteristic.

Gallery images of the query's own vehicle AND own camera are junk: they are taken out of the ranking before
it is judged (Liu et al., ECCV 2016; the protocol of Market-1501, Zheng et al., ICCV 2015). Average precision
is the mean, over a query's matches, of the precision at that match.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

DISTANCE_CHUNK_BYTES = 32 * 2**20
"""Distances held at one time; larger chunks are no faster."""


@dataclass(frozen=True)
class RankMetrics:
    """Figures of one evaluation, as fractions of 1.

    Attributes:
        average_precision: float64 [Q]; NaN for a query without any match.
        first_match: int64 [Q], the 0-based rank of each query's first match; -1 for a query without any.
    """

    average_precision: np.ndarray
    first_match: np.ndarray

    @property
    def num_queries(self) -> int:
        """Queries given, those without a match included."""
        return len(self.first_match)

    @property
    def num_without_match(self) -> int:
        """Queries left out of the averages, because the gallery has nothing that could be found."""
        return int((self.first_match < 0).sum())

    @property
    def mean_average_precision(self) -> float:
        """mAP over the queries that have a match; NaN where none has."""
        valid = self.first_match >= 0
        return float(self.average_precision[valid].mean()) if valid.any() else float("nan")

    def rank(self, k: int) -> float:
        """CMC at `k`: the share of queries with a match among their first `k`; `k` may exceed the gallery."""
        first = self.first_match[self.first_match >= 0]
        return float((first < k).mean()) if len(first) else float("nan")


def rank_metrics(match_ranks: Iterable[np.ndarray]) -> RankMetrics:
    """Judge rankings, one entry a query: the ascending 0-based ranks of its matches, junk not counted."""
    precisions, firsts = [], []
    for ranks in match_ranks:
        if len(ranks) == 0:
            precisions.append(np.nan)
            firsts.append(-1)
            continue
        precisions.append(float(np.mean(np.arange(1, len(ranks) + 1) / (ranks + 1.0))))
        firsts.append(int(ranks[0]))
    return RankMetrics(np.array(precisions, np.float64), np.array(firsts, np.int64))


def match_ranks_of_order(order: np.ndarray, match: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """The ranks of the matches in a ranking given as gallery indices, best first.

    Args:
        order: int [G], a permutation of the gallery.
        match: bool [G], gallery images of the query's vehicle at another camera.
        junk: bool [G], gallery images of the query's vehicle at its own camera.
    """
    kept = order[~junk[order]]
    return np.flatnonzero(match[kept])


def match_ranks_of_distances(distances: np.ndarray, match: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """The ranks of the matches when the gallery is sorted by distance, equal distances by gallery index.

    Sorting the bare values and looking the matches up is several times faster than a stable argsort, and
    equal to it.
    """
    kept = distances[~junk]
    kept_match = match[~junk]
    matches = np.flatnonzero(kept_match)
    ordered = np.sort(kept)
    values = kept[matches]
    ranks = np.searchsorted(ordered, values, side="left")
    ends = np.searchsorted(ordered, values, side="right")
    for i in np.flatnonzero(ends - ranks > 1):
        ranks[i] += np.count_nonzero(kept[: matches[i]] == values[i])
    return np.sort(ranks)


def evaluate_ranking(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    metric: str = "euclidean",
) -> RankMetrics:
    """Rank the gallery for each query by embedding distance and judge the rankings.

    Args:
        query: [Q, D] embeddings.
        gallery: [G, D] embeddings.
        query_ids, gallery_ids: vehicle ids, [Q] and [G].
        query_cameras, gallery_cameras: camera ids, [Q] and [G].
        metric: `euclidean`, or `cosine` (compared as Euclidean after normalisation: the same order).

    Raises:
        ValueError: shapes that do not fit, an unknown metric, or an embedding that is not finite.
    """
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"embeddings of shapes {query.shape} and {gallery.shape} cannot be compared")
    if (len(query_ids), len(query_cameras)) != (len(query),) * 2:
        raise ValueError(f"{len(query)} queries with {len(query_ids)} ids and {len(query_cameras)} cameras")
    if (len(gallery_ids), len(gallery_cameras)) != (len(gallery),) * 2:
        raise ValueError(
            f"{len(gallery)} gallery images with {len(gallery_ids)} ids, {len(gallery_cameras)} cameras"
        )
    query, gallery = _float64(query, metric), _float64(gallery, metric)
    squares = np.einsum("gd,gd->g", gallery, gallery)

    def ranks() -> Iterable[np.ndarray]:
        chunk = max(1, DISTANCE_CHUNK_BYTES // (8 * max(1, len(gallery))))
        for start in range(0, len(query), chunk):
            # |q|^2 is the same for a whole row and so leaves its order alone.
            distances = squares - 2.0 * (query[start : start + chunk] @ gallery.T)
            for row, index in zip(distances, range(start, len(query)), strict=False):
                same = gallery_ids == query_ids[index]
                own_camera = gallery_cameras == query_cameras[index]
                yield match_ranks_of_distances(row, same & ~own_camera, same & own_camera)

    return rank_metrics(ranks())


def _float64(embeddings: np.ndarray, metric: str) -> np.ndarray:
    values = np.asarray(embeddings, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("an embedding is not finite")
    if metric == "cosine":
        return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    if metric != "euclidean":
        raise ValueError(f"metric {metric!r}: expected euclidean or cosine")
    return values
