"""What a calibrated model promises of searches of a data set, and what it meets: see `zoo.sameness`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.attributes import BINS, Reliability
from training.evaluation.protocol import Embedded
from training.evaluation.sameness_quality import SamenessQuality, judge_sameness
from training.evaluation.temperature_scaling import spread_sample
from training.evaluation.trials import Pictures, make_trials
from zoo.sameness import Sameness

PROMISED = (0.005, 0.01, 0.02, 0.05)
FEWEST_VEHICLES = 10
_SIZES = (30, 100, 300, 1000, 3000, 10_000)
_SEARCHES = 2000
"""For each size of gallery, and as many again for the probabilities of all sizes."""

_MOST_QUERIES, _MOST_PICTURES = 2000, 20_000
"""Compared with one another at most."""


@dataclass(frozen=True)
class Promise:
    """One promised share of false matches, in galleries of one size.

    Attributes:
        size: images searched.
        promised: the share of absent vehicles that there may be a match for.
        met: the share of them that there is one for.
        low, high: the 95% interval of `met` over vehicles.
    """

    size: int
    promised: float
    met: float
    low: float
    high: float


@dataclass(frozen=True)
class KeptPromises:
    """What a calibration promised and met.

    Attributes:
        promises: by size and share.
        reliability: of the probabilities of all results.
        first: of those of the first results.
        quality: of the searches behind both, a fifth of them for absent vehicles.
    """

    promises: tuple[Promise, ...]
    reliability: Reliability
    first: Reliability
    quality: SamenessQuality


def judge_promises(
    sameness: Sameness, found: Embedded, seed: int = 0, searches: int = _SEARCHES
) -> KeptPromises | None:
    """Hold a calibration to searches among queries and gallery; None where there are too few vehicles.

    Args:
        sameness: the model's.
        found: what it says of a data set that neither training nor calibration saw.
        seed: of the searches.
        searches: for each size of gallery.
    """
    pictures = _compared(found)
    if len(np.unique(pictures.vehicles)) < FEWEST_VEHICLES:
        return None
    rng = np.random.default_rng(seed)
    usual = judge_sameness(sameness, make_trials(pictures, rng, searches))
    largest = len(pictures.vehicles) - int(np.unique(pictures.vehicles, return_counts=True)[1].max())
    promises: list[Promise] = []
    for size in sorted({min(size, largest) for size in _SIZES}):
        absent = judge_sameness(sameness, make_trials(pictures, rng, searches, [size], absent=1.0))
        promises += [
            Promise(size, share, absent.false_matches(share), *absent.false_match_interval(share))
            for share in PROMISED
        ]
    return KeptPromises(
        tuple(promises),
        _reliability(usual.probabilities, usual.is_same),
        _reliability(usual.best, usual.is_right),
        usual,
    )


def _compared(found: Embedded) -> Pictures:
    """Queries, which ask, and gallery; of very many, some that are evenly spread."""
    asking, searched = len(found.query_records), len(found.gallery_records)
    queries = spread_sample(range(asking), _MOST_QUERIES)
    gallery = spread_sample(range(searched), _MOST_PICTURES - len(queries))
    records = [found.query_records[i] for i in queries] + [found.gallery_records[i] for i in gallery]
    embeddings = np.concatenate([found.query.embedding[queries], found.gallery.embedding[gallery]])
    vehicles = np.array([record.vehicle_id for record in records])
    cameras = np.array([record.camera_id for record in records])
    return Pictures.of(embeddings, vehicles, cameras, found.metric, np.arange(len(queries)))


def _reliability(probabilities: np.ndarray, is_right: np.ndarray) -> Reliability:
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(places, minlength=BINS)
    with np.errstate(invalid="ignore"):
        told, right = (
            np.bincount(places, values, minlength=BINS) / count for values in (probabilities, is_right)
        )
    return Reliability(told, right, count)


def by_size(promises: Sequence[Promise]) -> Iterator[tuple[int, list[Promise]]]:
    """The promises of each size of gallery."""
    for size in dict.fromkeys(each.size for each in promises):
        yield size, [each for each in promises if each.size == size]
