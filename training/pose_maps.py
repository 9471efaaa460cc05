"""Heatmaps and segments of a data set: folders of small grayscale images, one folder for each photograph.

`heatmap_<split>/<name without suffix>/00.jpg .. 35.jpg` and `segment_<split>/.../00.jpg .. 12.jpg`.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from training.records import Record
from zoo.errors import UserError
from zoo.pose import NUM_KEYPOINTS, NUM_SEGMENTS, visible_segments

COUNTS = {"heatmap": NUM_KEYPOINTS, "segment": NUM_SEGMENTS}


def maps_folder(record: Record, kind: str) -> Path:
    """Where a record's maps of a kind (`heatmap` or `segment`) are."""
    root, split = record.path.parent.parent, record.path.parent.name.removeprefix("image_")
    return root / f"{kind}_{split}" / record.path.stem


def read_maps(record: Record, kind: str, size: tuple[int, int]) -> np.ndarray:
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
                resized = image.convert("L").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError) as error:
            present = len(list(folder.glob("*.jpg"))) if folder.is_dir() else 0
            raise UserError(
                f"{path}: missing or damaged ({present} of {count} maps are in its folder); copy the folder "
                f"again, or train a model without {kind}s"
            ) from error
        maps[..., index] = np.asarray(resized)
    return maps
