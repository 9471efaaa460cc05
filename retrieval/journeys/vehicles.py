"""Passes parted into vehicles, by sampling: what is probable is what most samples have in common.

A sample parts all passes into chains, the passes of a vehicle in order of time. What speaks for a chain are
the times from pass to pass, and how alike each pass is to those before it. Passes move from chain to chain
(Gibbs sampling), and chains exchange what follows on a pass (Metropolis-Hastings), as in the data
association of Oh, Russell and Sastry (IEEE TAC 2009).
"""

import math
import random
from bisect import bisect_left
from collections.abc import Collection
from itertools import pairwise

import numpy as np

from retrieval.journeys.candidates import Pairs
from retrieval.journeys.following import Following
from retrieval.journeys.passes import Passes

_SWEEPS = 60
_BURN_IN = 30
"""Sweeps that are not counted; in them travel times are learned anew each time, later every fifth."""
_RELEARN = 5
_CANDIDATE = -3.0
_BELIEVED = 0.02
"""Pairs whose looks say less, and that are less probable by themselves, are no candidates."""
_AGAINST = -4.0
"""What is said of pairs that are no candidates, and the least of any."""
_FOR = 6.0
"""The most that looks say."""
_CERTAIN = 30.0
"""What people say counts for more than looks."""
_TOGETHER = 0.2
_ENOUGH = 4
"""What N passes say on average counts N to this power times, for it is surer; N is at most so many."""
_NEGLECTED = -12.0
"""Vehicles that a pass is of with less than e to this power times the odds of being new are not counted."""
_SEED = 0

_Terms = list[tuple[float, int]]


def same_vehicle(
    passes: Passes,
    pairs: Pairs,
    belief: np.ndarray,
    looks: np.ndarray,
    within: float,
    uses_travel: bool,
    joined: Collection[tuple[int, int]] = (),
    apart: Collection[tuple[int, int]] = (),
) -> np.ndarray:
    """The probability of each pair that both passes are of one vehicle, float64 [M].

    Args:
        passes: in order of time.
        pairs: of them, M.
        belief: the probability of each by itself, float64 [M].
        looks: log-likelihood ratio of what each looks like, float64 [M].
        within: seconds, the longest time between two passes that follow each other.
        uses_travel: whether travel times count.
        joined, apart: rows that people say are of one vehicle, and of two; the earlier one first.
    """
    looks = looks.clip(_AGAINST, _FOR)
    for said, value in ((joined, _CERTAIN), (apart, -_CERTAIN)):
        if said:
            rows = pairs.earlier * len(passes) + pairs.later
            looks[np.isin(rows, [a * len(passes) + b for a, b in said])] = value
    kept = np.flatnonzero((looks > _CANDIDATE) | (belief > _BELIEVED) | (looks == -_CERTAIN))
    certainty = np.zeros(len(pairs.earlier))
    if len(kept):
        sampler = _Sampler(passes, pairs.of(kept), belief[kept], looks[kept], within, uses_travel)
        certainty[kept] = sampler.run()
    return certainty


