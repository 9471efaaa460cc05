"""Detectors in ONNX, made here: vehicles at fixed places of the input, as certain as the input is red."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = (160, 320)
"""Height and width."""

CELLS = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in (8, 16, 32))


def write_constant_detector(
    path: Path,
    output: np.ndarray,
    *,
    red: np.ndarray | None = None,
    channel: int = 0,
    size: tuple[int, int] = SIZE,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A model whose output is `output` plus `red` times the mean of one channel of the input."""
    weights = np.zeros_like(output) if red is None else red
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Slice", ["images", "from", "to", "axis"], ["plane"]),
            node("ReduceMean", ["plane"], ["mean"], keepdims=0),
            node("Mul", ["weights", "mean"], ["product"]),
            node("Add", ["product", "constant"], ["output0"]),
        ],
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(output.shape))],
        [
            numpy_helper.from_array(output.astype(np.float32), "constant"),
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(np.array([channel], np.int64), "from"),
            numpy_helper.from_array(np.array([channel + 1], np.int64), "to"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


def write_detector(path: Path, metadata: dict[str, str] | None = None) -> Path:
    """YOLOv8's form with two classes: three boxes, whose scores for class 1 grow with the red plane."""
    output, red = np.zeros((1, 6, CELLS)), np.zeros((1, 6, CELLS))
    output[0, :4, :3] = np.array([[80, 80, 96, 96], [82, 80, 96, 96], [250, 80, 20, 20]]).T
    red[0, 5, :3] = [10, 9, 1]  # the third one stays below every confidence
    return write_constant_detector(path, output, red=red, metadata=metadata)
