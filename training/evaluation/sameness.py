"""Fit a sameness calibration by searches that are made up of labelled embeddings (`trials`).

`zoo.sameness` has the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from training.datasets.records import Record
from training.evaluation.passes import pool_passes
from training.evaluation.redundancy import fit_told
from training.evaluation.sameness_quality import SamenessQuality, judge_sameness
from training.evaluation.trials import MOST_ASKING, Pictures, Trial, make_trials, spread_over_vehicles
from zoo.card import Card
from zoo.errors import UserError
from zoo.sameness import FALSE_MATCH_RATE, LARGEST, Sameness, log_quantiles

_TRIALS = 20_000
_ABSENT = 5
"""Times as many trials of vehicles that are not there: a rate of one in a hundred wants many."""

_TAIL = 0.1
"""Strangers expected nearer, up to which their law is fitted in the end."""

_LEAST_SLOPE = 0.2
"""Of log-odds by log expected."""

_PROMISED_FROM = 100
"""Images in the smallest galleries that the promise is made true for; it holds in smaller ones then."""

_FEWEST_VEHICLES = 40
_FEWEST_PASSES = 100
"""Of at least two pictures."""

_FOLDS = 5


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
        (0, 1, 0, 0, 0, 0), (0,) * 7, (0,) * 8, (-50.0, 50.0), (float(usual[0]), float(usual[1]))
    )
    standings = [start.standing(trial.cohort, trial.count) for trial in trials]
    known = np.array([[each.level, each.spread, np.log(each.count)] for each in standings])
    strangers = np.array([trial.stranger for trial in trials])
    seen = np.isfinite(strangers)
    u = np.log(np.maximum(strangers[seen], 1e-12)) - known[seen, 0]
    many = np.log([trial.redundancy for trial in trials])
    weights = _fit_strangers(u, known[seen, 1], known[seen, 2], (many - many.mean())[seen])
    partly = replace(
        start,
        # Nothing but the number of strangers grows with the gallery, so that it needs no power but one.
        strangers=(weights[0] + caution, *weights[1:5], 0.0),
        near=(float(u.min()), float(u.max())),
        redundancy=(weights[5], weights[6], float(many.mean()), float(many.max())),
    )
    told = [partly.standing(trial.cohort, trial.count, trial.redundancy) for trial in trials]
    rows = [
        each.features(each.log_expected(trial.distances)) for each, trial in zip(told, trials, strict=True)
    ]
    nearest = _fit_falling(
        np.stack([row[0] for row in rows]), np.array([trial.is_same[0] for trial in trials])
    )
    others = _fit_falling(
        np.concatenate([np.append(row[1:], np.full((len(row) - 1, 1), row[0] @ nearest), 1) for row in rows]),
        np.concatenate([trial.is_same[1:] for trial in trials]),
    )
    return replace(partly, nearest=tuple(nearest), others=tuple(others))


def _fit_strangers(u: np.ndarray, spread: np.ndarray, log_count: np.ndarray, many: np.ndarray) -> list[float]:
    """Fit all of the law, then its tail alone, of which something is promised: where the first fit expects
    more than `_TAIL` strangers, the nearest is only known to be farther (censored).

    Returns:
        the weights of 1, u, u^2, spread, u spread, many, u many.
    """

    def terms(u: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.ones_like(u), u, u**2, spread, u * spread, many, u * many], 1))

    one, nothing = np.ones_like(u), np.zeros_like(u)
    slopes = torch.from_numpy(np.stack([nothing, one, 2 * u, nothing, spread, nothing, many], 1))
    counts = torch.from_numpy(log_count)

    def loss(features: torch.Tensor, is_seen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        log_expected = counts + features @ weights
        hazard = torch.nn.functional.softplus(4 * (slopes @ weights)) / 4
        return (log_expected.clamp(max=30).exp() - is_seen * (log_expected + hazard.log())).mean()

    whole = _minimise(partial(loss, terms(u), torch.ones(len(u))), [-2.0, 5.0, *[0.0] * 5])
    # The u at which `_TAIL` strangers are expected, by bisection.
    low, high = np.full_like(u, -3.0), np.full_like(u, 1.0)
    for _ in range(40):
        middle = (low + high) / 2
        is_below = terms(middle).numpy() @ np.array(whole) + log_count < np.log(_TAIL)
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    is_seen = torch.from_numpy((u <= low).astype(float))
    return _minimise(partial(loss, terms(np.minimum(u, low)), is_seen), whole)


def fit_odds(features: np.ndarray, right: np.ndarray, known: np.ndarray | float = 0.0) -> list[float]:
    """Fit a logistic regression.

    Args:
        features: float64 [N, F], the first of them 1.
        right: bool [N], what is to be told.
        known: a part of the log-odds [N] that is settled.

    Returns:
        a weight for each feature.
    """
    rows, labels = torch.from_numpy(features), torch.from_numpy(right.astype(float))

    settled = torch.as_tensor(known, dtype=rows.dtype)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(rows @ weights + settled, labels)

    return _minimise(loss, [0.0, -1.0, *[0.0] * (features.shape[1] - 2)])


def _fit_falling(features: np.ndarray, right: np.ndarray) -> list[float]:
    """Fit odds that fall with the distance, by log expected and its product with log N, in galleries of all
    sizes. A fit whose odds would not fall in the largest ones is held to the least slope there, and one that
    then would not fall in small ones to one slope for all."""
    weights = fit_odds(features, right)
    if weights[1] + weights[5] * np.log(LARGEST) < -_LEAST_SLOPE:
        return weights
    bent = features.copy()
    bent[:, 1] = 0
    bent[:, 5] -= np.log(LARGEST) * features[:, 1]
    weights = fit_odds(bent, right, -_LEAST_SLOPE * features[:, 1])
    if weights[5] > 0:
        weights[1] = -_LEAST_SLOPE - weights[5] * float(np.log(LARGEST))
        return weights
    bent = features.copy()
    bent[:, 5] = 0
    return fit_odds(bent, right)


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


def calibrate_sameness(
    embeddings: np.ndarray, records: Sequence[Record], card: Card, seed: int = 0
) -> tuple[Sameness, dict[str, float | int]]:
    """Fit a model's calibration, and tell how fits on four fifths of the vehicles do on the last.

    Galleries of passes have one of their own, fitted to each vehicle's pictures by a camera taken for a pass,
    which asks for passes.

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
    found, measured = _calibrate(embeddings, vehicles, cameras, card.metric, seed)
    means, of, by, pooled = pool_passes(embeddings, vehicles, cameras, card.metric)
    if np.count_nonzero(pooled > 1) >= _FEWEST_PASSES:
        of_passes, told = _calibrate(means, of, by, card.metric, seed)
        counts = {"passes": len(pooled), "pictures": int(pooled.sum())}
        found = replace(found, passes=replace(of_passes, measured={**told, **counts}))
    counts = {"vehicles": len(names), "pictures": len(records)}
    return replace(found, weights_sha256=card.weights_sha256), {**measured, **counts}


