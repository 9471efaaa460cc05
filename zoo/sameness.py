"""Sameness: the chance that a result of a search shows the query's vehicle, and what a search may promise.

A distance alone does not tell: how near a stranger comes depends on how many were searched and on how common
the query looks. Both are asked of the gallery itself. A cohort, a sample of what is searched, tells how far
strangers are from this very query, and stands for its quality too: a blurred query lies close to many. From
its 10% and 50% quantiles follows how many strangers are expected nearer than a distance d, among N images:

    log expected(d) = w0 + w1 u + w2 u^2 + w3 r + w4 u r + (1 + w5) log N + min(v0 + v1 u, 0) (log m - v2)
    u = log(d / q10),   r = log(q50 / q10)

This models the tail of the distances of strangers; it is fitted to the nearest one of galleries of many
sizes. The power w5 of N is of cards from before: nothing but the number of strangers grows with a gallery.
N images of few vehicles, m of each, are fewer strangers than N of as many vehicles, because the images of a
vehicle are near together (the extremal index of dependent maxima: Leadbetter 1983). What m is, the gallery's
own images tell; see `Sameness.redundancy_among`. A model that leaves a vehicle's images far apart finds fewer
of them than there are, the more so the more strangers lie between: what is told is held to

    log told = t0 + t1 log m + t2 log N

The nearest of N strangers is nearer than d with probability 1 - exp(-expected(d)), and so the share of false
matches for vehicles that the gallery does not have, the FPIR of ISO/IEC 19795-1, can be promised.

That the nearest image shows the vehicle is told by a logistic regression on log expected(d), log N, r,
log(q10), log expected(d) log N, and log^2 N; that another one does, by one that has the log-odds of the
nearest as well. `training.calibrate --sameness` fits all of it on vehicles that the model never saw.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from zoo.card import Card
from zoo.errors import UserError

Verdict = Literal["match", "uncertain", "no match"]

COHORT = 1000
"""Images of the gallery that a query is compared with, at most."""

PROBES, NEIGHBORS = 32, 20
"""Images of a gallery that tell its redundancy, and how many of those nearest to each are looked at."""

LARGEST = 50_000
"""Images in the largest galleries that a calibration had. In larger ones more strangers are expected, and so
many tell as much as in these."""

FALSE_MATCH_RATE = 0.01
"""Promised where nobody asks for another."""

LEAST_PROBABILITY, LEAST_MATCH = 0.1, 0.5
"""Of the likeliest result: below the first nothing is taken for the vehicle; below the second it never is a
match."""

_LENGTHS = {"strangers": 6, "nearest": 7, "others": 8, "near": 2, "cohort": 2, "looks": 2,
            "redundancy": 4, "told": 3}  # fmt: skip
AS_IT_IS = (0.0, 1.0, 0.0)
"""Of `Sameness.told`: what is told is what is there."""

_QUANTILES = (0.1, 0.5)
_SHRINKAGE = 20
"""Pictures of a usual gallery that a cohort counts for more: a cohort of a few says little by itself."""

_ROUNDS = 50
"""Of expectation maximisation; far more than it takes."""

_NEAREST = 1e-6
"""The least distance, in shares of the cohort's."""

_COPY = 0.05
"""In shares of the cohort's 10% quantile: nearer lies only the query's own picture, saved again perhaps."""


