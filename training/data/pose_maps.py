"""Heatmaps and segments of a data set: as images in folders, or to be drawn from the keypoints.

`heatmap_<split>/<name without suffix>/00.jpg .. 35.jpg` and `segment_<split>/.../00.jpg .. 12.jpg`: 49 files
an image, small and gray. Reading them feeds tens of images a second, drawing hundreds. What is to be drawn
travels as keypoints, half a kilobyte instead of three megabytes, and is drawn by `Batch.to`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from training.data.pose_drawing import spread
from training.data.transforms import Geometry, Size
from training.datasets.records import Record, keypoints_of
from zoo.errors import UserError
from zoo.pose import FLIP_KEYPOINTS, FLIP_SEGMENTS, NUM_KEYPOINTS, NUM_SEGMENTS, visible_segments
from zoo.preprocess import resize

COUNTS = {"heatmap": NUM_KEYPOINTS, "segment": NUM_SEGMENTS}
MIRRORED = {"heatmap": FLIP_KEYPOINTS, "segment": FLIP_SEGMENTS}

MapSource = Literal["auto", "drawn", "folders"]
"""Where maps come from; `auto` reads the folders of a split that has them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseInputs:
    """The pose inputs that a model takes."""

    keypoints: bool = False
    heatmaps: bool = False
    segments: bool = False


class PoseMaps:
    """The maps of a data set's images, moved as the images are."""

    def __init__(
        self,
        records: Sequence[Record],
        pose: PoseInputs,
        source: MapSource = "auto",
        antialias: bool = True,
    ) -> None:
        """Decide for each kind of map whether it is read or drawn, for all records alike."""
        self.antialias = antialias
        self.kinds = [
            kind for kind, wanted in (("heatmap", pose.heatmaps), ("segment", pose.segments)) if wanted
        ]
        self.read = {kind for kind in self.kinds if source == "folders"}
        if source == "auto":
            self.read = {kind for kind in self.kinds if _all_have_folders(records, kind)}

    def sample(self, record: Record, geometry: Geometry, source_size: Size) -> dict[str, np.ndarray]:
        """Give an image's maps by the names of `Batch`: `heatmaps` and `segments` where they are read,
        `heatmap_points` and `segment_points` with `spread` where they are to be drawn.

        Args:
            record: of the image.
            geometry: what was done to its pixels.
            source_size: (height, width) of its file's pixels.

        Raises:
            UserError: a map is missing or damaged, or there are no keypoints to draw one from.
        """
        found: dict[str, np.ndarray] = {}
        for kind in self.kinds:
            if kind in self.read:
                maps = geometry.apply(read_maps(record, kind, geometry.resized, self.antialias))
                found[f"{kind}s"] = maps[..., MIRRORED[kind]] if geometry.flip else maps
            else:
                found[f"{kind}_points"] = geometry.apply_to_points(keypoints_of(record), source_size)
                found["spread"] = spread(source_size, geometry.resized)
        return found


def maps_folder(record: Record, kind: str) -> Path:
    """Where a record's maps of a kind (`heatmap` or `segment`) are."""
    return _split_folder(record.path.parent, kind) / record.path.stem


def read_maps(record: Record, kind: str, size: Size, antialias: bool = True) -> np.ndarray:
    """Read a record's maps at (height, width): uint8 [H, W, 36] heatmaps or [H, W, 13] segments.

    A segment with a keypoint that is hardly seen (confidence below 0.5) is all zero.

    Raises:
        UserError: a map is missing or damaged.
    """
    folder = maps_folder(record, kind)
    count = COUNTS[kind]
    maps = np.zeros((*size, count), np.uint8)
    shown = np.ones(count, bool)
    if kind == "segment" and record.keypoints is not None:
        shown = visible_segments(record.keypoints)
    for index in np.flatnonzero(shown):
        path = folder / f"{index:02d}.jpg"
        try:
            with Image.open(path) as image:
                gray = image.convert("L")
        except (OSError, SyntaxError) as error:
            present = len(list(folder.glob("*.jpg"))) if folder.is_dir() else 0
            raise UserError(
                f"{path}: missing or damaged ({present} of {count} maps are in its folder); copy the folder "
                f'again, draw the maps with pose_maps = "drawn", or train a model without {kind}s'
            ) from error
        maps[..., index] = resize(np.asarray(gray.convert("RGB")), size, antialias)[..., 0]
    return maps


def _all_have_folders(records: Sequence[Record], kind: str) -> bool:
    folders = {_split_folder(parent, kind) for parent in {record.path.parent for record in records}}
    there = {folder for folder in folders if folder.is_dir()}
    if there and there != folders:
        missing = min(folders - there)
        _log.warning("%s: missing, so all %ss are drawn from keypoints", missing, kind)
    return bool(folders) and there == folders


def _split_folder(images: Path, kind: str) -> Path:
    return images.parent / f"{kind}_{images.name.removeprefix('image_')}"
