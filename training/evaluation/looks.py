"""Fit what an agreement of predicted colour and type is worth in a ranking, beside the distance."""

from functools import partial

import numpy as np
import torch

from training.evaluation.sameness import Pictures
from zoo.sameness import agreement

_QUERIES, _NEAREST = 1000, 30


def fit_looks(
    pictures: Pictures, color_probs: np.ndarray, type_probs: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """The worth of a unit of log-likelihood ratio in log distance, of colour and of type, at least 0.

    A logistic regression tells, among each query's nearest of other cameras, its own vehicle by log distance
    and the two ratios; their weights count in shares of the distance's, since the order is looked for.

    Args:
        pictures: all of which may be queries.
        color_probs, type_probs: as searches have them, [N, C] and [N, T]; no columns where there are none.
        seed: chooses the queries.
    """
    rng = np.random.default_rng(seed)
    count = len(pictures.vehicles)
    columns, same = [], []
    for query in rng.permutation(count)[:_QUERIES]:
        others = np.flatnonzero(
            (pictures.cameras != pictures.cameras[query]) | (pictures.vehicles != pictures.vehicles[query])
        )
        near = others[np.argsort(pictures.distances[query, others], kind="stable")[:_NEAREST]]
        distance = np.log(np.maximum(pictures.distances[query, near].astype(float), 1e-12))
        ratios = [_ratios(probs, int(query), near) for probs in (color_probs, type_probs)]
        columns.append(np.stack([np.ones(len(near)), distance, *ratios], 1))
        same.append(pictures.vehicles[near] == pictures.vehicles[query])
    rows = torch.from_numpy(np.concatenate(columns))
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")
    optimizer.step(
        partial(_step, optimizer, rows, torch.from_numpy(np.concatenate(same).astype(float)), weights)
    )
    _, distance, *looks = weights.detach().tolist()
    color, type = (max(0.0, -each / distance) if distance < 0 else 0.0 for each in looks)
    return color, type


def _ratios(probs: np.ndarray, query: int, near: np.ndarray) -> np.ndarray:
    """Log-likelihood ratios [M] of a query and others, as far as galleries keep what is needed."""
    if not probs.shape[1]:
        return np.zeros(len(near))
    return agreement(probs[query, probs[near].argmax(1)], probs[near].max(1), probs.shape[1])


def _step(
    optimizer: torch.optim.Optimizer, rows: torch.Tensor, same: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    optimizer.zero_grad()
    value = torch.nn.functional.binary_cross_entropy_with_logits(rows @ weights, same)
    # A little weight decay, as in the calibration's fits.
    value = value + 1e-5 * weights.square().sum()
    value.backward()
    return value