@dataclass(frozen=True)
class Sameness:
    """A model's sameness calibration, as its card holds it.

    Attributes:
        strangers: the weights of log expected(d), float [6].
        nearest: the weights of the nearest image's log-odds: of 1, log expected, log N, r, log(q10), log
            expected times log N, and log^2 N, float [7].
        others: those of any other's: the same, and the nearest's log-odds, float [8].
        near: the least and the greatest u that were seen; beyond, log expected(d) goes on as a line.
        cohort: log(q10) and log(q50) of usual queries, where a cohort is small.
        weights_sha256: of the model that it was measured with; other weights need their own.
        looks: what a unit of `agreement` of colours, and of types, is worth in log distance where results are
            ordered by them too; 0 in cards from before there were such weights.
        passes: what holds where passes are searched, whose vectors are means of several images and lie nearer
            to everybody, to their own vehicle most of all; None where it was not measured, and nothing can be
            told.
        redundancy: the weights v0 and v1 of how many images of a vehicle a gallery has; log m of usual
            galleries, v2, and of the fullest that were seen. 0 in cards from before.
        told: t0, t1 and t2 of what a gallery tells of m; taken as it is in cards from before.
        measured: what `training.calibrate` found on vehicles that were kept out, with data set and date.
    """

    strangers: tuple[float, ...]
    nearest: tuple[float, ...]
    others: tuple[float, ...]
    near: tuple[float, float]
    cohort: tuple[float, float]
    weights_sha256: str = ""
    measured: dict[str, Any] | None = None
    looks: tuple[float, float] = (0.0, 0.0)
    passes: "Sameness | None" = None
    redundancy: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    told: tuple[float, float, float] = AS_IT_IS

    @classmethod
    def of(cls, card: Card) -> "Sameness | None":
        """The calibration in a card; None where there is none, or one of other weights.

        Raises:
            UserError: it cannot be read.
        """
        if not card.sameness:
            return None
        try:
            found = cls._of_json(card.sameness)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{card.name}: the card's sameness calibration cannot be read ({error}); make it again with "
                "`python -m training.calibrate --sameness --data-root DATA --weights WEIGHTS`"
            ) from error
        return found if found.weights_sha256 == card.weights_sha256 else None

    @classmethod
    def _of_json(cls, held: dict[str, Any]) -> "Sameness":
        values: dict[str, Any] = {each.name: held.get(each.name) for each in fields(cls)}
        for name in ("looks", "redundancy"):
            values[name] = values[name] or (0.0,) * _LENGTHS[name]
        values["told"] = values["told"] or AS_IT_IS
        for name, length in _LENGTHS.items():
            values[name] = tuple(map(float, values[name]))
            if name in ("nearest", "others") and length - 2 <= len(values[name]) < length:
                # Of a card from before log expected was weighed by log N, or before there was log^2 N.
                known = len(values[name]) - (name == "others")
                added = (0.0,) * (length - len(values[name]))
                values[name] = (*values[name][:known], *added, *values[name][known:])
            if len(values[name]) != length or not np.isfinite(values[name]).all():
                raise ValueError(name)
        if values["told"][1] <= 0:
            raise ValueError("told")
        of_passes = values.pop("passes")
        found = cls(**values)
        if of_passes is None:
            return found
        if isinstance(of_passes, dict):
            return replace(found, passes=cls._of_json(of_passes))
        # Of a card from before passes had odds of their own: what was added to log expected.
        if not np.isfinite(of_passes):
            raise ValueError("passes")
        constant, *others = found.strangers
        return replace(found, passes=replace(found, strangers=(constant + float(of_passes), *others)))

    def as_json(self) -> dict[str, Any]:
        """What the card holds."""
        return asdict(self)

    def for_passes(self) -> "Sameness | None":
        """What holds where passes are searched; None where nothing is known of them."""
        if self.passes is None:
            return None
        # The weights are the same, and so is what a look is worth.
        return replace(self.passes, weights_sha256=self.weights_sha256, looks=self.looks)

    @property
    def asks_for_redundancy(self) -> bool:
        """Whether it matters how many images of a vehicle a gallery has."""
        return any(self.redundancy[:2])

    def redundancy_among(self, searches: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> float:
        """How many images of a vehicle a gallery has, as some of its own images see it.

        The nearest to one of them are of its vehicle or not. How likely they are depends on how many are
        there to be found, and this in turn on them: expectation maximisation on the prior (Saerens, Latinne
        and Decaestecker, Neural Computation 2002), from as many as usual galleries have. `told` makes up for
        those that are not among the nearest.

        Args:
            searches: of each of these images, its distances [M] to a sample of the gallery, and [K] to the
                nearest others.
            count: images in the gallery.
        """
        usual = float(np.exp(self.redundancy[2]))
        told = [self.standing(cohort, count).probabilities(nearest) for cohort, nearest in searches]
        odds = 1 / (1 / np.clip(np.concatenate([np.zeros(0), *told]), 1e-12, 1 - 1e-12) - 1)
        others = usual
        for _ in range(_ROUNDS):
            scaled = odds * others / usual
            others = max(float((scaled / (1 + scaled)).sum()) / max(len(searches), 1), 1e-3)
        constant, slope, by_count = self.told
        there = (np.log1p(others) - constant - by_count * np.log(max(count, 1))) / slope
        # No more than was ever seen: `standing` goes no further, either.
        return float(np.exp(np.clip(there, 0.0, self.redundancy[3])))

    def standing(self, cohort: np.ndarray, count: int, redundancy: float | None = None) -> "Standing":
        """How a query stands among what is searched.

        Args:
            cohort: distances [M] of the query to a sample of what is searched.
            count: images searched.
            redundancy: how many of them a vehicle has; None for as many as usual.
        """
        _, _, usual, most = self.redundancy
        more = 0.0 if redundancy is None else min(max(float(np.log(redundancy)), 0.0), most) - usual
        level = np.array(self.cohort)
        if len(cohort):
            share = len(cohort) / (len(cohort) + _SHRINKAGE)
            level = share * log_quantiles(cohort) + (1 - share) * level
        return Standing(self, float(level[0]), float(level[1] - level[0]), max(count, 1), more)


@dataclass(frozen=True)
class Standing:
    """A query among what is searched.

    Attributes:
        sameness: the model's calibration.
        level: log(q10) of the cohort.
        spread: log(q50 / q10) of it.
        count: images searched.
        redundancy: log of how many of them a vehicle has, over that of usual galleries.
    """

    sameness: Sameness
    level: float
    spread: float
    count: int
    redundancy: float = 0.0

    @cached_property
    def _line(self) -> tuple[float, float, float]:
        w = self.sameness.strangers
        constant = w[0] + w[3] * self.spread + (1 + w[5]) * float(np.log(self.count))
        return constant, w[1] + w[4] * self.spread, w[2]

    def log_expected(self, distances: np.ndarray) -> np.ndarray:
        """log of how many strangers are expected nearer than distances [K]; rises with them."""
        u = np.log(np.maximum(distances, _NEAREST * np.exp(self.level))) - self.level
        constant, slope, bend = self._line
        within = np.clip(u, *self.sameness.near)
        # Beyond what was seen, and where the curve would turn back, it goes on as a line that rises.
        steepness = np.maximum(slope + 2 * bend * within, 1.0)
        expected = constant + slope * within + bend * within**2 + steepness * (u - within)
        # More images of each vehicle never are more strangers.
        weights = self.sameness.redundancy
        return np.asarray(expected + np.minimum(weights[0] + weights[1] * within, 0) * self.redundancy)

    def false_match_rates(self, distances: np.ndarray) -> np.ndarray:
        """How often the nearest of so many strangers is at least this near, [K] in 0..1."""
        return np.asarray(-np.expm1(-np.exp(np.minimum(self.log_expected(distances), 50.0))))

    def probabilities(self, distances: np.ndarray) -> np.ndarray:
        """The chance that images show the query's vehicle, in 0..1; falls with the distance.

        Args:
            distances: [K], in any order; the least is that of the nearest image. Copies of the query are not
                counted as the nearest to the others.
        """
        if not len(distances):
            return np.zeros(0)
        log_expected = self.log_expected(distances)
        # The query's own picture, or a copy of it, says nothing of the others: they stand as without it.
        copies = distances < _COPY * np.exp(self.level)
        others = log_expected if copies.all() else log_expected[~copies]
        first = self.features(others.min(keepdims=True)) @ self.sameness.nearest
        odds = (
            np.append(self.features(log_expected), np.full((len(distances), 1), first), 1)
            @ self.sameness.others
        )
        odds[copies] = self.features(log_expected[copies]) @ self.sameness.nearest
        odds[~copies & (log_expected == others.min())] = first[0]
        # Nobody is likelier than one that is nearer.
        order = np.argsort(log_expected, kind="stable")
        odds[order] = np.minimum.accumulate(odds[order])
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))

    def features(self, log_expected: np.ndarray) -> np.ndarray:
        """What the log-odds of images are made of, [K, 7]."""
        size = np.log(min(self.count, LARGEST))
        known = [size, self.spread, self.level]
        columns = [
            np.ones(len(log_expected)),
            log_expected,
            *(np.full(len(log_expected), each) for each in known),
            log_expected * size,
            np.full(len(log_expected), size**2),
        ]
        return np.stack(columns, 1)


