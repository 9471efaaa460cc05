"""The way of a vehicle: which of the results a line joins, and which not."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np

from retrieval.gallery.entries import Result
from retrieval.gallery.geography import FASTEST, metres_between
from zoo.sameness import LEAST_MATCH

Leg = tuple[Result, Result]
"""Two results that follow each other, the earlier one first."""


def trajectory(
    results: Sequence[Result], marked: Collection[str], journeys: Mapping[str, str] | None = None
) -> list[Leg]:
    """What a line joins, in order of time: what the user has marked, else one journey, else what is likely.

    Nothing is joined that a vehicle cannot have driven, and nothing that looks alike only.

    Args:
        results: that may be joined.
        marked: keys of those that the user says are the vehicle; they count from two on.
        journeys: of each result by key, as passes were linked; that of the first result is drawn.
    """
    timed = sorted(
        (result for result in results if result.time is not None),
        key=lambda result: (result.time or 0, result.rank),
    )
    chosen = [result for result in timed if result.key in marked]
    if len(chosen) < 2:
        best = min(timed, key=lambda result: result.rank, default=None)
        known = journeys or {}
        name = None if best is None else known.get(best.key)
        chosen = [result for result in timed if name is not None and known.get(result.key) == name]
    if len(chosen) < 2:
        chosen = [result for result in timed if (result.probability or 0) >= LEAST_MATCH]
    return [leg for leg in pairwise(chosen) if _is_possible(leg)]


def _is_possible(leg: Leg) -> bool:
    """Whether a vehicle can have driven it; without known places, whether it is at one camera at a time."""
    earlier, later = leg
    gap = (later.time or 0) - (earlier.time or 0)
    if earlier.place is None or later.place is None:
        return gap > 0 or earlier.camera == later.camera
    return bool(metres_between(np.array(earlier.place), np.array(later.place)) <= FASTEST / 3.6 * gap)
