"""HOTA and IDF1 of identities that were found, to their papers' formulas.

HOTA: Luiten et al., IJCV 2021. IDF1: Ristani et al., ECCV Workshops 2016. Both count boxes, of one camera or
of several: with several, a frame is one camera's at one time, and an identity is one of all cameras.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The overlaps that HOTA asks for, one after the other."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What a frame truly shows, and what was found in it.

    Attributes:
        true: identity of each true box, numbers from 0, int64 [M].
        found: identity of each box that was found, numbers from 0, int64 [N].
        overlap: intersection over union of each with each, float64 [M, N].
    """

    true: np.ndarray
    found: np.ndarray
    overlap: np.ndarray


@dataclass(frozen=True)
class Hota:
    """Higher order tracking accuracy, the mean of all overlaps that are asked for, and its two parts."""

    hota: float
    detection: float
    association: float


def hota(frames: Sequence[Frame]) -> Hota:
    """Geometric mean of how well boxes and how well identities are found (equations 5 to 8 and 13)."""
    shape = _identities(frames)
    count_true, count_found, possible = np.zeros(shape[0]), np.zeros(shape[1]), np.zeros(shape)
    for frame in frames:
        np.add.at(count_true, frame.true, 1)
        np.add.at(count_found, frame.found, 1)
        whole = frame.overlap.sum(axis=1)[:, None] + frame.overlap.sum(axis=0) - frame.overlap
        share = np.divide(frame.overlap, whole, out=np.zeros_like(whole), where=whole > 0)
        np.add.at(possible, np.ix_(frame.true, frame.found), share)
    # Identities that go together most are matched first, as the paper's appendix asks for.
    together = possible / np.maximum(count_true[:, None] + count_found - possible, 1e-9)
    matched = np.zeros((len(ALPHAS), *shape))
    for frame in frames:
        rows, columns = linear_sum_assignment(-together[np.ix_(frame.true, frame.found)] * frame.overlap)
        near = frame.overlap[rows, columns]
        for place, alpha in enumerate(ALPHAS):
            kept = near >= alpha - 1e-9
            np.add.at(matched[place], (frame.true[rows[kept]], frame.found[columns[kept]]), 1)
    hits = matched.sum(axis=(1, 2))
    detection = hits / np.maximum(count_true.sum() + count_found.sum() - hits, 1)
    agreed = matched / np.maximum(count_true[:, None] + count_found - matched, 1)
    association = (matched * agreed).sum(axis=(1, 2)) / np.maximum(hits, 1)
    whole = np.sqrt(detection * association)
    return Hota(float(whole.mean()), float(detection.mean()), float(association.mean()))


def idf1(frames: Sequence[Frame], least: float = 0.5) -> float:
    """The share of boxes whose identity is right, with each true identity given one that was found."""
    shape = _identities(frames)
    shared, boxes = np.zeros(shape), 0
    for frame in frames:
        rows, columns = np.nonzero(frame.overlap >= least)
        np.add.at(shared, (frame.true[rows], frame.found[columns]), 1)
        boxes += len(frame.true) + len(frame.found)
    return 2 * float(shared[linear_sum_assignment(-shared)].sum()) / max(boxes, 1)


def _identities(frames: Iterable[Frame]) -> tuple[int, int]:
    """How many there are, true and found."""
    every = [(int(f.true.max(initial=-1)) + 1, int(f.found.max(initial=-1)) + 1) for f in frames]
    return max((true for true, _ in every), default=0), max((found for _, found in every), default=0)
