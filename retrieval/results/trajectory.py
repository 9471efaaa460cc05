"""The way of a vehicle: which of the results are taken to be on it, in order of time."""

from collections.abc import Collection, Sequence

from retrieval.gallery.entries import Result

LIKELY = 0.85
"""Of the best score; what reaches it is taken for the vehicle until the user has marked two images."""


def trajectory(results: Sequence[Result], marked: Collection[str]) -> list[Result]:
    """The results that a line joins: the marked ones, or without two of these the likely ones."""
    timed = [result for result in results if result.time is not None]
    chosen = [result for result in timed if result.key in marked]
    if len(chosen) < 2:
        best = max((result.score or 0 for result in timed), default=0)
        chosen = [result for result in timed if result.score is not None and result.score >= LIKELY * best]
    return sorted(chosen, key=lambda result: (result.time or 0, result.rank))
