"""Pseudo-labels: which pictures show the same vehicle, as far as embeddings, tracks and frames tell.

Distances are Jaccard distances of k-reciprocal neighbours (Zhong et al., CVPR 2017) after each camera's mean
embedding is taken away, without which a camera's pictures are neighbours of one another first. As many
neighbours are looked at as vehicles seem to have pictures: with the paper's twenty, vehicles of two pictures
are joined by the dozen. Clusters are those of average linkage: DBSCAN joins whatever a chain of neighbours
connects, and two vehicles that one frame shows would be joined by a third.
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from training.adaptation.chance import pictures_each
from training.datasets.unlabelled import Unlabelled
from training.evaluation.camera_centring import centre_cameras
from training.evaluation.reranking import Reranking, jaccard_rows

NO_CLUSTER = -1

FORBIDDEN = 1e9
"""Distance of two vehicles that one frame shows: no average with it is ever near."""


@dataclass(frozen=True)
class ClusterOptions:
    """How pictures are grouped.

    Attributes:
        most: neighbours that the Jaccard distance looks at, its k1; fewer where vehicles have fewer pictures.
        threshold: mean distance up to which two groups are one vehicle.
        centre: take each camera's mean embedding away.
        tracks: pictures of one track are one vehicle.
        frames: pictures of one frame are different vehicles, unless they are of one track.
    """

    most: int = 20
    threshold: float = 0.5
    centre: bool = True
    tracks: bool = True
    frames: bool = True


def comparable(embedding: np.ndarray, cameras: np.ndarray, metric: str, centre: bool = True) -> np.ndarray:
    """Embeddings as Euclidean distances compare them: float32 [N, D].

    With `centre`, each camera's mean is taken away; else that of all, which moves no Euclidean distance.
    """
    cameras = cameras if centre else np.zeros_like(cameras)
    return centre_cameras(embedding, embedding, cameras, cameras, metric)[0]


def cluster(points: np.ndarray, pictures: Unlabelled, options: ClusterOptions) -> np.ndarray:
    """Group pictures.

    Args:
        points: float32 [N, D], of `comparable`.
        pictures: what else is known of them.
        options: how.

    Returns:
        int64 [N], clusters numbered from 0; `NO_CLUSTER` for a picture that is like no other.
    """
    if len(points) < 3:
        return np.full(len(points), NO_CLUSTER, np.int64)
    near = neighbours(points, pictures, options)
    distances = np.stack([np.maximum(row, 0.0).astype(np.float32) for row in jaccard_rows(points, near)])
    constrain(distances, pictures, options)
    tree = linkage(squareform(distances, checks=False), "average")
    groups = fcluster(tree, options.threshold, "distance")
    return numbered(groups)


def neighbours(points: np.ndarray, pictures: Unlabelled, options: ClusterOptions) -> Reranking:
    """How many neighbours to look at: as many as a vehicle has pictures, and the paper's share of them to
    average over. A track counts as one picture, since it tells nothing of how often a vehicle comes."""
    units = np.arange(len(points))
    if options.tracks:
        units = np.where(pictures.tracks >= 0, len(points) + pictures.tracks, units)
    _, members, counts = np.unique(units, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), points.shape[1]), np.float32)
    np.add.at(sums, members, points)
    each = pictures_each(sums / counts[:, None].astype(np.float32), options.most)
    k1 = min(round(each * len(points) / len(counts)), options.most, len(points) - 1)
    return Reranking(k1, max(2, round(0.3 * k1)))


def constrain(distances: np.ndarray, pictures: Unlabelled, options: ClusterOptions) -> None:
    """Write what tracks and frames tell for sure into distances [N, N]."""
    known = pictures.tracks >= 0
    same_track = known & (pictures.tracks[:, None] == pictures.tracks)
    if options.frames:
        known = pictures.moments >= 0
        together = known & (pictures.moments[:, None] == pictures.moments)
        distances[together & ~same_track] = FORBIDDEN
    if options.tracks:
        distances[same_track] = 0.0
    np.fill_diagonal(distances, 0.0)


def numbered(groups: np.ndarray) -> np.ndarray:
    """Number groups of two and more from 0, in order of their first picture; others are `NO_CLUSTER`."""
    _, first, members, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts > 1)
    number = np.full(len(counts), NO_CLUSTER, np.int64)
    number[kept[np.argsort(first[kept])]] = np.arange(len(kept))
    return number[members]
