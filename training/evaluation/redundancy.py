"""What galleries tell of how many pictures of a vehicle they have, held to what they have.

The nearest to a picture do not hold all of its vehicle, the fewer the weaker the model and the larger the
gallery. See `zoo.sameness`.
"""

from dataclasses import replace

import numpy as np

from training.evaluation.trials import Pictures, by_vehicle, draw_gallery, draw_most, redundancy_of
from zoo.sameness import AS_IT_IS, COHORT, NEIGHBORS, PROBES, Sameness

_GALLERIES = 500
_SMALLEST, _FEWEST_ASKED = 10, 8
_LEAST_SLOPE = 0.3
"""Of log told by log m: a model that tells less of it would make much of chance."""


def fit_told(sameness: Sameness, pictures: Pictures, seed: int = 0) -> Sameness:
    """Add what galleries of one to eight pictures of a vehicle, from 10 pictures to all, tell of them.

    A regression of what is told on what is there, and not the other way round: what is made of it then is
    right for galleries of few pictures of each vehicle and of many, not for the mean of both.

    Args:
        sameness: fitted to the pictures.
        pictures: those of them that may be queries are asked.
        seed: of the galleries.
    """
    if not sameness.asks_for_redundancy:
        return sameness
    plain = replace(sameness, told=AS_IT_IS)
    of, rng = by_vehicle(pictures.vehicles), np.random.default_rng(seed)
    row = np.full(len(pictures.vehicles), -1)
    row[pictures.asking] = np.arange(len(pictures.asking))
    known, told = [], []
    for _ in range(_GALLERIES):
        size = round(_SMALLEST * (len(pictures.vehicles) / _SMALLEST) ** rng.random())
        gallery = draw_gallery(of, rng, size, draw_most(rng, size, len(of)))
        asked = rng.permutation(np.flatnonzero(row[gallery] >= 0))[:PROBES]
        if len(asked) < _FEWEST_ASKED:
            continue
        compared = pictures.distances[row[gallery[asked]]][:, gallery]
        known.append([1.0, np.log(redundancy_of(pictures.vehicles[gallery])), np.log(len(gallery))])
        told.append(np.log(redundancy_told(plain, compared, asked)))
    features, labels = np.array(known), np.array(told)
    weights = np.linalg.lstsq(features, labels, rcond=None)[0]
    if weights[1] < _LEAST_SLOPE:
        labels = labels - _LEAST_SLOPE * features[:, 1]
        constant, by_count = np.linalg.lstsq(features[:, [0, 2]], labels, rcond=None)[0]
        weights = np.array([constant, _LEAST_SLOPE, by_count])
    return replace(sameness, told=tuple(weights.tolist()))


def redundancy_told(sameness: Sameness, compared: np.ndarray, asked: np.ndarray) -> float:
    """How many pictures of a vehicle a gallery has, as `retrieval.query.redundancy` asks it.

    Args:
        sameness: by which it is told.
        compared: distances of some of its pictures to all N, [P, N].
        asked: the places of those [P].
    """
    count = compared.shape[1]
    cohort = np.linspace(0, count - 1, min(COHORT, count)).astype(int)
    searches = []
    for place, distances in zip(asked, compared.astype(float), strict=True):
        others = np.delete(distances, place)
        last = min(NEIGHBORS, len(others)) - 1
        searches.append((distances[cohort], np.sort(np.partition(others, last)[: last + 1])))
    return sameness.redundancy_among(searches, count)
