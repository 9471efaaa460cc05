"""A detector in ONNX, for vehicles in whole scenes."""

import ast
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.gallery.entries import Box
from retrieval.sources.detector_forms import COCO_VEHICLES, UNDERSTOOD, Form, recognise
from serving.encoders.image import InputImage
from zoo.errors import UserError
from zoo.hub.cache import object_path
from zoo.hub.remote import list_remote
from zoo.preprocess import resized_image

_SIZE = 640
"""Side of the input where the model takes any."""

_GRAY = 114
_PREFIX = "detector."

MIN_SIZE = 32
"""Pixels of the scene, a side; smaller vehicles can hardly be told apart."""

DEFAULT_LABELS = ("car", "bus", "truck", "van", "vehicle")
"""Classes that are vehicles where nobody says which, by their names."""


@dataclass(frozen=True)
class Detection:
    """A vehicle that was found.

    Attributes:
        box: in whole pixels of the scene.
        score: 0 to 1.
        label: the detector's name of the class, or its number.
    """

    box: Box
    score: float
    label: str


def find_detector(name: str) -> Path:
    """The file of a detector: a path, or the name of one that `zoo fetch` has brought, such as `yolox-nano`.

    Raises:
        UserError: there is none.
    """
    if Path(name).is_file():
        return Path(name)
    known = {entry.name: entry for entry in list_remote() if entry.name.startswith(_PREFIX)}
    entry = known.get(name) or known.get(_PREFIX + name)
    if entry is None:
        names = ", ".join(each.removeprefix(_PREFIX) for each in known)
        raise UserError(f"{name}: no such detector; give an ONNX file, or one of {names}")
    path = object_path(entry.digest)
    if not path.is_file():
        raise UserError(f"{name}: not here yet; run `python -m zoo fetch {entry.name}`")
    return path


class DetectorError(UserError):
    """A detector fails on an image."""


