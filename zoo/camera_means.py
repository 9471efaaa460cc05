"""Camera statistics: each camera's mean embedding, shrunk, and taken away from what the camera sees.

Pictures of one camera share its light, angle and background, and so their embeddings share an offset that
says nothing of the vehicle. The mean over many vehicles shows that offset, without any label.

The mean of a few pictures is mostly the vehicles in them, and taking it away takes them away. It is therefore
shrunk towards the mean of all pictures, as if the camera had seen `STRENGTH` more pictures there:

    mean_c = m + n_c / (n_c + STRENGTH) (m_c - m)

m_c is the mean of the camera's n_c pictures, m that of all. A query of a new or unknown camera loses m. The
strength was chosen by what searches find; docs/gallery.md has the figures. The weights that theory offers, of
random effects or of James and Stein, were tried too. They ask how far chance alone would move such a mean,
and are too careful: the cameras of a network see the same vehicles, whose part in the means is the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

STRENGTH = 5.0
"""Pictures at which a camera's own mean counts for half."""

NO_CAMERA = int(np.iinfo(np.int64).min)
"""Stands for an image of an unknown camera; no real id can be it."""


@dataclass(frozen=True, eq=False)
class CameraMeans:
    """What is taken away from the embeddings of each camera.

    Attributes:
        cameras: ids, ascending, int64 [C].
        means: float32 [C + 1, D], shrunk; the last is that of all pictures, for any other camera and none.
        counts: pictures of each camera, int64 [C].
        within: the variance of pictures about their own camera's mean, summed over the dimensions and pooled
            over the cameras; 0 where no camera has two pictures.
    """

    cameras: np.ndarray
    means: np.ndarray
    counts: np.ndarray
    within: float

    def of(self, cameras: np.ndarray) -> np.ndarray:
        """The rows of `means` of cameras [M], int64 [M]."""
        if not len(self.cameras):
            return np.zeros(len(cameras), np.int64)
        places = np.minimum(np.searchsorted(self.cameras, cameras), len(self.cameras) - 1)
        return np.where(self.cameras[places] == cameras, places, len(self.cameras))

    def centred(self, embeddings: np.ndarray, cameras: np.ndarray, metric: str) -> np.ndarray:
        """Take the cameras' means away; for `cosine`, bring what is left to unit length.

        Args:
            embeddings: float32 [M, D]; for `cosine` of unit length.
            cameras: their ids, int64 [M]; `NO_CAMERA` where unknown.
            metric: `euclidean` or `cosine`.

        Returns:
            float32 [M, D]; each row depends on its own embedding and camera alone, to the last bit.
        """
        left = np.asarray(embeddings, np.float32) - self.means[self.of(np.asarray(cameras, np.int64))]
        if metric == "cosine":
            lengths = np.sqrt(np.square(left, dtype=np.float64).sum(axis=1))
            left /= np.where(lengths > 0, lengths, 1).astype(np.float32)[:, None]
        return np.asarray(left)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one camera: pictures, their embeddings' sum float64 [D], and the sum of the squared lengths."""

    count: int
    total: np.ndarray
    squares: float


class CameraSums:
    """Sums over a set of pictures, from which its camera means follow; one never changes.

    Args:
        dimension: D.
        sums: by camera.
    """

    def __init__(self, dimension: int, sums: Mapping[int, _Sums] | None = None) -> None:
        self.dimension = dimension
        self._sums = dict(sums or {})

    def with_pictures(self, embeddings: np.ndarray, cameras: np.ndarray) -> "CameraSums":
        """The sums with more pictures: float32 [M, D], int64 [M]."""
        return self._changed(embeddings, cameras, 1)

    def without_pictures(self, embeddings: np.ndarray, cameras: np.ndarray) -> "CameraSums":
        """The sums without pictures that are in them."""
        return self._changed(embeddings, cameras, -1)

    def _changed(self, embeddings: np.ndarray, cameras: np.ndarray, sign: int) -> "CameraSums":
        sums = dict(self._sums)
        nothing = _Sums(0, np.zeros(self.dimension), 0.0)
        ids, groups = np.unique(np.asarray(cameras, np.int64), return_inverse=True)
        for group, camera in enumerate(ids.tolist()):
            rows = np.asarray(embeddings[groups == group], np.float64)
            old = sums.pop(camera, nothing)
            count = old.count + sign * len(rows)
            if count:
                total = old.total + sign * rows.sum(axis=0)
                sums[camera] = _Sums(count, total, old.squares + sign * float(np.square(rows).sum()))
        return CameraSums(self.dimension, sums)

    @cached_property
    def means(self) -> CameraMeans:
        """The shrunk means; of no pictures, nothing is taken away."""
        known = sorted(camera for camera in self._sums if camera != NO_CAMERA)
        counts = np.array([self._sums[camera].count for camera in known], np.int64)
        totals = np.array([self._sums[camera].total for camera in known]).reshape(-1, self.dimension)
        # In one order, whatever order the pictures came in.
        everything = [self._sums[camera] for camera in sorted(self._sums)]
        pictures = sum(each.count for each in everything)
        nothing = np.zeros(self.dimension)
        common = np.sum([each.total for each in everything] or [nothing], axis=0) / max(pictures, 1)
        own = totals / counts[:, None]
        squares = sum(self._sums[camera].squares for camera in known)
        explained = float((counts * np.square(own).sum(axis=1)).sum())
        spare = int(counts.sum()) - len(known)
        within = max(squares - explained, 0.0) / spare if spare else 0.0
        weights = counts / (counts + STRENGTH)
        means = np.vstack([common + weights[:, None] * (own - common), common])
        return CameraMeans(np.array(known, np.int64), means.astype(np.float32), counts, within)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """For a file: `cameras` and `counts` int64 [C], `totals` float64 [C, D], `squares` float64 [C]."""
        cameras = sorted(self._sums)
        return {
            "cameras": np.array(cameras, np.int64),
            "counts": np.array([self._sums[camera].count for camera in cameras], np.int64),
            "totals": np.array([self._sums[camera].total for camera in cameras]).reshape(-1, self.dimension),
            "squares": np.array([self._sums[camera].squares for camera in cameras], np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "CameraSums":
        """The sums of which `to_arrays` made these."""
        columns = (arrays["cameras"].tolist(), arrays["counts"].tolist(), arrays["totals"])
        rows = zip(*columns, arrays["squares"].tolist(), strict=True)
        dimension = arrays["totals"].shape[1]
        return cls(dimension, {camera: _Sums(count, total, square) for camera, count, total, square in rows})
