"""Retrieval metrics by VeRi's protocol: mean average precision, cumulative match characteristic, mINP.

Gallery images of the query's own vehicle AND own camera are junk: they are taken out of the ranking before
it is judged (Liu et al., ECCV 2016; the protocol of Market-1501, Zheng et al., ICCV 2015). Average precision
is the mean, over a query's matches, of the precision at that match. The inverse negative penalty is the
precision at the last match: the share of matches among what has to be looked through to find them all (Ye et
al., Deep Learning for Person Re-identification, TPAMI 2021).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.datasets.records import Record
from training.evaluation.distances import (
    Embeddings,
    check_comparable,
    direct_distances,
    distance_rows,
    rounding,
)


@dataclass(frozen=True)
class RankMetrics:
    """Figures of one evaluation, as fractions of 1.

    Attributes:
        average_precision: float64 [Q]; NaN for a query without any match.
        first_match: int64 [Q], the 0-based rank of each query's first match; -1 for a query without any.
        inverse_negative_penalty: float64 [Q]; NaN for a query without any match.
    """

    average_precision: np.ndarray
    first_match: np.ndarray
    inverse_negative_penalty: np.ndarray

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
        return _mean(self.average_precision[self.first_match >= 0])

    @property
    def mean_inverse_negative_penalty(self) -> float:
        """mINP over the queries that have a match; NaN where none has."""
        return _mean(self.inverse_negative_penalty[self.first_match >= 0])

    def rank(self, k: int) -> float:
        """CMC at `k`: the share of queries with a match among their first `k`; `k` may exceed the gallery."""
        return _mean(self.first_match[self.first_match >= 0] < k)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


@dataclass(frozen=True)
class Labels:
    """Whose image is where.

    Attributes:
        query_ids, query_cameras: int [Q].
        gallery_ids, gallery_cameras: int [G]; of tracks, where tracks are searched.
    """

    query_ids: np.ndarray
    gallery_ids: np.ndarray
    query_cameras: np.ndarray
    gallery_cameras: np.ndarray

    @classmethod
    def of(cls, query: Sequence[Record], gallery: Sequence[Record]) -> "Labels":
        """The labels of queries and of what is searched."""
        return cls(
            query_ids=np.array([record.vehicle_id for record in query], np.int64),
            gallery_ids=np.array([record.vehicle_id for record in gallery], np.int64),
            query_cameras=np.array([record.camera_id for record in query], np.int64),
            gallery_cameras=np.array([record.camera_id for record in gallery], np.int64),
        )

    def check(self, num_queries: int, num_gallery: int) -> None:
        """Raise ValueError for labels of other lengths."""
        if (len(self.query_ids), len(self.query_cameras)) != (num_queries,) * 2:
            raise ValueError(
                f"{num_queries} queries with {len(self.query_ids)} ids and {len(self.query_cameras)} cameras"
            )
        if (len(self.gallery_ids), len(self.gallery_cameras)) != (num_gallery,) * 2:
            raise ValueError(
                f"{num_gallery} gallery images with {len(self.gallery_ids)} ids, "
                f"{len(self.gallery_cameras)} cameras"
            )

    def matches_and_junk(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each query the ascending gallery indices of its matches and of its junk."""
        order = np.argsort(self.gallery_ids, kind="stable")
        ordered = self.gallery_ids[order]
        for vehicle, camera in zip(self.query_ids, self.query_cameras, strict=True):
            start, end = np.searchsorted(ordered, vehicle, "left"), np.searchsorted(ordered, vehicle, "right")
            same = order[start:end]
            own_camera = self.gallery_cameras[same] == camera
            yield same[~own_camera], same[own_camera]


def rank_metrics(match_ranks: Iterable[np.ndarray]) -> RankMetrics:
    """Judge rankings, one entry a query: the ascending 0-based ranks of its matches, junk not counted."""
    precisions, firsts, penalties = [], [], []
    for ranks in match_ranks:
        if len(ranks) == 0:
            precisions.append(np.nan)
            firsts.append(-1)
            penalties.append(np.nan)
            continue
        precisions.append(float(np.mean(np.arange(1, len(ranks) + 1) / (ranks + 1.0))))
        firsts.append(int(ranks[0]))
        penalties.append(len(ranks) / (int(ranks[-1]) + 1))
    return RankMetrics(
        np.array(precisions, np.float64), np.array(firsts, np.int64), np.array(penalties, np.float64)
    )


