"""The camera means of a collection, which Milvus cannot compute: read from its images when these change."""

import threading
from dataclasses import dataclass

import numpy as np

from retrieval.milvus.about import About
from retrieval.milvus.connection import Connection
from zoo.camera_means import NO_CAMERA, CameraMeans, CameraSums

_TRIES = 3
"""Reads of all images, before what was read while others kept changing them is good enough."""


@dataclass(frozen=True, eq=False)
class CameraStatistics:
    """Camera means, and what bounds a search by them.

    Attributes:
        means: the camera means.
        reach: the least and the greatest distance of an image from the mean that is taken away from it,
            float64 [C + 1, 2], in the order of `means.means`; only of a cosine model.
    """

    means: CameraMeans
    reach: np.ndarray


class StatisticsReader:
    """Reads the statistics, and keeps them until somebody has changed the images.

    Every writer leaves a mark after a change, and the number of images counts as well, so that a change whose
    mark is still to come is rarely missed.
    """

    def __init__(
        self, connection: Connection, images: str, about: About, dimension: int, metric: str
    ) -> None:
        self._connection = connection
        self._images = images
        self._about = about
        self._dimension = dimension
        self._metric = metric
        self._lock = threading.Lock()
        self._known: tuple[tuple[str, int], CameraStatistics] | None = None

    def read(self) -> CameraStatistics:
        """The statistics of what the collection holds now."""
        with self._lock:
            state = self._state()
            if self._known is not None and self._known[0] == state:
                return self._known[1]
            for _ in range(_TRIES):
                found = self._scan()
                before, state = state, self._state()
                if state == before:
                    break
            self._known = (state, found)
            return found

    def _state(self) -> tuple[str, int]:
        rows = self._connection.recent("query", self._images, filter="", output_fields=["count(*)"])
        return self._about.last_change(), int(rows[0]["count(*)"])

    def _scan(self) -> CameraStatistics:
        sums = CameraSums(self._dimension)
        for batch in self._connection.scan(self._images, "", ["camera", "embedding"]):
            sums = sums.with_pictures(*columns(batch))
        means = sums.means
        reach = np.tile([np.inf, 0.0], (len(means.means), 1))
        if self._metric == "cosine":
            for batch in self._connection.scan(self._images, "", ["camera", "embedding"]):
                embeddings, cameras = columns(batch)
                places = means.of(cameras)
                apart = np.linalg.norm(embeddings.astype(np.float64) - means.means[places], axis=1)
                np.minimum.at(reach[:, 0], places, apart)
                np.maximum.at(reach[:, 1], places, apart)
        return CameraStatistics(means, reach)


def columns(rows: list[dict[str, object]]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 [M, D] and cameras int64 [M] of rows."""
    cameras = [NO_CAMERA if row["camera"] is None else row["camera"] for row in rows]
    return np.asarray([row["embedding"] for row in rows], np.float32), np.array(cameras, np.int64)
