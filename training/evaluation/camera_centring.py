"""Camera centring: search with each camera's mean embedding taken away, without any label."""

import numpy as np

from zoo.camera_means import CameraSums


def centre_cameras(
    query: np.ndarray,
    gallery: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    metric: str = "euclidean",
) -> tuple[np.ndarray, np.ndarray]:
    """Take the gallery's camera means away from queries and gallery.

    Args:
        query, gallery: [Q, D] and [G, D].
        query_cameras, gallery_cameras: int64 [Q] and [G]; a camera that the gallery has no picture of is
            taken for the mean of all.
        metric: `euclidean` or `cosine`.

    Returns:
        both as float32, of `cosine` embeddings at unit length.
    """
    asked, known = (_comparable(each, metric) for each in (query, gallery))
    means = CameraSums(gallery.shape[1]).with_pictures(known, gallery_cameras).means
    return means.centred(asked, query_cameras, metric), means.centred(known, gallery_cameras, metric)


def _comparable(embeddings: np.ndarray, metric: str) -> np.ndarray:
    vectors = np.asarray(embeddings, np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.where(lengths > 0, lengths, 1)
    return vectors.astype(np.float32)