class _Sampler:
    """Chains of passes. Chains are lists of rows, in order of time, by a number of their own."""

    def __init__(
        self,
        passes: Passes,
        pairs: Pairs,
        belief: np.ndarray,
        looks: np.ndarray,
        within: float,
        uses_travel: bool,
    ) -> None:
        # Plain lists, because single numbers are read.
        self._start, self._end = passes.start.tolist(), passes.end.tolist()
        self._camera = passes.camera.tolist()
        self._within = within
        self._looks: list[float] = looks.tolist()
        self._pairs: list[dict[int, int]] = [{} for _ in range(len(passes))]
        for number, (one, other) in enumerate(zip(pairs.earlier.tolist(), pairs.later.tolist(), strict=True)):
            self._pairs[one][other] = self._pairs[other][one] = number
        self._after = [[other for other in found if other > row] for row, found in enumerate(self._pairs)]
        self._chain = list(range(len(passes)))
        self._chains = {row: [row] for row in self._chain}
        self._terms: _Terms = [(0.0, 0)] * len(passes)
        self._number = len(passes)
        self._power: list[float] = [0.0]
        self._power += [min(count, _ENOUGH) ** _TOGETHER / count for count in range(1, len(passes) + 1)]
        self._random = random.Random(_SEED)
        self._following = Following(passes, pairs, within, uses_travel)
        self._follows: list[float] = self._following.evidence(belief).tolist()
        self._summed = [0.0] * len(looks)

    def run(self) -> np.ndarray:
        """The probability of each pair that both passes are in one chain, float64 [M]."""
        rows = list(range(len(self._chain)))
        for sweep in range(_SWEEPS):
            self._random.shuffle(rows)
            for row in rows:
                self._move(row, is_counted=sweep >= _BURN_IN)
                self._exchange(row)
            if sweep < _BURN_IN or sweep % _RELEARN == 0:
                self._follows = self._following.evidence(self._links()).tolist()
        return np.array(self._summed) / (_SWEEPS - _BURN_IN)

    def _links(self) -> np.ndarray:
        links = np.zeros(len(self._looks))
        for chain in self._chains.values():
            for one, other in pairwise(chain):
                links[self._pairs[one][other]] = 1
        return links

    def _value(self, chain: list[int]) -> tuple[float, _Terms] | None:
        """The log-likelihood of a chain, and of each of its passes how alike it is to how many before it.

        None where no vehicle goes such a way.
        """
        value, terms = 0.0, []
        for place, row in enumerate(chain):
            if place:
                link = self._pairs[row].get(chain[place - 1])
                if link is None:
                    return None
                value += self._follows[link]
            term = self._likeness(row, chain[:place])
            if term is None:
                return None
            value += term[0] * self._power[term[1]]
            terms.append(term)
        return value, terms

    def _values(self, chains: list[list[int]]) -> list[tuple[float, _Terms]] | None:
        """Those of all these chains, None where one of them is impossible."""
        valued = []
        for chain in chains:
            value = self._value(chain)
            if value is None:
                return None
            valued.append(value)
        return valued

    def _likeness(self, row: int, before: list[int]) -> tuple[float, int] | None:
        """What looks say of a pass and those before it in sum, and their number; None if cameras repeat."""
        pairs, camera = self._pairs[row], self._camera[row]
        since = self._start[row] - self._within
        alike, count = 0.0, 0
        for other in reversed(before):
            if self._end[other] < since:
                break
            if self._camera[other] == camera:
                return None
            pair = pairs.get(other)
            alike += _AGAINST if pair is None else self._looks[pair]
            count += 1
        return alike, count

    def _gain(self, row: int, chain: list[int]) -> float | None:
        """What a pass adds to the log-likelihood of a chain, None where it cannot be one of it."""
        pairs = self._pairs[row]
        place = bisect_left(chain, row)
        gain = 0.0
        for neighbour in chain[max(place - 1, 0) : place + 1]:
            link = pairs.get(neighbour)
            if link is None:
                return None
            gain += self._follows[link]
        if 0 < place < len(chain):
            gain -= self._follows[self._pairs[chain[place - 1]][chain[place]]]
        term = self._likeness(row, chain[:place])
        if term is None:
            return None
        gain += term[0] * self._power[term[1]]
        until = self._end[row] + self._within
        for other in chain[place:]:
            if self._start[other] > until:
                break
            if self._camera[other] == self._camera[row]:
                return None
            pair = pairs.get(other)
            alike, count = self._terms[other]
            more = alike + (_AGAINST if pair is None else self._looks[pair])
            gain += more * self._power[count + 1] - alike * self._power[count]
        return gain

    def _put(self, chain: list[int], terms: _Terms) -> None:
        """Add a chain under a number of its own."""
        self._chains[self._number] = chain
        for row, term in zip(chain, terms, strict=True):
            self._chain[row], self._terms[row] = self._number, term
        self._number += 1

    def _move(self, row: int, is_counted: bool) -> None:
        """Move a pass to a chain by their odds, or to one of its own."""
        old = self._chain[row]
        rest = [other for other in self._chains[old] if other != row]
        valued = self._value(rest)
        if valued is None:
            # The others are no chain without it, so it stays.
            if is_counted:
                self._count(row, {old: 1.0})
            return
        del self._chains[old]
        self._chain[row] = -1
        if rest:
            self._put(rest, valued[1])
        numbers, gains = [-1], [0.0]
        # In an order that does not hang on the numbers.
        for number in dict.fromkeys(self._chain[other] for other in self._pairs[row]):
            gain = self._gain(row, self._chains[number])
            if gain is not None and gain > _NEGLECTED:
                numbers.append(number)
                gains.append(gain)
        most = max(gains)
        odds = [math.exp(gain - most) for gain in gains]
        if is_counted:
            total = sum(odds)
            self._count(row, {number: each / total for number, each in zip(numbers, odds, strict=True)})
        number = self._random.choices(numbers, odds)[0]
        joined = sorted([*self._chains.pop(number, []), row])
        valued = self._value(joined)
        assert valued is not None
        self._put(joined, valued[1])

    def _count(self, row: int, share: dict[int, float]) -> None:
        """Count how probably a pass is in the chains of others; pairs are counted from both sides."""
        for other, pair in self._pairs[row].items():
            self._summed[pair] += share.get(self._chain[other], 0.0) / 2

    def _exchange(self, row: int) -> None:
        """Let another pass follow on this one, or none, as odds allow; tails change places."""
        after = self._after[row]
        if not after:
            return
        picked = self._random.randrange(len(after) + 1)
        chain = self._chains[self._chain[row]]
        head, tail = _halves(chain, chain.index(row) + 1)
        before, changed, back = [chain], [head, tail], 0.0
        if picked < len(after):
            other = self._chains[self._chain[after[picked]]]
            if other is chain:
                return
            other_head, other_tail = _halves(other, other.index(after[picked]))
            if other_head and tail and other_head[-1] > tail[0]:
                return
            before, changed = [chain, other], [head + other_tail, other_head + tail]
            if other_head and not tail:
                # It is the other one's last pass that would take it back, and picks among others.
                back = math.log((len(after) + 1) / (len(self._after[other_head[-1]]) + 1))
        valued = self._values(changed)
        if valued is None:
            return
        was = self._values(before)
        assert was is not None
        gain = back
        for value, _ in valued:
            gain += value
        for value, _ in was:
            gain -= value
        if gain < 0 and self._random.random() >= math.exp(gain):
            return
        for each in before:
            del self._chains[self._chain[each[0]]]
        for each, (_, terms) in zip(changed, valued, strict=True):
            if each:
                self._put(each, terms)


def _halves(chain: list[int], place: int) -> tuple[list[int], list[int]]:
    return chain[:place], chain[place:]
