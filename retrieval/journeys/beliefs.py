"""Which pairs of passes are of one vehicle, each by itself: where sampling begins."""

import numpy as np

from retrieval.journeys.candidates import Pairs
from retrieval.journeys.evidence import Strangers, look_evidence, travel_evidence
from retrieval.journeys.passes import Passes

_ROUNDS = 15
_CLASS_WEIGHT = 0.5
"""Of colours and types, which come from the same network as the looks."""
_MESSAGES = 4
"""Rounds of belief propagation; more change nothing that shows."""


def pair_beliefs(
    passes: Passes, pairs: Pairs, within: float, uses_travel: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Looks and travel times, learned from the pairs themselves by expectation maximisation.

    At first those pairs are believed in that look most alike from both sides; what is believed in tells the
    travel times, and these tell what to believe in.

    Args:
        passes: in order of time.
        pairs: of them, M.
        within: seconds, the longest time between two passes.
        uses_travel: whether travel times count.

    Returns:
        the probability of each pair, float64 [M], where a pass has one true candidate at a camera at most;
        and the log-likelihood ratio of what it looks like, float64 [M].
    """
    if not len(pairs.earlier):
        return np.zeros(0), np.zeros(0)
    cameras, camera = np.unique(passes.camera, return_inverse=True)
    here, there = camera[pairs.earlier], camera[pairs.later]
    way = here * len(cameras) + there
    ahead, behind = pairs.earlier * len(cameras) + there, pairs.later * len(cameras) + here
    _, first = np.unique(ahead, return_index=True)
    strangers = Strangers(pairs.look, len(first), int(pairs.ahead[first].sum()))
    belief = 0.5 * (_is_best(pairs.look, ahead) & _is_best(pairs.look, behind))
    share = np.full(len(cameras) ** 2, 0.5)

    def looks() -> np.ndarray:
        return look_evidence(pairs.look, strangers, belief) + _CLASS_WEIGHT * pairs.class_match

    for _ in range(_ROUNDS):
        evidence = looks()
        if uses_travel:
            evidence = evidence + travel_evidence(pairs.travel, way, belief, within)
        odds = np.exp(evidence) * share[way] / (1 - share[way])
        # Either pass has a number of candidates at the other's camera, and its share of any one of them.
        belief = _associated(odds / np.sqrt(pairs.ahead * pairs.behind), ahead, behind)
        share = _share(belief, way, ahead, len(share))
        strangers.learn(belief)
    return belief, looks()


def _is_best(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Whether each value is the greatest of its group, bool [M]."""
    _, row = np.unique(group, return_inverse=True)
    best = np.full(row.max() + 1, -np.inf)
    np.maximum.at(best, row, values)
    return np.asarray(values == best[row])


def _associated(odds: np.ndarray, ahead: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Probabilities of pairs of which at most one is true in each group of either kind, float64 [M].

    Belief propagation of Williams and Lau (IEEE TAES 2014, equations 12 and 13), so that a rival that is
    surely another one's does not count.

    Args:
        odds: of each pair against none in its groups.
        ahead, behind: the groups of each.
    """
    _, row = np.unique(ahead, return_inverse=True)
    _, column = np.unique(behind, return_inverse=True)
    free = np.ones(len(odds))
    for _ in range(_MESSAGES):
        wanted = odds / (1 + _others(odds * free, row))
        free = 1 / (1 + _others(wanted, column))
    return np.asarray(odds * free / (1 + np.bincount(row, odds * free)[row]))


def _others(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The sum of the others of each one's group."""
    return np.asarray(np.maximum(np.bincount(group, values)[group] - values, 0))


def _share(belief: np.ndarray, way: np.ndarray, ahead: np.ndarray, ways: int) -> np.ndarray:
    """For each way from camera to camera, the share of passes that a pass at the other end follows."""
    _, first = np.unique(ahead, return_index=True)
    passes = np.bincount(way[first], minlength=ways)
    return np.asarray((np.bincount(way, belief, ways) + 0.5) / (passes + 2.0)).clip(0.001, 0.95)
