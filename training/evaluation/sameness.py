"""Fit and judge a sameness calibration by searches that are made up of labelled embeddings.

Each trial is a search whose answer is known: a query, a gallery of some size of other vehicles, and, but for
the share of absent ones, pictures of the query's vehicle by other cameras. `zoo.sameness` has the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch

from training.datasets.records import Record
from training.evaluation.distances import Embeddings
from zoo.card import Card
from zoo.errors import UserError
from zoo.sameness import COHORT, FALSE_MATCH_RATE, LEAST_MATCH, Sameness, log_quantiles

ABSENT = 0.2
"""Share of the queries whose vehicle the gallery does not have."""

RESULTS = 20
"""Of each search; a page shows as many."""

_TRIALS = 20_000
_TAIL = 0.5
"""Strangers expected nearer, up to which their law is fitted in the end."""

_FEWEST_VEHICLES = 40
_FOLDS = 5
_SMALLEST = 10
_NONE = -1
_MOST_PICTURES = 8
"""Of one vehicle in a gallery."""


@dataclass(frozen=True)
class Trial:
    """A search whose answer is known.

    Attributes:
        count: images searched.
        cohort: distances [M] to a sample of them.
        is_present: whether one of them shows the query's vehicle.
        distances: of the nearest, ascending, [K].
        is_same: whether they show it, bool [K].
        stranger: the distance of the nearest that does not.
    """

    count: int
    cohort: np.ndarray
    is_present: bool
    distances: np.ndarray
    is_same: np.ndarray
    stranger: float


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, and how far the first Q, which may be queries, are from all N.

    Attributes:
        distances: float32 [Q, N].
        vehicles, cameras: int64 [N].
    """

    distances: np.ndarray
    vehicles: np.ndarray
    cameras: np.ndarray

    @classmethod
    def of(
        cls,
        embeddings: np.ndarray,
        vehicles: np.ndarray,
        cameras: np.ndarray,
        metric: str,
        queries: int | None = None,
    ) -> "Pictures":
        """Compare the first `queries`, or all, with all of embeddings [N, D]."""
        compared = Embeddings(embeddings, metric)
        rows = compared.rows(slice(0, len(compared)))
        squares = np.einsum("nd,nd->n", rows, rows)
        asked = slice(0, queries)
        apart = np.maximum(squares[asked, None] + squares - 2 * rows[asked] @ rows.T, 0)
        distances = apart / 2 if metric == "cosine" else np.sqrt(apart)
        return cls(distances.astype(np.float32), vehicles, cameras)

    def only(self, vehicles: np.ndarray) -> "Pictures":
        """Those of some vehicles; where all may be queries."""
        kept = np.isin(self.vehicles, vehicles)
        return Pictures(self.distances[np.ix_(kept, kept)], self.vehicles[kept], self.cameras[kept])

    def asked_by(self, vehicles: np.ndarray) -> "Pictures":
        """All of them; where only those of some vehicles may be queries."""
        is_query = np.isin(self.vehicles, vehicles)
        order = np.argsort(~is_query, kind="stable")
        asked = order[: np.count_nonzero(is_query)]
        return Pictures(self.distances[np.ix_(asked, order)], self.vehicles[order], self.cameras[order])


def make_trials(
    pictures: Pictures,
    rng: np.random.Generator,
    count: int,
    sizes: Sequence[int] = (),
    absent: float = ABSENT,
) -> list[Trial]:
    """Make searches up.

    Args:
        pictures: of vehicles that training never saw.
        rng: chooses queries and galleries.
        count: trials wanted.
        sizes: of the galleries; empty for all from 10 images on, evenly in their logarithm.
        absent: share of the queries whose vehicle is left out of the gallery.
    """
    of = _by_vehicle(pictures.vehicles)
    place = {int(pictures.vehicles[row[0]]): number for number, row in enumerate(of)}
    largest = len(pictures.vehicles) - of.shape[1]
    smallest = min(_SMALLEST, largest)
    trials: list[Trial] = []
    while len(trials) < count:
        query = int(rng.integers(len(pictures.distances)))
        vehicle = place[int(pictures.vehicles[query])]
        own = of[vehicle][of[vehicle] != _NONE]
        own = own[pictures.cameras[own] != pictures.cameras[query]]
        is_present = bool(rng.random() >= absent)
        if is_present and not len(own):
            continue
        size = (
            int(rng.choice(sizes)) if len(sizes) else round(smallest * (largest / smallest) ** rng.random())
        )
        most = int(rng.integers(1, _MOST_PICTURES + 1))
        own = rng.permutation(own)[:most] if is_present else own[:0]
        others = np.delete(rng.permutation(of, axis=1), vehicle, axis=0)
        others = rng.permutation(others)[:, :most].ravel()
        gallery = np.append(own, others[others != _NONE][: size - len(own)])
        trials.append(_trial(pictures.distances[query, gallery], len(own)))
    return trials


