"""The passes of a gallery: what a camera saw of one vehicle at one time, as one row."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Camera, Entry


@dataclass(frozen=True, eq=False)
class Passes:
    """Passes in order of time.

    Attributes:
        images: the keys of each pass, the earliest first; the first one names the pass.
        camera: int64 [N].
        start, end: seconds, float64 [N].
        place: latitude and longitude in degrees, float64 [N, 2]; NaN where unknown.
        embedding: float32 [N, D], the mean of the images'.
        color_probs, type_probs: float32 [N, C] and [N, T]; of no column where the model does not tell.
        left_out: images without a camera or a time.
    """

    images: tuple[tuple[str, ...], ...]
    camera: np.ndarray
    start: np.ndarray
    end: np.ndarray
    place: np.ndarray
    embedding: np.ndarray
    color_probs: np.ndarray
    type_probs: np.ndarray
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def numbers(self) -> dict[str, int]:
        """The row of each image, by key."""
        return {key: row for row, keys in enumerate(self.images) for key in keys}


def read_passes(gallery: Gallery) -> Passes:
    """The passes of a gallery: the images of one track of one camera, or an image of no track by itself."""
    described = {camera.id: camera for camera in gallery.cameras()}
    groups: dict[object, list[Entry]] = defaultdict(list)
    left_out = 0
    for batch in gallery.entries():
        for entry in batch:
            if entry.camera is None or entry.time is None:
                left_out += 1
                continue
            name = entry.key if entry.track_id is None else (entry.camera, entry.track_id)
            groups[name].append(entry)
    members = [sorted(group, key=lambda entry: (entry.time, entry.key)) for group in groups.values()]
    members.sort(key=lambda group: (group[0].time, group[0].key))
    dimension = gallery.model.card.outputs["embedding"]
    embedding = np.array([np.mean([entry.embedding for entry in group], axis=0) for group in members])
    return Passes(
        tuple(tuple(entry.key for entry in group) for group in members),
        np.array([group[0].camera for group in members], np.int64),
        np.array([group[0].time for group in members], np.float64),
        np.array([group[-1].time for group in members], np.float64),
        np.array([_place(group[0], described) for group in members], np.float64).reshape(-1, 2),
        embedding.astype(np.float32).reshape(-1, dimension),
        _means([[entry.color_probs for entry in group] for group in members]),
        _means([[entry.type_probs for entry in group] for group in members]),
        left_out,
    )


def _place(entry: Entry, described: dict[int, Camera]) -> tuple[float, float]:
    if entry.latitude is not None and entry.longitude is not None:
        return entry.latitude, entry.longitude
    camera = described.get(entry.camera or 0)
    return (np.nan, np.nan) if camera is None or camera.place is None else camera.place


def _means(groups: list[list[np.ndarray]]) -> np.ndarray:
    """Of each group; of no column where an image has none."""
    if not groups or not all(row.size for group in groups for row in group):
        return np.zeros((len(groups), 0), np.float32)
    return np.array([np.mean(group, axis=0) for group in groups], np.float32)
