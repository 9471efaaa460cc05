"""How well a sameness calibration keeps its word in searches whose answer is known."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from training.evaluation.trials import Trial
from zoo.sameness import FALSE_MATCH_RATE, LEAST_MATCH, Sameness

_RESAMPLES = 1000


@dataclass(frozen=True)
class SamenessQuality:
    """How well a calibration keeps its word, over trials.

    Attributes:
        probabilities: of all results, [R].
        is_same: whether they show the vehicle, bool [R].
        false_match_rates: of each trial's nearest, [T].
        best: its probability, [T].
        is_right: whether it shows the vehicle, bool [T].
        is_present: whether the gallery has the vehicle, bool [T].
        vehicles: the query's, and the one that the nearest image shows, int64 [T, 2].
        counts: images searched, int64 [T].
    """

    probabilities: np.ndarray
    is_same: np.ndarray
    false_match_rates: np.ndarray
    best: np.ndarray
    is_right: np.ndarray
    is_present: np.ndarray
    vehicles: np.ndarray
    counts: np.ndarray

    @classmethod
    def of_all(cls, parts: Sequence["SamenessQuality"]) -> "SamenessQuality":
        """Of the trials of several calibrations together."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    @property
    def expected_error(self) -> float:
        """The expected calibration error of the results' probabilities, of 15 bins."""
        return expected_error(self.probabilities, self.is_same)

    def matches(self, promised: float = FALSE_MATCH_RATE) -> np.ndarray:
        """Which trials end in `match`, bool [T]."""
        return (self.false_match_rates <= promised) & (self.best >= LEAST_MATCH)

    def false_matches(self, promised: float = FALSE_MATCH_RATE) -> float:
        """The share of absent vehicles for which there is a match."""
        return float(self.matches(promised)[~self.is_present].mean())

    def false_match_interval(self, promised: float = FALSE_MATCH_RATE, seed: int = 0) -> tuple[float, float]:
        """Where 95% of the shares lie that other vehicles would have given.

        The same few look-alikes are found again and again, so vehicles are drawn anew and not searches, both
        those that ask and those that are found (pigeonhole bootstrap: Owen, Annals of Applied Statistics
        2007).
        """
        absent = ~self.is_present
        names, places = np.unique(self.vehicles[absent], return_inverse=True)
        asking, found = places.reshape(-1, 2).T
        matches = self.matches(promised)[absent]
        rng = np.random.default_rng(seed)
        shares = np.zeros(_RESAMPLES)
        for number in range(_RESAMPLES):
            as_query, as_found = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), 2)
            weight = as_query[asking]
            shares[number] = (weight * as_found[found])[matches].sum() / max(1, weight.sum())
        low, high = np.quantile(shares, (0.025, 0.975))
        return float(low), float(high)

    def f1(self, said: np.ndarray) -> float:
        """F1 of `it is here, and it is this one`, where `said`, bool [T], says so."""
        right = (said & self.is_right).sum()
        return float(2 * right / max(1, said.sum() + self.is_present.sum()))

    def figures(self) -> dict[str, float | int]:
        """By name, as fractions."""
        match = self.matches()
        return {
            "false_match_rate": self.false_matches(),
            "ece": self.expected_error,
            "ece_first": expected_error(self.best, self.is_right),
            "f1_match": self.f1(match),
            "f1_half": self.f1(self.best >= LEAST_MATCH),
            "found": float((match & self.is_right)[self.is_present].mean()),
            "rank1": float(self.is_right[self.is_present].mean()),
            "searches": len(self.best),
        }


def judge_sameness(sameness: Sameness, trials: Sequence[Trial]) -> SamenessQuality:
    """Hold a calibration to searches that it was not fitted to."""
    probabilities, same, rates, best, right = [], [], [], [], []
    for trial in trials:
        standing = sameness.standing(trial.cohort, trial.count, trial.redundancy)
        told = standing.probabilities(trial.distances)
        probabilities.append(told)
        same.append(trial.is_same)
        rates.append(standing.false_match_rates(trial.distances[:1])[0])
        best.append(told[0])
        right.append(trial.is_same[0])
    return SamenessQuality(
        np.concatenate(probabilities),
        np.concatenate(same),
        np.array(rates),
        np.array(best),
        np.array(right),
        np.array([trial.is_present for trial in trials]),
        np.array([trial.vehicles for trial in trials], np.int64),
        np.array([trial.count for trial in trials], np.int64),
    )


def expected_error(probabilities: np.ndarray, is_right: np.ndarray, bins: int = 15) -> float:
    """The gap between what is said and what is right, weighed over equal bins of what is said."""
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(places, probabilities - is_right, bins)
    return float(np.abs(gaps).sum() / len(probabilities))
