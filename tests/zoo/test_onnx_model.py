"""ONNX files that are not what is served."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.card import Card
from zoo.errors import UserError
from zoo.onnx_model import CARD_KEY, OnnxModel


@pytest.mark.parametrize(("name", "kind"), [("image", TensorProto.FLOAT), ("images", TensorProto.UINT8)])
def test_a_graph_with_other_inputs_is_named(tmp_path: Path, name: str, kind: int) -> None:
    inside = helper.make_tensor_value_info(name, kind, [1, 3])
    outside = helper.make_tensor_value_info("embedding", kind, [1, 3])
    nodes = [helper.make_node("Identity", [name], ["embedding"])]
    model = helper.make_model(
        helper.make_graph(nodes, "float", [inside], [outside]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    helper.set_model_props(model, {CARD_KEY: Card("a.b", (1, 3), {"embedding": 3}).to_json()})
    onnx.save(model, tmp_path / "float.onnx")
    with pytest.raises(UserError, match=rf"float\.onnx: takes {name} tensor\(.*not bytes as `image`"):
        OnnxModel(tmp_path / "float.onnx")
