"""Fit what an agreement of predicted colour and type is worth in a ranking, beside the distance."""

import numpy as np

from training.evaluation.sameness import fit_odds
from training.evaluation.trials import Pictures
from zoo.sameness import agreement

_QUERIES, _NEAREST = 1000, 30


def fit_looks(
    pictures: Pictures, color_probs: np.ndarray, type_probs: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """The worth of a unit of log-likelihood ratio in log distance, of colour and of type, at least 0.

    A logistic regression tells, among each query's nearest of other cameras, its own vehicle by log distance
    and the two ratios; their weights count in shares of the distance's, since the order is looked for.

    Args:
        pictures: some of those that may be queries ask.
        color_probs, type_probs: as searches have them, [N, C] and [N, T]; no columns where there are none.
        seed: chooses the queries.
    """
    rng = np.random.default_rng(seed)
    columns, same = [], []
    for row in rng.permutation(len(pictures.asking))[:_QUERIES]:
        query, apart = pictures.asking[row], pictures.distances[row]
        others = np.flatnonzero(
            (pictures.cameras != pictures.cameras[query]) | (pictures.vehicles != pictures.vehicles[query])
        )
        near = others[np.argsort(apart[others], kind="stable")[:_NEAREST]]
        distance = np.log(np.maximum(apart[near].astype(float), 1e-12))
        ratios = [_ratios(probs, int(query), near) for probs in (color_probs, type_probs)]
        columns.append(np.stack([np.ones(len(near)), distance, *ratios], 1))
        same.append(pictures.vehicles[near] == pictures.vehicles[query])
    _, distance, *looks = fit_odds(np.concatenate(columns), np.concatenate(same))
    color, type = (max(0.0, -each / distance) if distance < 0 else 0.0 for each in looks)
    return color, type


def _ratios(probs: np.ndarray, query: int, near: np.ndarray) -> np.ndarray:
    """Log-likelihood ratios [M] of a query and others, as far as galleries keep what is needed."""
    if not probs.shape[1]:
        return np.zeros(len(near))
    return agreement(probs[query, probs[near].argmax(1)], probs[near].max(1), probs.shape[1])