def _by_vehicle(vehicles: np.ndarray) -> np.ndarray:
    """The rows of each vehicle's pictures, int64 [V, P], filled up with `_NONE`."""
    rows = [np.flatnonzero(vehicles == name) for name in np.unique(vehicles)]
    table = np.full((len(rows), max(map(len, rows))), _NONE, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def _trial(distances: np.ndarray, own: int) -> Trial:
    """Of distances to a gallery whose first `own` images show the query's vehicle."""
    is_same = np.arange(len(distances)) < own
    order = np.argsort(distances, kind="stable")[:RESULTS]
    sample = distances[np.linspace(0, len(distances) - 1, min(COHORT, len(distances))).astype(int)]
    others = distances[own:]
    nearest = float(others.min()) if len(others) else float("inf")
    return Trial(len(distances), sample, own > 0, distances[order].astype(float), is_same[order], nearest)


def fit_sameness(trials: Sequence[Trial], caution: float = 0.0) -> Sameness:
    """Fit a calibration: first how near strangers come, by the likelihood of the nearest of each trial (with
    the hazard d log expected / d u), then the odds by logistic regression.

    Args:
        trials: to fit to.
        caution: what to add to log expected; see `calibrate_sameness`.
    """
    levels = np.array([log_quantiles(trial.cohort) for trial in trials])
    usual = levels[np.array([trial.count for trial in trials]) >= 50].mean(axis=0)
    start = Sameness(
        (0, 1, 0, 0, 0, 0), (0,) * 5, (0,) * 6, (-50.0, 50.0), (float(usual[0]), float(usual[1]))
    )
    standings = [start.standing(trial.cohort, trial.count) for trial in trials]
    known = np.array([[each.level, each.spread, np.log(each.count)] for each in standings])
    strangers = np.array([trial.stranger for trial in trials])
    seen = np.isfinite(strangers)
    u = np.log(np.maximum(strangers[seen], 1e-12)) - known[seen, 0]
    weights = _fit_strangers(u, known[seen, 1], known[seen, 2])
    weights[0] += caution
    near = (float(u.min()), float(u.max()))
    partly = replace(start, strangers=tuple(weights), near=near)
    told = [replace(standing, sameness=partly) for standing in standings]
    rows = [
        each.features(each.log_expected(trial.distances)) for each, trial in zip(told, trials, strict=True)
    ]
    nearest = fit_odds(np.stack([row[0] for row in rows]), np.array([trial.is_same[0] for trial in trials]))
    others = fit_odds(
        np.concatenate([np.append(row[1:], np.full((len(row) - 1, 1), row[0] @ nearest), 1) for row in rows]),
        np.concatenate([trial.is_same[1:] for trial in trials]),
    )
    return replace(partly, nearest=tuple(nearest), others=tuple(others))


def _fit_strangers(u: np.ndarray, spread: np.ndarray, log_count: np.ndarray) -> list[float]:
    """Fit all of the law, then its tail alone, of which something is promised, with a free power of N: where
    the first fit expects more than `_TAIL` strangers, the nearest is only known to be farther (censored)."""

    def terms(u: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.ones_like(u), u, u**2, spread, u * spread, log_count], 1))

    one, nothing = np.ones_like(u), np.zeros_like(u)
    slopes = torch.from_numpy(np.stack([nothing, one, 2 * u, nothing, spread, nothing], 1))
    counts = torch.from_numpy(log_count)

    def loss(features: torch.Tensor, is_seen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        log_expected = counts + features @ weights
        hazard = torch.nn.functional.softplus(4 * (slopes @ weights)) / 4
        return (log_expected.clamp(max=30).exp() - is_seen * (log_expected + hazard.log())).mean()

    whole = _minimise(partial(loss, terms(u), torch.ones(len(u))), [-2.0, 5.0, 0.0, 0.0, 0.0, 0.0])
    limit = _where_expected(_TAIL, np.array(whole), spread, log_count)
    is_seen = torch.from_numpy((u <= limit).astype(float))
    return _minimise(partial(loss, terms(np.minimum(u, limit)), is_seen), whole)


def _where_expected(strangers: float, w: np.ndarray, spread: np.ndarray, log_count: np.ndarray) -> np.ndarray:
    """The u at which so many strangers are expected, by bisection."""
    low, high = np.full_like(spread, -3.0), np.full_like(spread, 1.0)
    for _ in range(40):
        u = (low + high) / 2
        expected = w[0] + w[1] * u + w[2] * u**2 + w[3] * spread + w[4] * u * spread + (1 + w[5]) * log_count
        is_below = expected < np.log(strangers)
        low, high = np.where(is_below, u, low), np.where(is_below, high, u)
    return low


def fit_odds(features: np.ndarray, right: np.ndarray) -> list[float]:
    """Fit a logistic regression.

    Args:
        features: float64 [N, F], the first of them 1.
        right: bool [N], what is to be told.

    Returns:
        a weight for each feature.
    """
    rows, labels = torch.from_numpy(features), torch.from_numpy(right.astype(float))

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(rows @ weights, labels)

    return _minimise(loss, [0.0, -1.0, *[0.0] * (features.shape[1] - 2)])


def _minimise(loss: Callable[[torch.Tensor], torch.Tensor], start: list[float]) -> list[float]:
    weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        # A little weight decay keeps a separable case finite.
        value = loss(weights) + 1e-5 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(step)
    return [float(value) for value in weights.detach()]


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
    """

    probabilities: np.ndarray
    is_same: np.ndarray
    false_match_rates: np.ndarray
    best: np.ndarray
    is_right: np.ndarray
    is_present: np.ndarray

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
        standing = sameness.standing(trial.cohort, trial.count)
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
    )


def expected_error(probabilities: np.ndarray, is_right: np.ndarray, bins: int = 15) -> float:
    """The gap between what is said and what is right, weighed over equal bins of what is said."""
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = np.bincount(places, probabilities - is_right, bins)
    return float(np.abs(gaps).sum() / len(probabilities))


def calibrate_sameness(
    embeddings: np.ndarray, records: Sequence[Record], card: Card, seed: int = 0
) -> tuple[Sameness, dict[str, float | int]]:
    """Fit a model's calibration, and tell how fits on four fifths of the vehicles do on the last.

    Args:
        embeddings: of the records, float32 [N, D].
        records: pictures of vehicles that training never saw.
        card: the model's.
        seed: of the trials.

    Raises:
        UserError: too few vehicles, or none that several cameras saw.
    """
    vehicles = np.array([record.vehicle_id for record in records])
    cameras = np.array([record.camera_id for record in records])
    names = np.unique(vehicles)
    pairs = {(vehicle, camera) for vehicle, camera in zip(vehicles.tolist(), cameras.tolist(), strict=True)}
    seen_again = len(pairs) - len(names)
    if len(names) < _FEWEST_VEHICLES or seen_again < _FEWEST_VEHICLES // 2:
        raise UserError(
            f"{len(names)} vehicles, {seen_again} sightings by a further camera: too few to calibrate "
            f"sameness; at least {_FEWEST_VEHICLES} vehicles are needed, half of them seen by two cameras"
        )
    pictures = Pictures.of(embeddings, vehicles, cameras, card.metric)
    rng = np.random.default_rng(seed)
    folds = np.array_split(rng.permutation(names), _FOLDS)
    absent, usual = [], []
    for fold in folds:
        fit = fit_sameness(make_trials(pictures.only(np.setdiff1d(names, fold)), rng, _TRIALS // 2))
        asking = pictures.asked_by(fold)
        absent.append(judge_sameness(fit, make_trials(asking, rng, _TRIALS // _FOLDS, absent=1.0)))
        usual.append(judge_sameness(fit, make_trials(asking, rng, _TRIALS // _FOLDS)))
    # A fit knows the look-alikes that it was made with. Those of vehicles that it has not seen come nearer
    # than it expects: as much as makes the usual promise true for them is added.
    rates = np.concatenate([each.false_match_rates for each in absent])
    reached = float(np.quantile(rates, FALSE_MATCH_RATE))
    caution = float(np.log(np.log1p(-FALSE_MATCH_RATE) / np.log1p(-max(reached, 1e-9))))
    measured = SamenessQuality.of_all(usual).figures() | {"caution": caution}
    whole = fit_sameness(make_trials(pictures, rng, _TRIALS), caution)
    counts = {"vehicles": len(names), "pictures": len(records)}
    return replace(whole, weights_sha256=card.weights_sha256), {**measured, **counts}
