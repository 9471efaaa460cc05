"""A query made of several images, and of what a user says of results: this one, not that one."""

from dataclasses import dataclass

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.ranking import unit_length

# How far a query goes towards the mean of the right ones, and away from that of the wrong ones (Rocchio's
# rule in The SMART Retrieval System, 1971). Wrong ones tell less: they lie in any direction.
TOWARDS, AWAY = 0.7, 0.2


@dataclass(frozen=True)
class Feedback:
    """Keys of results that show the vehicle, and of some that do not, which are no longer returned."""

    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()


def still_there(gallery: Gallery, said: Feedback) -> Feedback:
    """The marks without those of images that have left the gallery."""
    there = {result.key for result in gallery.results((*said.positive, *said.negative))}
    return Feedback(
        tuple(key for key in said.positive if key in there),
        tuple(key for key in said.negative if key in there),
    )


def fuse(embeddings: np.ndarray) -> np.ndarray:
    """One query of several images of the same vehicle, float32 [M, D]: their mean."""
    if len(embeddings) == 1:
        return np.asarray(embeddings[0])
    return np.asarray(embeddings.astype(np.float64).mean(axis=0), np.float32)


def refine(query: np.ndarray, positive: np.ndarray, negative: np.ndarray, metric: str) -> np.ndarray:
    """Move a query [D] towards right results [P, D] and away from wrong ones [N, D]; float32 [D]."""
    start = query.astype(np.float64)
    moved = start.copy()
    if len(positive):
        moved += TOWARDS * (positive.astype(np.float64).mean(axis=0) - start)
    if len(negative):
        moved -= AWAY * (negative.astype(np.float64).mean(axis=0) - start)
    result = moved.astype(np.float32)
    return unit_length(result) if metric == "cosine" else result
