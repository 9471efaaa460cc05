"""The guard: is the adapted network better? It is asked without a label; where in doubt, the answer is no.

It judges on pictures that were held out of the training, whole clusters of them. For each and each other
camera, both networks, each for itself, find the nearest picture there. Where both name the same one, and it
names the picture in return, the two are taken for a true match: neither network is asked for what only it
believes. Then three things are compared:

- agreement: the picture is varied (crop, tone, erasing) and searched for its match at that camera. A network
  that has lost what tells vehicles apart loses these pairs first.
- consistency: how often a picture and its nearest at another camera name each other, as two pictures of one
  vehicle do. It has to rise, by more than its standard error.
- tracks, where there are any: the share of pictures whose nearest at their own camera is of their track.
"""

from dataclasses import dataclass

import numpy as np

from training.adaptation.clustering import NO_CLUSTER

HELD_OUT = 0.2
"""Of the clusters, and of the pictures in none."""

TOLERANCE = 0.01
"""What agreement and tracks may lose by chance."""

MIN_PAIRS = 10
"""True matches below which nothing can be said."""


@dataclass(frozen=True)
class View:
    """What one network makes of N pictures, M of them varied; float32 rows as Euclidean distances compare.

    Attributes:
        points: [N, D].
        varied: [M, D].
    """

    points: np.ndarray
    varied: np.ndarray


@dataclass(frozen=True)
class Figures:
    """What speaks for a network, each as a share; None where it cannot be told."""

    agreement: float
    consistency: float
    tracks: float | None


@dataclass(frozen=True)
class Verdict:
    """What the guard decided.

    Attributes:
        new_is_better: whether to take the new network.
        reason: why.
        pairs: matches that agreement was asked for.
        chance: the standard error of the gain in consistency.
        old, new: what speaks for each.
    """

    new_is_better: bool
    reason: str
    pairs: int
    chance: float
    old: Figures
    new: Figures


def hold_out(labels: np.ndarray, tracks: np.ndarray, seed: int) -> np.ndarray:
    """Choose the pictures to judge on, bool [N]: whole clusters and tracks, so that none is also learned."""
    rng = np.random.default_rng(seed)
    single = labels == NO_CLUSTER
    units = np.where(single & (tracks < 0), np.arange(len(labels)), 0)
    units[single & (tracks >= 0)] = len(labels) + tracks[single & (tracks >= 0)]
    units[~single] = 2 * len(labels) + labels[~single]
    _, members = np.unique(units, return_inverse=True)
    return np.asarray((rng.random(members.max() + 1) < HELD_OUT)[members])


def judge(old: View, new: View, judged: np.ndarray, cameras: np.ndarray, tracks: np.ndarray) -> Verdict:
    """Compare two networks.

    Args:
        old, new: what they make of the same pictures; varied are those that are judged.
        judged: int64 [M], the index of each picture that was held out.
        cameras, tracks: int64 [N]; -1 for a picture of no track.
    """
    places = np.unique(cameras, return_inverse=True)[1]
    matches = [nearest_at_cameras(view.points, places)[0] for view in (old, new)]
    pairs = [mutual(each, places) for each in matches]
    agreed = (pairs[0] & pairs[1] & (matches[0] == matches[1]))[judged]
    consistent = [
        pair[judged].sum(axis=1) / np.maximum((match[judged] >= 0).sum(axis=1), 1)
        for pair, match in zip(pairs, matches, strict=True)
    ]
    figures = [
        Figures(
            _agreement(view, agreed, matches[0][judged], places),
            _mean(share),
            _within_tracks(view.points, judged, cameras, tracks),
        )
        for view, share in zip((old, new), consistent, strict=True)
    ]
    gain = consistent[1] - consistent[0]
    chance = float(gain.std() / max(len(gain), 1) ** 0.5) if len(gain) else 0.0
    better, reason = _compare(figures[0], figures[1], int(agreed.sum()), chance)
    return Verdict(better, reason, int(agreed.sum()), chance, *figures)


def _compare(old: Figures, new: Figures, pairs: int, chance: float) -> tuple[bool, str]:
    if pairs < MIN_PAIRS:
        return False, f"only {pairs} matches across cameras could be judged by; {MIN_PAIRS} are needed"
    for name, before, after in (
        ("agreement across variations", old.agreement, new.agreement),
        ("nearest pictures of the same track", old.tracks, new.tracks),
    ):
        if before is not None and after is not None and after < before - TOLERANCE:
            return False, f"{name} fell from {before:.3f} to {after:.3f}"
    change = f"{old.consistency:.3f} before, {new.consistency:.3f} after, {chance:.3f} is chance"
    if new.consistency - old.consistency <= chance:
        return False, f"matches across cameras are no more consistent: {change}"
    return True, f"matches across cameras became more consistent: {change}"


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def nearest_at_cameras(points: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find each picture's nearest at each other camera.

    Args:
        points: [N, D], by Euclidean distance.
        places: int64 [N], cameras numbered from 0.

    Returns:
        The nearest pictures, int64 [N, cameras], and their squared distances; -1 and infinity at its own.
    """
    distances = _distances(points, points)
    nearest = np.full((len(points), int(places.max()) + 1), -1, np.int64)
    least = np.full(nearest.shape, np.inf)
    for place in range(nearest.shape[1]):
        here = np.flatnonzero(places == place)
        others = np.flatnonzero(places != place)
        part = distances[np.ix_(others, here)]
        nearest[others, place] = here[part.argmin(axis=1)]
        least[others, place] = part.min(axis=1)
    return nearest, least


def mutual(nearest: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Whether a picture and its nearest at a camera name each other, bool [N, cameras]."""
    back = nearest[nearest, places[:, None]]
    return np.asarray((nearest >= 0) & (back == np.arange(len(nearest))[:, None]))


def _agreement(view: View, agreed: np.ndarray, matches: np.ndarray, places: np.ndarray) -> float:
    """The mean of 1 / rank of a varied picture's match among all pictures at the match's camera.

    Args:
        view: of the network.
        agreed: bool [M, cameras], the matches that count.
        matches: int64 [M, cameras].
        places: int64 [N], cameras numbered from 0.
    """
    distances = _distances(view.varied, view.points)
    images, cameras = np.nonzero(agreed)
    own = distances[images, matches[images, cameras]]
    nearer = [
        int((distances[image, places == camera] < limit).sum())
        for image, camera, limit in zip(images, cameras, own, strict=True)
    ]
    return float(np.mean(1.0 / (1 + np.array(nearer)))) if nearer else 0.0


def _within_tracks(
    points: np.ndarray, judged: np.ndarray, cameras: np.ndarray, tracks: np.ndarray
) -> float | None:
    ids, counts = np.unique(tracks[tracks >= 0], return_counts=True)
    images = judged[np.isin(tracks[judged], ids[counts > 1])]
    if not len(images):
        return None
    distances = _distances(points[images], points)
    distances[cameras[images][:, None] != cameras] = np.inf
    distances[np.arange(len(images)), images] = np.inf
    return float((tracks[distances.argmin(axis=1)] == tracks[images]).mean())


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
