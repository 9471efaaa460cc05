"""Passes: what a gallery keeps of a vehicle that a camera saw, the mean vector of several pictures."""

import numpy as np


def pool_passes(
    embeddings: np.ndarray, vehicles: np.ndarray, cameras: np.ndarray, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take each vehicle's pictures by one camera for a pass.

    Args:
        embeddings: float32 [N, D].
        vehicles, cameras: int64 [N].
        metric: that compares them.

    Returns:
        of each pass the mean embedding [P, D], of length 1 for `cosine`, vehicle, camera, and pictures [P].
    """
    names, places, counts = np.unique(
        np.stack([vehicles, cameras], 1), axis=0, return_inverse=True, return_counts=True
    )
    means = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(means, places.reshape(-1), embeddings)
    means /= counts[:, None]
    if metric == "cosine":
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means.astype(np.float32), names[:, 0], names[:, 1], counts
