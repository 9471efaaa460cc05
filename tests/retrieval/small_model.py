"""A real bundle around a tiny ONNX model: colours on a coarse grid as embedding, nearest palette colour."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.bundle import CARD_KEY, file_hash
from zoo.card import Card
from zoo.labels import COLORS

SIZE = 32
GRID = 4
PALETTE = {
    "yellow": (245, 210, 30),
    "orange": (240, 128, 25),
    "green": (40, 160, 80),
    "gray": (128, 128, 128),
    "red": (210, 40, 40),
    "blue": (40, 90, 210),
    "white": (250, 250, 250),
    "golden": (205, 175, 90),
    "brown": (120, 78, 45),
    "black": (10, 10, 10),
}
CARD = Card(
    name="grid.test",
    input_size=(SIZE, SIZE),
    outputs={"embedding": GRID * GRID * 3, "color_probs": 10, "type_probs": 9},
)


def write_bundle(
    path: Path, *, gain: float = 20.0, metric: str = "euclidean", antialias: bool = True
) -> Path:
    """Write a bundle; another `gain` makes another model, with another hash."""
    card = CARD.replace(metric=metric, antialias=antialias)
    cell = SIZE // GRID
    palette = np.array([PALETTE[name] for name in COLORS], np.float32) / 255
    # softmax(-gain |x - c|^2) = softmax(gain (2 x.c - |c|^2)): a linear layer on the mean colour.
    weights = {
        "scale": np.array(1 / 255, np.float32),
        "flat": np.array([0, -1], np.int64),
        "color_weight": (2 * gain * palette.T).astype(np.float32),
        "color_bias": (-gain * (palette**2).sum(axis=1)).astype(np.float32),
        "type_weight": np.linspace(-6, 6, GRID * GRID * 3 * 9).reshape(-1, 9).astype(np.float32),
    }
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            node("Mul", ["float", "scale"], ["unit"]),
            node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
            node("AveragePool", ["planes"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
            node("Reshape", ["cells", "flat"], ["embedding"]),
            node("GlobalAveragePool", ["planes"], ["mean"]),
            node("Reshape", ["mean", "flat"], ["mean_color"]),
            node("MatMul", ["mean_color", "color_weight"], ["color_product"]),
            node("Add", ["color_product", "color_bias"], ["color_logits"]),
            node("Softmax", ["color_logits"], ["color_probs"]),
            node("MatMul", ["embedding", "type_weight"], ["type_logits"]),
            node("Softmax", ["type_logits"], ["type_probs"]),
        ],
        "grid",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", dimension])
            for name, dimension in card.outputs.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {CARD_KEY: card.to_json()})
    (path / "triton").mkdir(parents=True)
    onnx.save(model, str(path / "model.onnx"))
    card.write(path / "card.json")
    (path / "parity.json").write_text(json.dumps({"model_hash": file_hash(path / "model.onnx")}))
    return path
