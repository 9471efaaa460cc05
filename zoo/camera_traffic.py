"""Whether cameras see different traffic, from what the model tells of their pictures: no label is needed.

Taking a camera's mean away supposes that the cameras see the same mix of vehicles, so that the means differ
by the cameras alone. At a bus lane the mean is the bus: taking it away makes a bus there unlike itself
elsewhere.

Each camera's predicted types, and its predicted colours, are compared with those of all other cameras by the
Jensen-Shannon divergence (Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on
Information Theory 1991): 0 bits where they are the same, 1 bit where they have no class in common. Few
pictures differ by chance: the divergence has to exceed that of all of `DRAWS` random choices of as many.

What is compared are predictions: a camera whose view misleads the model looks like one of other traffic.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.camera_means import NO_CAMERA

UNLIKE = 0.25
"""Bits from which traffic counts as different: as if two in five vehicles of a camera were of a kind that no
other camera sees."""

DRAWS = 999
"""Random choices, so that one camera in a thousand is named by chance."""

_NAMED = 5


@dataclass(frozen=True)
class UnlikeTraffic:
    """A camera whose vehicles are not those of the others.

    Attributes:
        camera: its id.
        by: what they differ by, `type` or `colour`.
        divergence: in bits.
    """

    camera: int
    by: str
    divergence: float


def unlike_traffic(cameras: np.ndarray, told: Mapping[str, np.ndarray]) -> list[UnlikeTraffic]:
    """The cameras whose traffic differs from the others' by more than chance, most different first.

    Args:
        cameras: of N pictures, int64 [N]; `NO_CAMERA` where unknown.
        told: for `type` and `colour`, the predicted class of each picture, int [N]; negative where unknown.
    """
    found = []
    for by, classes in told.items():
        known = (cameras != NO_CAMERA) & (classes >= 0)
        ids, places = np.unique(cameras[known], return_inverse=True)
        kinds, kind = np.unique(classes[known], return_inverse=True)
        counts = np.zeros((len(ids), len(kinds)), np.int64)
        np.add.at(counts, (places, kind), 1)
        total = counts.sum(axis=0)
        rng = np.random.default_rng(0)
        for camera, own in zip(ids.tolist(), counts, strict=True):
            if len(ids) < 2:
                break
            divergence = float(_divergence(own[None], total[None] - own)[0])
            if divergence < UNLIKE:
                continue
            drawn = rng.multivariate_hypergeometric(total, int(own.sum()), DRAWS, method="marginals")
            if divergence > _divergence(drawn, total - drawn).max():
                found.append(UnlikeTraffic(camera, by, divergence))
    return sorted(found, key=lambda each: (-each.divergence, each.camera))


def traffic_warning(cameras: np.ndarray, told: Mapping[str, np.ndarray]) -> str:
    """What to say of cameras that see different traffic, in one line; empty where none does."""
    found = unlike_traffic(cameras, told)
    if not found:
        return ""
    named = [f"camera {each.camera} by {each.by} ({each.divergence:.2f} bits)" for each in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"the traffic looks different from that of the other cameras at {', '.join(named)}{more}: where the "
        "vehicles are different ones, camera centring hurts; compare with centring off"
    )


def _divergence(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits of rows of counts [M, C], float64 [M]."""
    first = own / np.maximum(own.sum(axis=1, keepdims=True), 1)
    second = others / np.maximum(others.sum(axis=1, keepdims=True), 1)
    return np.asarray(_entropy((first + second) / 2) - (_entropy(first) + _entropy(second)) / 2)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return np.asarray(-(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=1))
