"""Queries worth looking at, and what was found for them."""

from dataclasses import dataclass

import numpy as np

from training.evaluation.distances import Embeddings, distance_rows
from training.evaluation.metrics import Labels
from training.evaluation.protocol import Embedded, Evaluation


@dataclass(frozen=True)
class RankedImage:
    """One gallery image of a ranking: its index, its rank from 1, its distance, and whether it is right."""

    index: int
    rank: int
    distance: float
    right: bool


@dataclass(frozen=True)
class Example:
    """A query's ranking, junk left out.

    Attributes:
        query: its index.
        average_precision: of it.
        first_right: the rank of the first right result, from 1.
        num_matches: images that are to be found.
        results: the first ones; where none of them is right, the first right one after them.
    """

    query: int
    average_precision: float
    first_right: int
    num_matches: int
    results: tuple[RankedImage, ...]


def choose(evaluation: Evaluation, vehicles: np.ndarray, count: int) -> dict[str, list[int]]:
    """Pick the queries with the worst, the median and the best average precision.

    No query is picked twice, and one vehicle once only, as long as there are others.

    Args:
        evaluation: of all queries.
        vehicles: their vehicle ids, [Q].
        count: of each kind.
    """
    precision = evaluation.ranking.average_precision
    judged = np.flatnonzero(~np.isnan(precision))
    order = judged[np.argsort(precision[judged], kind="stable")]
    median = np.median(precision[judged]) if len(judged) else 0.0
    around = order[np.argsort(np.abs(precision[order] - median), kind="stable")]
    taken: set[int] = set()
    seen: set[int] = set()
    chosen = {}
    for kind, candidates in (("worst", order), ("median", around), ("best", order[::-1])):
        fresh = [int(i) for i in candidates if int(i) not in taken]
        picks: list[int] = []
        for index in fresh:
            if len(picks) < count and int(vehicles[index]) not in seen:
                picks.append(index)
                seen.add(int(vehicles[index]))
        picks += [index for index in fresh if index not in picks][: count - len(picks)]
        taken.update(picks)
        chosen[kind] = picks
    return chosen


def look_up(found: Embedded, evaluation: Evaluation, queries: list[int], count: int) -> list[Example]:
    """Rank the gallery again for some queries, and keep the first `count` results."""
    if not queries:
        return []
    known = Embeddings(found.gallery.embedding, found.metric)
    asked = Embeddings(found.query.embedding[queries], found.metric)
    labels = Labels.of(found.query_records, found.gallery_records)
    examples = []
    for index, row, square in zip(queries, distance_rows(asked, known), asked.squares, strict=True):
        same = labels.gallery_ids == labels.query_ids[index]
        junk = same & (labels.gallery_cameras == labels.query_cameras[index])
        order = np.argsort(row, kind="stable")
        order = order[~junk[order]]
        first = int(np.flatnonzero(same[order])[0])
        shown = list(range(min(count, len(order))))
        if first >= count:
            shown.append(first)
        results = tuple(
            RankedImage(
                int(order[rank]),
                rank + 1,
                float(np.sqrt(max(row[order[rank]] + square, 0.0))),
                bool(same[order[rank]]),
            )
            for rank in shown
        )
        precision = float(evaluation.ranking.average_precision[index])
        examples.append(Example(index, precision, first + 1, int(same[order].sum()), results))
    return examples
