"""The way of a vehicle: which of the results a line joins, and which not."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Gap:
    """What lies between two sightings.

    Attributes:
        seconds: from the first to the second, negative where that was earlier; None where a time is unknown.
        metres: along the straight line; None where a place is unknown.
    """

    seconds: float | None
    metres: float | None

    @property
    def speed(self) -> float | None:
        """Kilometres an hour along the straight line; None where unknown, infinite for two places at once."""
        if self.metres is None or self.seconds is None:
            return None
        if not self.seconds:
            return math.inf if self.metres else None
        return 3.6 * self.metres / abs(self.seconds)

    @property
    def is_impossible(self) -> bool:
        """Whether no vehicle can have driven it."""
        return self.speed is not None and self.speed > FASTEST


def between(first: Result, second: Result) -> Gap:
    """What lies between two sightings."""
    seconds = None if first.time is None or second.time is None else second.time - first.time
    if first.place is None or second.place is None:
        return Gap(seconds, None)
    return Gap(seconds, float(metres_between(np.array(first.place), np.array(second.place))))


def between_cameras(legs: Sequence[Leg]) -> list[Leg]:
    """Those that lead from one camera to another: images of one pass say nothing of a way."""
    return [leg for leg in legs if leg[0].camera is None or leg[0].camera != leg[1].camera]


def _is_possible(leg: Leg) -> bool:
    """Whether a vehicle can have driven it; without known places, whether it is at one camera at a time."""
    earlier, later = leg
    gap = (later.time or 0) - (earlier.time or 0)
    if earlier.place is None or later.place is None:
        return gap > 0 or earlier.camera == later.camera
    return bool(metres_between(np.array(earlier.place), np.array(later.place)) <= FASTEST / 3.6 * gap)