def _calibrate(
    embeddings: np.ndarray, vehicles: np.ndarray, cameras: np.ndarray, metric: str, seed: int
) -> tuple[Sameness, dict[str, float | int]]:
    names = np.unique(vehicles)
    asking = spread_over_vehicles(vehicles, MOST_ASKING, np.random.default_rng(seed))
    pictures = Pictures.of(embeddings, vehicles, cameras, metric, asking)
    rng = np.random.default_rng(seed)
    folds = np.array_split(rng.permutation(names), _FOLDS)
    absent, usual = [], []
    for fold in folds:
        fit = fit_sameness(make_trials(pictures.only(np.setdiff1d(names, fold)), rng, _TRIALS // 2))
        asked = pictures.asked_by(fold)
        absent.append(judge_sameness(fit, make_trials(asked, rng, _ABSENT * _TRIALS // _FOLDS, absent=1.0)))
        usual.append(judge_sameness(fit, make_trials(asked, rng, _TRIALS // _FOLDS)))
    largest = max(int(each.counts.max()) for each in absent)
    smallest = min(_PROMISED_FROM, largest // 4)
    # A fit knows the look-alikes that it was made with. Those of vehicles that it has not seen come nearer
    # than it expects: as much as makes the usual promise true for them is added.
    rates = np.concatenate([each.false_match_rates[each.counts >= smallest] for each in absent])
    reached = float(np.quantile(rates, FALSE_MATCH_RATE))
    caution = float(np.log(np.log1p(-FALSE_MATCH_RATE) / np.log1p(-max(reached, 1e-9))))
    measured = SamenessQuality.of_all(usual).figures() | {"caution": caution}
    whole = fit_sameness(make_trials(pictures, rng, _TRIALS), caution)
    return fit_told(whole, pictures, seed), measured
