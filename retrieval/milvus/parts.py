"""The requests of one search: Milvus compares embeddings as they are, camera centring compares others.

Within one camera, what is taken away is the same for all images. So the nearest by Euclidean distance are
those that are nearest to the query moved by the camera's mean, x - m_c - q = x - (q + m_c), and each camera
is asked for by a request of its own. For a cosine model, the images of a camera are asked for by their inner
product with the query, and fetched until no other one can be nearer:

    cos(x - m_c, q) = (x q - m_c q) / |x - m_c|,    and |x - m_c| lies between bounds that are known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from retrieval.gallery.distances import Metric, is_settled
from retrieval.milvus.camera_statistics import CameraStatistics


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the images and how they are searched.

    Attributes:
        point: what Milvus compares with, float32 [D].
        expression: which images.
        is_settled: whether none beyond the last candidate can be nearer than the k-th distance known; takes
            what Milvus says of the candidate, and that distance.
    """

    point: np.ndarray
    expression: str
    is_settled: Callable[[float, float], bool]


def parts_of(
    query: np.ndarray,
    expression: str,
    metric: Metric,
    statistics: CameraStatistics | None,
    is_nullable: bool,
) -> Iterator[Part]:
    """All parts of a search: one, or one for each camera and one for the rest.

    Args:
        query: float32 [D], centred where there are statistics.
        expression: of the filters.
        metric: of the model.
        statistics: what camera centring goes by; None where there is none.
        is_nullable: whether images may lack a camera's number; else an unknown camera is one of the others.
    """
    if statistics is None:
        yield Part(query, expression, _uncentred(query, metric))
        return
    cameras = [f"camera == {camera}" for camera in statistics.means.cameras.tolist()]
    known = ", ".join(str(camera) for camera in statistics.means.cameras.tolist())
    others = f"camera not in [{known}]" if known else ""
    if known and is_nullable:
        others = f"(camera is null or {others})"
    for place, camera in enumerate([*cameras, others]):
        chosen = " and ".join(term for term in (expression, camera) if term)
        mean = statistics.means.means[place]
        if metric == "euclidean":
            point = query + mean
            yield Part(point, chosen, _uncentred(point, metric))
        else:
            least, most = statistics.reach[place].tolist()
            yield Part(query, chosen, _cosine(query, mean, least, most))


def _uncentred(point: np.ndarray, metric: Metric) -> Callable[[float, float], bool]:
    def settled(last: float, kth: float) -> bool:
        return is_settled(point, 1 - last if metric == "cosine" else last, kth, metric)

    return settled


def _cosine(query: np.ndarray, mean: np.ndarray, least: float, most: float) -> Callable[[float, float], bool]:
    # Float32's rounding of an inner product of two vectors of unit length.
    rounding = 4 * np.sqrt(len(query)) * float(np.finfo(np.float32).eps)
    taken = float(mean.astype(np.float64) @ query.astype(np.float64))

    def settled(last: float, kth: float) -> bool:
        above = last + rounding - taken
        length = least if above > 0 else most
        return length > 0 and bool(1 - above / length > kth + rounding)

    return settled
