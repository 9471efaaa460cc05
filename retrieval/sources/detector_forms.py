"""The forms that detectors have as ONNX, told apart by the shapes of input and output."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

COCO_VEHICLES = {2: "car", 3: "motorcycle", 5: "bus", 7: "truck"}
"""The vehicles among COCO's 80 classes."""

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Pixels a cell of the grids that these detectors look at."""

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes [N, 4] as left, top, right, bottom in the input's pixels; scores [N]; class indices [N]."""


@dataclass(frozen=True)
class Form:
    """How a detector wants its image, and what its output means.

    Attributes:
        name: for people.
        order: of the channels.
        scale: that 0..255 is multiplied by.
        fit: the scene keeps its shape, in the middle or the corner of a gray input, or fills the input.
        read: turns the output without its batch dimension into boxes, scores and classes, of what has at
            least the score that it is given.
        classes: how many there are; None where the output does not tell.
    """

    name: str
    order: Literal["RGB", "BGR"]
    scale: float
    fit: Literal["middle", "corner", "fill"]
    read: Callable[[np.ndarray, float], Found]
    classes: int | None = None


UNDERSTOOD = (
    "YOLOX's [1, cells, 5 + classes], YOLOv8's [1, 4 + classes, cells] (cells of the strides 8, 16 and 32), "
    "or SSD's [1, 1, boxes, 7]"
)


def recognise(output: np.ndarray, height: int, width: int) -> Form | None:
    """The form of a detector, by what it gives for an image of one gray; None for another one.

    Args:
        output: float32, of an input of this height and width in pixels.
        height, width: as above.
    """
    shape = output.shape
    if len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7:
        return Form("SSD", "BGR", 1.0, "fill", partial(_read_ssd, height=height, width=width))
    if len(shape) != 3 or shape[0] != 1:
        return None
    for strides in _STRIDES:
        grid = _grid(strides, height, width)
        if shape[1] == len(grid) and shape[2] > 5:
            # Told apart by where the boxes lie: in pixels, or within a few cells of their own one.
            is_raw = np.abs(output[0, :, :2]).max() < min(height, width) / 2
            read = partial(_read_yolox, grid=grid if is_raw else None)
            return Form("YOLOX", "BGR", 1.0, "corner", read, shape[2] - 5)
        if shape[2] == len(grid) and shape[1] > 4:
            return Form("YOLOv8", "RGB", 1 / 255, "middle", _read_yolov8, shape[1] - 4)
    return None


def _grid(strides: tuple[int, ...], height: int, width: int) -> np.ndarray:
    """Column, row and stride of every cell, float64 [N, 3]."""
    parts = []
    for stride in strides:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        parts.append(np.stack([columns, rows, np.full_like(rows, stride)], axis=-1).reshape(-1, 3))
    return np.concatenate(parts).astype(np.float64)


def _read_yolox(found: np.ndarray, least: float, grid: np.ndarray | None) -> Found:
    """Ge et al., YOLOX, 2021: centre (xy + cell) stride, size exp(wh) stride, score objectness x class."""
    # Nearly all cells hold nothing, whatever their classes.
    is_object = found[:, 4] >= least
    found = found[is_object]
    rows = found[:, :5].astype(np.float64)
    centre, extent = rows[:, :2], rows[:, 2:4]
    if grid is not None:
        grid = grid[is_object]
        stride = grid[:, 2:]
        # A size of e^20 cells is as good as none, and no overflow.
        centre, extent = (centre + grid[:, :2]) * stride, np.exp(np.minimum(extent, 20)) * stride
    classes = found[:, 5:].argmax(axis=1)
    best = np.take_along_axis(found[:, 5:], classes[:, None], axis=1)[:, 0].astype(np.float64)
    scores = rows[:, 4] * best
    kept = scores >= least
    return _corners(centre, extent)[kept], scores[kept], classes[kept]


def _read_yolov8(found: np.ndarray, least: float) -> Found:
    rows = found[:, found[4:].max(axis=0) >= least].T.astype(np.float64)
    return _corners(rows[:, :2], rows[:, 2:4]), rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)


def _read_ssd(found: np.ndarray, least: float, height: int, width: int) -> Found:
    """Rows of image, class, score, and the corners as parts of the image; the list ends at image -1."""
    rows = found[0].astype(np.float64)
    rows = rows[(rows[:, 0] >= 0) & (rows[:, 2] >= least)]
    return rows[:, 3:] * [width, height, width, height], rows[:, 2], rows[:, 1].astype(np.int64)


def _corners(centre: np.ndarray, extent: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
