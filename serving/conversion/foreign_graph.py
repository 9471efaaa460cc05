"""The graph around somebody else's network: bytes of pixels in, its embedding out, for any batch."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.conversion.foreign_network import ForeignNetwork
from serving.conversion.pixel_format import PixelFormat

PREFIX = "network/"
"""Before every name of the network's own, so that none of them meets one of ours."""


def wrap_network(network: ForeignNetwork, pixels: PixelFormat, one_by_one: bool) -> onnx.ModelProto:
    """Write the graph: `image` uint8 [batch, H, W, 3] RGB in, `embedding` float32 [batch, D] out.

    Args:
        network: what it is around.
        pixels: as the network wants them.
        one_by_one: ask the network for each image alone (ONNX's Scan). It is right whatever the network has
            made of its batch axis, and slower.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(network.proto)
    del proto.metadata_props[:], proto.graph.value_info[:], proto.graph.quantization_annotation[:]
    add_prefix(proto.graph, PREFIX)
    height, width = network.size
    weights: list[TensorProto] = []
    if one_by_one:
        source, answer = "all_images", "all_embeddings"
        inner = [_scan(network, proto.graph, source, answer)]
    else:
        source, answer = PREFIX + network.input_name, PREFIX + network.output_name
        _free_batch(proto.graph, network.batch)
        inner, weights = list(proto.graph.node), list(proto.graph.initializer)
    constants, before = _normalisation(pixels, source, network.is_half)
    after = helper.make_node("Cast", [answer], ["embedding"], to=TensorProto.FLOAT, name="embedding")
    # A graph with this input alone: old files list their weights among the inputs.
    graph = helper.make_graph(
        [*before, *inner, after],
        "vehicle_reid",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", network.dimension])],
        [*constants, *weights],
    )
    if not one_by_one:
        graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    proto.graph.CopyFrom(graph)
    # Before version 4, weights had to be inputs as well.
    proto.ir_version = max(proto.ir_version, 4)
    return proto


def add_prefix(graph: onnx.GraphProto, prefix: str) -> None:
    """Put a prefix before every name of a graph and of the graphs inside it; nodes without a name get one."""

    def prefixed(name: str) -> str:
        return prefix + name if name else name

    for count, node in enumerate(graph.node):
        node.name = prefixed(node.name or f"{node.op_type}_{count}")
        node.input[:] = map(prefixed, node.input)
        node.output[:] = map(prefixed, node.output)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                add_prefix(inner, prefix)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = prefixed(value.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = prefixed(sparse.values.name)


def _normalisation(
    pixels: PixelFormat, target: str, half: bool
) -> tuple[list[TensorProto], list[onnx.NodeProto]]:
    """Constants and operators from `image` to what the network takes, in the order of `PixelFormat.apply`."""
    node = helper.make_node
    shape = (1, 3, 1, 1)
    values = {
        "largest": np.array(255, np.float32),
        "mean": np.array(pixels.mean, np.float32).reshape(shape),
        "std": np.array(pixels.std, np.float32).reshape(shape),
    }
    nodes = [
        node("Cast", ["image"], ["values"], to=TensorProto.FLOAT, name="values"),
        node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2], name="planes"),
    ]
    planes = "planes"
    if pixels.order == "BGR":
        values["bgr"] = np.array([2, 1, 0], np.int64)
        nodes.append(node("Gather", ["planes", "bgr"], ["ordered"], axis=1, name="ordered"))
        planes = "ordered"
    normalised = "normalised" if half else target
    nodes += [
        node("Div", [planes, "largest"], ["unit"], name="unit"),
        node("Sub", ["unit", "mean"], ["centred"], name="centred"),
        node("Div", ["centred", "std"], [normalised], name="normalised"),
    ]
    if half:
        nodes.append(node("Cast", [normalised], [target], to=TensorProto.FLOAT16, name="half"))
    return [numpy_helper.from_array(value, name) for name, value in values.items()], nodes


def _free_batch(graph: onnx.GraphProto, batch: int | None) -> None:
    """Take the batch out of shapes that hold it as a number; parity tells if that was all."""
    if batch is None:
        return
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t
    for count, node in enumerate(graph.node):
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in known:
            continue
        shape = numpy_helper.to_array(known[node.input[1]])
        if shape.size and shape[0] == batch and 0 not in shape:
            # 0 is what the reshaped tensor has there, unless `allowzero` takes it at its word; -1 is what is
            # left over, which only one may be.
            kept = [each for each in node.attribute if each.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
            freed = np.array([0 if -1 in shape[1:] else -1, *shape[1:]], np.int64)
            # A shape of its own: others may share the constant.
            node.input[1] = f"free_shape_{count}"
            graph.initializer.append(numpy_helper.from_array(freed, node.input[1]))


def _scan(network: ForeignNetwork, graph: onnx.GraphProto, source: str, answer: str) -> onnx.NodeProto:
    """The network in a Scan over the images `source`; its weights lie inside."""
    kind = TensorProto.FLOAT16 if network.is_half else TensorProto.FLOAT
    row_kind = graph.output[0].type.tensor_type.elem_type or TensorProto.FLOAT
    shapes = {
        "image_shape": np.array([1, 3, *network.size], np.int64),
        "row_shape": np.array([network.dimension], np.int64),
    }
    into, out = PREFIX + network.input_name, PREFIX + network.output_name
    body = helper.make_graph(
        [
            helper.make_node("Reshape", ["one_image", "image_shape"], [into], name="into_batch"),
            *graph.node,
            helper.make_node("Reshape", [out, "row_shape"], ["one_row"], name="out_of_batch"),
        ],
        "one_image",
        [helper.make_tensor_value_info("one_image", kind, [3, *network.size])],
        [helper.make_tensor_value_info("one_row", row_kind, [network.dimension])],
        [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in shapes.items())],
    )
    body.sparse_initializer.extend(graph.sparse_initializer)
    return helper.make_node("Scan", [source], [answer], body=body, num_scan_inputs=1, name="each_image")