class Detector:
    """Finds vehicles in scenes. The forms that it understands are those of `detector_forms`.

    Args:
        name: see `find_detector`.
        classes: the classes that are vehicles, by name or number; None for those of `DEFAULT_LABELS`, or all
            classes of a model that names none.
        confidence: the least score.
        overlap: of two boxes whose intersection over union is more, the one with the higher score stays.
        min_size: the least pixels of a box's shorter side.

    Raises:
        UserError: no such file, a model of another form, or a class that it does not have.
    """

    def __init__(
        self,
        name: str | Path,
        classes: Sequence[str | int] | None = None,
        confidence: float = 0.4,
        overlap: float = 0.45,
        min_size: int = MIN_SIZE,
    ) -> None:
        import onnxruntime

        path = find_detector(str(name))
        options = onnxruntime.SessionOptions()
        # Two threads of one run spin for each other: YOLOX-nano took 33 ms of processor time a scene by two,
        # and 16 by one. Cameras, and requests, share the cores by themselves.
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds of errors share no base of theirs
            raise UserError(f"{path}: not an ONNX model that can be run ({error})") from error
        self._name, self._overlap = str(name), overlap
        self.confidence, self.min_size = confidence, min_size
        self._height, self._width, self._form = self._recognised()
        self._labels = self._named_classes()
        self._classes = self._chosen(classes)

    def _recognised(self) -> tuple[int, int, Form]:
        """Height and width of the input, and the form, by trying an image of one gray."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        given = f"input {inputs[0].type} {shape}, outputs {[each.shape for each in outputs]}"
        form = None
        if len(inputs) == len(outputs) == 1 and len(shape) == 4 and inputs[0].type == "tensor(float)":
            height, width = (side if isinstance(side, int) else _SIZE for side in shape[2:])
            # Where an input of that kind does not even run, the form is another one.
            with contextlib.suppress(Exception):
                gray = np.full((1, 3, height, width), _GRAY, np.float32)
                output = self._session.run(None, {inputs[0].name: gray})[0]
                form = recognise(output, height, width)
                given = f"input {list(gray.shape)}, output {list(output.shape)}"
        task = self._session.get_modelmeta().custom_metadata_map.get("task", "detect")
        if form is None or task != "detect":
            raise UserError(
                f"{self._name}: not a detector of a form that is understood ({given}"
                f"{'' if task == 'detect' else f', for the task {task}'}); input float32 [1, 3, H, W] and "
                f"output {UNDERSTOOD} are"
            )
        return height, width, form

    def _named_classes(self) -> dict[int, str]:
        """The classes that have a name: those that the file lists, or COCO's vehicles."""
        listed = self._session.get_modelmeta().custom_metadata_map.get("names")
        if listed:
            with contextlib.suppress(ValueError, SyntaxError):
                names = ast.literal_eval(listed)
                pairs = names.items() if isinstance(names, dict) else enumerate(names)
                return {int(number): str(name) for number, name in pairs}
        return COCO_VEHICLES if self._form.classes == 80 else {}

    def _chosen(self, classes: Sequence[str | int] | None) -> list[int] | None:
        """Indices of the classes that are vehicles; None for all."""
        numbers = {name: number for number, name in self._labels.items()}
        if classes is None:
            found = [numbers[name] for name in DEFAULT_LABELS if name in numbers]
            if self._labels and not found:
                raise UserError(
                    f"{self._name}: none of its classes is called {', '.join(DEFAULT_LABELS)}; say with "
                    "--detector-classes which are vehicles"
                )
            return found or None
        chosen = []
        for each in classes:
            number = numbers.get(str(each), int(each) if str(each).isdecimal() else -1)
            if number < 0 or (self._form.classes is not None and number >= self._form.classes):
                known = ", ".join(numbers) or f"numbers from 0 to {(self._form.classes or 1) - 1}"
                raise UserError(f"--detector-classes: {self._name} has no class {each}; it has {known}")
            chosen.append(number)
        return chosen

    def find_in(self, image: InputImage) -> list[Detection]:
        """Vehicles in an image, whose boxes are in its file's own pixels; a huge one is looked at halved.

        Raises:
            DetectorError: the model fails.
            ImageError: the image cannot be used.
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        found = self.find(image.pixels)
        across, down = image.size[1] / image.pixels.shape[1], image.size[0] / image.pixels.shape[0]
        return [
            replace(each, box=(left * across, top * down, right * across, bottom * down))
            for each in found
            for left, top, right, bottom in [each.box]
        ]

    def find(self, image: np.ndarray, least: float | None = None) -> list[Detection]:
        """Vehicles in uint8 [H, W, 3] RGB, the most certain first; `least` in the place of `confidence`.

        Raises:
            DetectorError: the model fails.
        """
        height, width = image.shape[:2]
        planes, (left, top), (across, down) = self._prepared(image)
        try:
            output: Any = self._session.run(None, {self._session.get_inputs()[0].name: planes})[0]
        except Exception as error:  # onnxruntime's own kinds of errors share no base of theirs
            raise DetectorError(
                f"{self._name}: failed on an image ({error}); try another detector"
            ) from error
        boxes, scores, classes = self._form.read(output[0], self.confidence if least is None else least)
        wanted = np.isfinite(boxes).all(axis=1)
        if self._classes is not None:
            wanted &= np.isin(classes, self._classes)
        boxes, scores, classes = boxes[wanted], scores[wanted], classes[wanted]
        boxes = (boxes - [left, top, left, top]) / [across, down, across, down]
        boxes = np.round(np.clip(boxes, 0, [width, height, width, height]))
        large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= self.min_size
        boxes, scores, classes = boxes[large], scores[large], classes[large]
        return [
            Detection(
                (float(boxes[row, 0]), float(boxes[row, 1]), float(boxes[row, 2]), float(boxes[row, 3])),
                float(scores[row]),
                self._labels.get(int(classes[row]), str(int(classes[row]))),
            )
            for row in suppress(boxes, scores, self._overlap)
        ]

    def _prepared(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int], tuple[float, float]]:
        """The input float32 [1, 3, H, W], where the scene begins in it, and its scale across and down."""
        height, width = image.shape[:2]
        across, down = self._width / width, self._height / height
        if self._form.fit != "fill":
            across = down = min(across, down)
        size = (max(1, round(width * across)), max(1, round(height * down)))
        left = top = 0
        if self._form.fit == "middle":
            left, top = (self._width - size[0]) // 2, (self._height - size[1]) // 2
        planes = np.full((1, 3, self._height, self._width), _GRAY, np.float32)
        resized = resized_image(image, size[::-1])
        # Band by band, because turning pixels of three bytes into planes costs as much as scaling them.
        bands = resized.split()
        for place, band in enumerate(bands[::-1] if self._form.order == "BGR" else bands):
            planes[0, place, top : top + size[1], left : left + size[0]] = np.asarray(band)
        if self._form.scale != 1:
            planes *= np.float32(self._form.scale)
        return planes, (left, top), (across, down)


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
