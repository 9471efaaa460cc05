"""Passes joined to journeys, without labels.

What two passes of one vehicle look like, and how long vehicles take from one camera to another, is learned
from the gallery itself: first of pairs, each by itself, then of whole vehicles.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from retrieval.gallery.geography import FASTEST
from retrieval.journeys.beliefs import pair_beliefs
from retrieval.journeys.candidates import find_pairs
from retrieval.journeys.passes import Passes
from retrieval.journeys.vehicles import same_vehicle

_SHOWN = 0.02
"""The certainty from which on a pair is a candidate that people are shown."""
_SURE = 0.999

Link = tuple[str, str]
"""Two passes by the keys of images of them, the earlier one first."""


@dataclass(frozen=True)
class LinkOptions:
    """How passes are joined.

    Attributes:
        within: seconds, the longest time between two passes of a journey that follow each other.
        certainty: the least one of a link that is proposed.
        fastest: kilometres an hour along the straight line, where places are known.
        uses_travel: whether travel times count; for comparisons.
    """

    within: float = 3600.0
    certainty: float = 0.5
    fastest: float = FASTEST
    uses_travel: bool = True


@dataclass(frozen=True, eq=False)
class Linked:
    """What `link` found.

    Attributes:
        earlier, later: rows of passes that may be of one vehicle, int64 [M].
        certainty: the probability that they are, float64 [M].
        is_chosen: whether the later one comes next in the earlier one's journey, bool [M].
    """

    earlier: np.ndarray
    later: np.ndarray
    certainty: np.ndarray
    is_chosen: np.ndarray

    def journeys(self, passes: int) -> list[list[int]]:
        """The rows of each journey of two passes or more, in order of time."""
        after = dict(
            zip(self.earlier[self.is_chosen].tolist(), self.later[self.is_chosen].tolist(), strict=True)
        )
        found = []
        for first in sorted(set(range(passes)) - set(after.values())):
            way = [first]
            while way[-1] in after:
                way.append(after[way[-1]])
            if len(way) > 1:
                found.append(way)
        return found


def link(
    passes: Passes,
    metric: str,
    options: LinkOptions | None = None,
    confirmed: Collection[Link] = (),
    cut: Collection[Link] = (),
) -> Linked:
    """Join passes to journeys.

    Args:
        passes: in order of time.
        metric: of their embeddings.
        options: how.
        confirmed, cut: what people say. Passes that follow each other, and passes of different vehicles.

    Returns:
        the candidates, and which of them were chosen: no pass has two that follow it or that it follows.
    """
    options = options or LinkOptions()
    pairs = find_pairs(passes, metric, options.within, options.fastest / 3.6)
    numbers = passes.numbers
    joined = {(numbers[a], numbers[b]) for a, b in confirmed if a in numbers and b in numbers}
    apart = {frozenset((numbers[a], numbers[b])) for a, b in cut if a in numbers and b in numbers}
    belief, looks = pair_beliefs(passes, pairs, options.within, options.uses_travel)
    parted = {(min(pair), max(pair)) for pair in apart}
    certainty = same_vehicle(
        passes, pairs, belief, looks, options.within, options.uses_travel, joined, parted
    )
    earlier = np.append(pairs.earlier, [a for a, _ in sorted(joined)]).astype(np.int64)
    later = np.append(pairs.later, [b for _, b in sorted(joined)]).astype(np.int64)
    certainty = np.append(certainty, np.ones(len(joined)))
    taken = {a for a, _ in joined}, {b for _, b in joined}
    for place, (a, b) in enumerate(zip(pairs.earlier.tolist(), pairs.later.tolist(), strict=True)):
        if a in taken[0] or b in taken[1] or frozenset((a, b)) in apart:
            certainty[place] = 0.0
    is_chosen = _choose(len(passes), earlier, later, certainty, options.certainty)
    kept = (certainty >= _SHOWN) | is_chosen
    linked = Linked(earlier[kept], later[kept], certainty[kept], is_chosen[kept])
    return _without_cut(linked, len(passes), apart)


def _choose(
    passes: int, earlier: np.ndarray, later: np.ndarray, certainty: np.ndarray, least: float
) -> np.ndarray:
    """The most certain links together, bool [M]: a pass has one before it and one after it at most."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    chosen = np.zeros(len(earlier), bool)
    good = np.flatnonzero(certainty >= least)
    if not len(good):
        return chosen
    odds = np.clip(certainty[good], 1 - _SURE, _SURE)
    weight = np.log(odds / (1 - odds)) - np.log(least / (1 - least))
    # Confirmed ones outweigh whatever speaks for others; what is just certain enough is more than nothing.
    weight = np.where(certainty[good] >= 1, 1e6, np.maximum(weight, 0.01))
    # Each pass may also be followed by nothing, which weighs 0: a column of its own.
    rows = np.append(earlier[good], np.arange(passes))
    columns = np.append(later[good], passes + np.arange(passes))
    # The library takes a weight of 0 for no edge.
    weights = np.append(weight, np.zeros(passes)) + 1.0
    graph = coo_array((weights, (rows, columns)), shape=(passes, 2 * passes)).tocsr()
    matched = min_weight_full_bipartite_matching(graph, maximize=True)
    follows = dict(zip(matched[0].tolist(), matched[1].tolist(), strict=True))
    for place in good.tolist():
        chosen[place] = follows[int(earlier[place])] == later[place]
    return chosen


def _without_cut(linked: Linked, passes: int, apart: Collection[frozenset[int]]) -> Linked:
    """Part each journey that joins passes of which people say that they are apart, where it is weakest."""
    is_chosen = linked.is_chosen.copy()
    place_of = {
        (a, b): place
        for place, (a, b) in enumerate(zip(linked.earlier.tolist(), linked.later.tolist(), strict=True))
        if is_chosen[place]
    }
    for pair in apart:
        now = Linked(linked.earlier, linked.later, linked.certainty, is_chosen)
        for way in now.journeys(passes):
            ends = sorted(way.index(row) for row in pair if row in way)
            if len(ends) == 2:
                between = [
                    place_of[a, b]
                    for a, b in zip(way[ends[0] :], way[ends[0] + 1 : ends[1] + 1], strict=False)
                ]
                is_chosen[min(between, key=lambda place: linked.certainty[place])] = False
    return Linked(linked.earlier, linked.later, linked.certainty, is_chosen)