def match_ranks_of_order(order: np.ndarray, match: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """The ranks of the matches in a ranking given as gallery indices, best first.

    Args:
        order: int [G], a permutation of the gallery.
        match: bool [G], gallery images of the query's vehicle at another camera.
        junk: bool [G], gallery images of the query's vehicle at its own camera.
    """
    kept = order[~junk[order]]
    return np.flatnonzero(match[kept])


def match_ranks_of_distances(
    distances: np.ndarray,
    matches: np.ndarray,
    junk: np.ndarray,
    tolerance: float = 0.0,
    exact: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """The ranks of the matches when the gallery is sorted by distance, equal distances by gallery index.

    Sorting the bare values and looking the matches up is several times faster than a stable argsort, and
    equal to it.

    Args:
        distances: [G]; the junk's are overwritten.
        matches, junk: gallery indices.
        tolerance: values no further apart than this are compared by `exact`.
        exact: distances of some gallery indices as they should be; without it `distances` are.
    """
    if len(matches) == 0:
        return matches
    distances[junk] = np.inf
    ordered, values = np.sort(distances), distances[matches]
    ranks = np.searchsorted(ordered, values - tolerance, side="left")
    ends = np.searchsorted(ordered, values + tolerance, side="right")
    doubtful = np.flatnonzero(ends - ranks > 1)
    if len(doubtful):
        near = np.zeros(len(distances), bool)
        for value in np.unique(values[doubtful]):
            near |= (distances >= value - tolerance) & (distances <= value + tolerance)
        settled = np.full(len(distances), np.nan)
        settled[near] = distances[near] if exact is None else exact(np.flatnonzero(near))
        for i in doubtful:
            value, own = values[i], settled[matches[i]]
            rivals = np.flatnonzero((distances >= value - tolerance) & (distances <= value + tolerance))
            before = (settled[rivals] < own) | ((settled[rivals] == own) & (rivals < matches[i]))
            ranks[i] += np.count_nonzero(before)
    return np.sort(ranks)


def judge_rows(rows: Iterable[np.ndarray], labels: Labels) -> RankMetrics:
    """Judge distances from any source, taken as they are: one row [G] a query, which is overwritten."""
    return rank_metrics(
        match_ranks_of_distances(row, matches, junk)
        for row, (matches, junk) in zip(rows, labels.matches_and_junk(), strict=True)
    )


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

    The order is that of distances summed by the definition in float64, whatever the blocks: what block
    arithmetic cannot tell apart is summed again. The memory needed is some 60 MB, however large the gallery.

    Args:
        query: [Q, D] embeddings.
        gallery: [G, D] embeddings.
        query_ids: vehicle ids, [Q].
        gallery_ids: vehicle ids, [G].
        query_cameras: camera ids, [Q].
        gallery_cameras: camera ids, [G].
        metric: `euclidean`, or `cosine` (compared as Euclidean after normalisation: the same order).

    Raises:
        ValueError: shapes that do not fit, an unknown metric, or an embedding that is not finite.
    """
    check_comparable(query, gallery)
    labels = Labels(query_ids, gallery_ids, query_cameras, gallery_cameras)
    labels.check(len(query), len(gallery))
    asked, known = Embeddings(query, metric), Embeddings(gallery, metric)
    tolerances = rounding(asked, known)

    def ranks() -> Iterator[np.ndarray]:
        rows = zip(distance_rows(asked, known), labels.matches_and_junk(), strict=True)
        for index, (row, (matches, junk)) in enumerate(rows):
            yield match_ranks_of_distances(
                row, matches, junk, tolerances[index], partial(_exact, asked, known, index)
            )

    return rank_metrics(ranks())


def _exact(query: Embeddings, gallery: Embeddings, index: int, some: np.ndarray) -> np.ndarray:
    """The distances by definition of a query to some of the gallery."""
    row = query.rows(slice(index, index + 1))[0]
    parts = np.array_split(some, 1 + len(some) // 1024)
    return np.concatenate([direct_distances(row, gallery.rows(part)) for part in parts])
