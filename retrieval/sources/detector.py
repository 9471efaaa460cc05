"""A detector that the user has as ONNX, for vehicles in whole scenes.

The form is that of YOLOv8 and its successors as they are exported to ONNX: one input float32 [1, 3, H, W],
RGB from 0 to 1, the scene made to fit with gray around it; one output float32 [1, 4 + classes, N] of centre
x and y, width and height in the input's pixels and a score for each class.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrieval.gallery.entries import Box
from zoo.errors import UserError

_SIZE = 640
"""Side of the input where the model takes any."""

_GRAY = 114
_SMALLEST = 16
"""Pixels of the scene, a side; smaller vehicles cannot be told apart."""

VEHICLES = (2, 5, 7)
"""Car, bus and truck among COCO's classes."""


class Detector:
    """Finds vehicles in scenes.

    Args:
        path: an ONNX file.
        classes: indices of the classes that are vehicles.
        confidence: the least score.
        overlap: of two boxes whose intersection over union is more, the one with the higher score stays.

    Raises:
        UserError: no such file, or a model of another form.
    """

    def __init__(
        self,
        path: Path,
        classes: tuple[int, ...] = VEHICLES,
        confidence: float = 0.4,
        overlap: float = 0.6,
    ) -> None:
        import onnxruntime

        if not path.is_file():
            raise UserError(f"{path}: no such detector; give an ONNX file")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own kinds of errors share no base of theirs
            raise UserError(f"{path}: not an ONNX model that can be run ({error})") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(outputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)":
            raise self._other_form(path)
        self._path, self._input = path, inputs[0].name
        self._height, self._width = (side if isinstance(side, int) else _SIZE for side in shape[2:])
        self._classes, self._confidence, self._overlap = list(classes), confidence, overlap

    def find(self, image: np.ndarray) -> list[Box]:
        """Boxes in uint8 [H, W, 3] RGB, in whole pixels, the most certain first.

        Raises:
            UserError: the model gives something else than boxes and scores.
        """
        height, width = image.shape[:2]
        scale = min(self._width / width, self._height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        left, top = (self._width - size[0]) // 2, (self._height - size[1]) // 2
        canvas = np.full((self._height, self._width, 3), _GRAY, np.uint8)
        resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        canvas[top : top + size[1], left : left + size[0]] = np.asarray(resized)
        planes = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32) / 255
        found: Any = self._session.run(None, {self._input: planes})[0]
        if found.ndim != 3 or found.shape[1] <= 4 + max(self._classes):
            raise self._other_form(self._path)
        rows = found[0].T.astype(np.float64)
        scores = rows[:, [4 + number for number in self._classes]].max(axis=1)
        rows, scores = rows[scores >= self._confidence], scores[scores >= self._confidence]
        centre, extent = rows[:, :2], rows[:, 2:4]
        corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
        corners = (corners - [left, top, left, top]) / scale
        corners = np.round(np.clip(corners, 0, [width, height, width, height]))
        large = (corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) >= _SMALLEST
        kept = suppress(corners[large], scores[large], self._overlap)
        return [(float(a), float(b), float(c), float(d)) for a, b, c, d in corners[large][kept]]

    def _other_form(self, path: Path) -> UserError:
        return UserError(
            f"{path}: not a detector of the form that is understood: input float32 [1, 3, H, W], output "
            "float32 [1, 4 + classes, N], as YOLOv8 is exported; or it lacks a class of --detector-classes"
        )


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[int]:
    """Which of the boxes [N, 4] to keep, the most certain first, so that none covers another one."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        first, order = int(order[0]), order[1:]
        kept.append(first)
        corner = np.maximum(boxes[order, :2], boxes[first, :2])
        shared = np.clip(np.minimum(boxes[order, 2:], boxes[first, 2:]) - corner, 0, None).prod(axis=1)
        order = order[shared <= overlap * (areas[order] + areas[first] - shared)]
    return kept
