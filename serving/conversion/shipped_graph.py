"""The graph of a shipped model: no weights, but the places where they lie in the safetensors file."""

import json
import tempfile
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from serving.bundle import file_hash
from serving.conversion.parity import check_parity
from zoo.card import Card
from zoo.files import replacing, write_text
from zoo.onnx_export import DeployedModel, export_onnx

_PREFIX = "inference.model."
"""Of the model's parameters in a `DeployedModel`."""

_KINDS = {"F16": onnx.TensorProto.FLOAT16, "F32": onnx.TensorProto.FLOAT}


def write_shipped_graph(model: nn.Module, card: Card, weights: Path) -> dict[str, Any]:
    """Write `NAME.onnx` and `NAME.sha256` beside the weights; see `serving.shipped`.

    Args:
        model: from `zoo.registry`, with these weights.
        card: its card, as it lies beside the weights.
        weights: the safetensors file.

    Returns:
        The parity report; see `check_parity`.

    Raises:
        UserError: the graph does not compute what the model computes, or the folder cannot be written to.
    """
    deployed = DeployedModel(model, card)
    graph = weights.with_suffix(".onnx")
    with tempfile.TemporaryDirectory() as scratch:
        bundled = Path(scratch) / "model.onnx"
        export_onnx(deployed, card, bundled)
        bundle_hash = file_hash(bundled)
    # Written to a file beside the weights, for external data is looked for in the graph's own folder.
    with replacing(graph) as temporary:
        export_onnx(deployed, card, temporary, fold=False)
        proto = onnx.load(temporary)
        _point_into(proto.graph, weights)
        temporary.write_bytes(proto.SerializeToString())
        report = check_parity(deployed, card, temporary)
    write_text(graph.with_suffix(".sha256"), f"{bundle_hash}  model.onnx\n")
    return report


def tensor_places(weights: Path) -> dict[str, tuple[str, list[int], int, int]]:
    """Read where the tensors of a safetensors file lie: key -> (dtype, shape, offset, length in bytes)."""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        key: (entry["dtype"], entry["shape"], 8 + size + (begin := entry["data_offsets"][0]), end - begin)
        for key, entry in header.items()
        for end in entry["data_offsets"][1:]
    }


def _point_into(graph: onnx.GraphProto, weights: Path) -> None:
    """Replace the values of parameters by their places in the weights file.

    Half precision is cast to float32, as `zoo.weights.load_weights` does; runtimes do it once, when they open
    the file.
    """
    places = tensor_places(weights)
    casts = []
    for tensor in graph.initializer:
        key = tensor.name.removeprefix(_PREFIX)
        if key not in places:
            continue
        dtype, shape, offset, length = places[key]
        name = tensor.name
        if dtype == "F16":
            name = key
            casts.append(onnx.helper.make_node("Cast", [key], [tensor.name], to=onnx.TensorProto.FLOAT))
        outside = onnx.TensorProto(name=name, dims=shape, data_type=_KINDS[dtype])
        outside.data_location = onnx.TensorProto.EXTERNAL
        for field, value in (("location", weights.name), ("offset", offset), ("length", length)):
            outside.external_data.add(key=field, value=str(value))
        tensor.CopyFrom(outside)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
