"""What a search amounts to: the chance that each result shows the query's vehicle, and the verdict."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.distances import distances
from retrieval.gallery.entries import Result
from retrieval.gallery.filters import Filters
from retrieval.query.redundancy import redundancy_of
from zoo.errors import UserError
from zoo.sameness import COHORT, FALSE_MATCH_RATE, Sameness, Verdict, verdict_of


def with_probabilities(
    gallery: Gallery, embedding: np.ndarray, found: Sequence[Result], filters: Filters | None
) -> list[Result]:
    """Tell of each result how likely it is the query's vehicle; inside the search's read transaction.

    The cohort is of what was searched, so that a filter that leaves many look-alikes counts.

    Args:
        gallery: that was searched; without calibration, with its cameras centred, or with passes that the
            calibration knows nothing of, nothing can be told.
        embedding: float32 [D], as it was searched with.
        found: the results.
        filters: that were searched with.
    """
    sameness = calibration_of(gallery)
    if sameness is None or not found:
        return list(found)
    cohort, images = gallery.sample(COHORT, filters), gallery.count(filters)
    standing = sameness.standing(
        distances(embedding, cohort, gallery.model.card.metric),
        images,
        redundancy_of(gallery, sameness, filters, images),
    )
    apart = np.array([result.distance for result in found])
    told = zip(
        standing.probabilities(apart).tolist(), standing.false_match_rates(apart).tolist(), strict=True
    )
    return [
        replace(result, probability=probability, false_match_rate=rate)
        for result, (probability, rate) in zip(found, told, strict=True)
    ]


def worth_of_looks(gallery: Gallery) -> tuple[float, float]:
    """What colours and types are worth in the order of results; nothing where there is no calibration."""
    sameness = calibration_of(gallery)
    return (0.0, 0.0) if sameness is None else sameness.looks


def can_weigh(gallery: Gallery) -> dict[str, bool]:
    """Whether a `color` or a `type` changes the order of a search where it hides nothing."""
    color, type = worth_of_looks(gallery)
    return {"color": color > 0, "type": type > 0}


def can_tell(gallery: Gallery) -> bool:
    """Whether searches of a gallery have probabilities and verdicts."""
    return calibration_of(gallery) is not None


def calibration_of(gallery: Gallery) -> Sameness | None:
    """The calibration that holds for searches of a gallery; None where nothing can be told."""
    found = None if gallery.camera_centring else Sameness.of(gallery.model.card)
    return found.for_passes() if found is not None and gallery.holds_passes() else found


def verdict(gallery: Gallery, found: Sequence[Result], promised: float = FALSE_MATCH_RATE) -> Verdict | None:
    """The verdict on a search; None where nothing can be told.

    Args:
        gallery: that was searched.
        found: the results, in any order.
        promised: the share of vehicles that the gallery does not have for which there may be a match.
    """
    if not can_tell(gallery):
        return None
    told = [(r.probability, r.false_match_rate) for r in found if r.probability is not None]
    if not told:
        return "no match"
    probability, rate = max(told, key=lambda each: each[0])
    return verdict_of(probability, 1.0 if rate is None else rate, promised)


def add_false_match_rate(parser: argparse.ArgumentParser) -> None:
    """Add the option that says what verdicts promise."""
    parser.add_argument(
        "--false-match-rate",
        type=float,
        default=FALSE_MATCH_RATE,
        metavar="P",
        help="share of vehicles that are not here for which the verdict may be `match` [%(default)s]",
    )


def check_false_match_rate(rate: float) -> None:
    """Raise `UserError` where a promise is none."""
    if not 0 < rate < 1:
        raise UserError(f"--false-match-rate {rate:g}: a share between 0 and 1 is expected, such as 0.01")
