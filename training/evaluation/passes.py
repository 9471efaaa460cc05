"""How much nearer strangers come where passes are searched, each with the mean vector of several images.

A mean is freer of what one picture alone shows, and so is nearer to everybody.
"""

from dataclasses import replace

import numpy as np

from training.evaluation.sameness_quality import judge_sameness
from training.evaluation.trials import MOST_ASKING, Pictures, make_trials, spread_over_vehicles
from zoo.sameness import FALSE_MATCH_RATE, Sameness

_SEARCHES = 4000
_SIZES, _SMALLEST = 5, 30
_FEWEST_PASSES = 100
"""Of at least two images."""


def pool_passes(
    embeddings: np.ndarray, vehicles: np.ndarray, cameras: np.ndarray, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take each vehicle's pictures by one camera for a pass.

    Args:
        embeddings: float32 [N, D].
        vehicles, cameras: int64 [N].
        metric: that compares them.

    Returns:
        of each pass the mean embedding [P, D], of length 1 for `cosine`, vehicle, camera, and pictures [P].
    """
    names, places, counts = np.unique(
        np.stack([vehicles, cameras], 1), axis=0, return_inverse=True, return_counts=True
    )
    means = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(means, places.reshape(-1), embeddings)
    means /= counts[:, None]
    if metric == "cosine":
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means.astype(np.float32), names[:, 0], names[:, 1], counts


def fit_passes(
    sameness: Sameness, embeddings: np.ndarray, vehicles: np.ndarray, cameras: np.ndarray, metric: str
) -> Sameness:
    """Add what is expected of passes: log expected rises by as much as lets them meet what pictures meet.

    Both are asked for absent vehicles in galleries of the same sizes, and passes ask for passes, which come
    nearer than pictures do. With few passes of several images, the calibration stays as it is.

    Args:
        sameness: fitted to the pictures.
        embeddings, vehicles, cameras, metric: see `pool_passes`.
    """
    passes, of, by, counts = pool_passes(embeddings, vehicles, cameras, metric)
    if np.count_nonzero(counts > 1) < _FEWEST_PASSES:
        return sameness
    largest = len(passes) - int(np.unique(of, return_counts=True)[1].max())
    sizes = np.unique(np.geomspace(min(_SMALLEST, largest), largest, _SIZES).astype(int)).tolist()
    expected = []
    for searched in (
        (embeddings, vehicles, cameras),
        (passes, of, by),
    ):
        asking = spread_over_vehicles(searched[1], MOST_ASKING, np.random.default_rng(0))
        pictures = Pictures.of(*searched, metric, asking)
        trials = make_trials(pictures, np.random.default_rng(0), _SEARCHES, sizes, absent=1.0)
        rates = judge_sameness(sameness, trials).false_match_rates
        expected.append(np.log(-np.log1p(-max(float(np.quantile(rates, FALSE_MATCH_RATE)), 1e-9))))
    return replace(sameness, passes=max(0.0, float(expected[0] - expected[1])))