def agreement(wanted: np.ndarray | float, confidence: np.ndarray | float, classes: int) -> np.ndarray:
    """The log-likelihood ratio that two images show the same class, and not just any two.

    Args:
        wanted: the probability, of what is looked for, of the class that is an image's likeliest.
        confidence: how likely that is; the rest of 1 is shared by the other classes.
        classes: how many there are.
    """
    rest = (1 - np.asarray(confidence)) / max(1, classes - 1)
    same = np.asarray(wanted) * confidence + (1 - np.asarray(wanted)) * rest
    return np.asarray(np.log(np.maximum(classes * same, 1e-3)))


def log_quantiles(cohort: np.ndarray) -> np.ndarray:
    """log of the 10% and the 50% quantile of distances [M]."""
    return np.asarray(np.log(np.maximum(np.quantile(cohort, _QUANTILES), 1e-12)))


def verdict_of(probability: float, false_match_rate: float, promised: float = FALSE_MATCH_RATE) -> Verdict:
    """What a search's likeliest result amounts to.

    Args:
        probability: that it shows the vehicle.
        false_match_rate: how often a stranger comes as near; see `Standing.false_match_rates`.
        promised: the share of absent vehicles for which there may be a match.
    """
    if false_match_rate <= promised and probability >= LEAST_MATCH:
        return "match"
    return "uncertain" if probability >= LEAST_PROBABILITY else "no match"
