"""What is asked of the pictures before anything is learned from them: can they teach the network at all?

A clustering finds clusters in anything: in views of a single vehicle, in kinds of trees. So where pictures
are too few, of one camera, not of what the network knows, or of one vehicle, nothing is learned.
"""

import numpy as np

from training.adaptation.chance import points_by_chance
from training.adaptation.guard import nearest_at_cameras
from training.datasets.unlabelled import Unlabelled

MIN_PICTURES = 100
MIN_AT_CAMERA = 20
"""Pictures without which a camera is none of the two that there have to be."""

MAX_SHIFT = 0.002
"""Of `mix_statistics`. Drawn vehicles on a network of drawn vehicles have 0.0003, real ones 0.0015; coloured
shapes 0.0024 to 0.0035, a street without vehicles 0.005, text and noise 0.008 to 0.024."""

MIN_CLUMPS = 0.2
"""Of `share_in_clumps`: drawn vehicles have 0.42 (hard) and 0.67, real cars 0.62, motorcycles 0.54; one
vehicle alone 0.02 to 0.03, coloured shapes 0.03."""

DRAWS = 3
"""Of the null distribution."""


def too_little(pictures: Unlabelled) -> str | None:
    """Say why nothing can be learned from pictures, whatever they show; None where there is enough."""
    if len(pictures) < MIN_PICTURES:
        return f"{len(pictures)} pictures are too few, {MIN_PICTURES} are needed"
    _, counts = np.unique(pictures.cameras, return_counts=True)
    seen = int(np.count_nonzero(counts >= MIN_AT_CAMERA))
    if seen < 2:
        return f"cameras with {MIN_AT_CAMERA} pictures or more: {seen}, and two are needed"
    return None


def not_vehicles(shift: float) -> str | None:
    """Say that the pictures are not of what the network knows, by how far its statistics shift."""
    if shift <= MAX_SHIFT:
        return None
    return f"the pictures are unlike what the model was trained on: statistics shift by {shift:.4f}"


def too_even(share: float) -> str | None:
    """Say that no vehicles can be told apart, by the share of pictures in clumps."""
    if share >= MIN_CLUMPS:
        return None
    return f"no more than {share:.0%} of the pictures have a match at another camera that stands out"


def share_in_clumps(points: np.ndarray, cameras: np.ndarray, seed: int) -> float:
    """The share of pictures with one at another camera that is nearer than chance would bring it.

    Pictures of many vehicles, most of them at several cameras, lie in clumps. Pictures of one vehicle, or of
    things that never come again, spread evenly. Nearer than chance is nearer than 95% of `points_by_chance`.

    Args:
        points: float32 [N, D], of `comparable`.
        cameras: int64 [N].
        seed: of chance.
    """
    places = np.unique(cameras, return_inverse=True)[1]
    if not places.any():
        return 0.0
    rng = np.random.default_rng(seed)
    chance = [nearest_at_cameras(points_by_chance(points, rng), places)[1].min(axis=1) for _ in range(DRAWS)]
    found = nearest_at_cameras(points, places)[1].min(axis=1)
    return float((found < np.quantile(chance, 0.05)).mean())
