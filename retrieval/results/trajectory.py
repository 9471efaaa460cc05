"""The way of a vehicle: which of the results are taken to be on it, in order of time."""

from collections.abc import Collection, Sequence

from retrieval.gallery.entries import Result
from zoo.sameness import LEAST_MATCH

LIKELY = 0.85
"""Of the best score; what reaches it is taken for the vehicle until the user has marked two images. Where
probabilities are known, it is what is likelier than not."""


def trajectory(results: Sequence[Result], marked: Collection[str]) -> list[Result]:
    """The results that a line joins: the marked ones, or without two of these the likely ones."""
    timed = [result for result in results if result.time is not None]
    chosen = [result for result in timed if result.key in marked]
    if len(chosen) < 2:
        best = max((result.score or 0 for result in timed), default=0)
        chosen = [result for result in timed if _is_likely(result, best)]
    return sorted(chosen, key=lambda result: (result.time or 0, result.rank))


def _is_likely(result: Result, best_score: float) -> bool:
    if result.probability is not None:
        return result.probability >= LEAST_MATCH
    return result.score is not None and result.score >= LIKELY * best_score
