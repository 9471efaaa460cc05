"""The float form of a bundle's graph, for compilers that want prepared tensors: Ascend's ATC and TensorRT."""

import copy
from pathlib import Path
from typing import Any

import onnx

from serving.bundle import Bundle
from serving.conversion.parity import BATCHES, TOLERANCE, compare
from serving.engines.ascend import INPUT, normalise
from zoo.errors import UserError
from zoo.onnx_export import sample_inputs
from zoo.onnx_model import OnnxModel

_NORMALISATION = ("Transpose", "Cast", "Div", "Slice", "Sub", "Div")
"""What `zoo.inference.InferenceModel` does to `image`, as nodes; the flip to BGR, Slice, may be absent."""


def write_float_graph(bundle: Bundle, path: Path) -> list[dict[str, Any]]:
    """Cut the normalisation off a bundle's graph, and prove that nothing else has changed.

    It is cut from the file that is served and not exported again, so that both hold the same weights. Opset,
    IR version, outputs, pose inputs and the card inside stay as they are.

    Returns:
        The largest differences from the bundle's own graph, by batch size and output.

    Raises:
        UserError: the bundle is not fp32, its graph begins otherwise, or the answers differ.
    """
    if bundle.precision != "fp32":
        raise UserError(
            f"{bundle.path}: is {bundle.precision}; compilers reduce the precision themselves: give the fp32 "
            "bundle"
        )
    proto = onnx.load(bundle.onnx_file)
    graph = proto.graph
    normalised, cut = _find_normalisation(graph, bundle)
    # The exporter keeps equal constants once and repeats them by Identity, layers to a compiler.
    constants = {tensor.name for tensor in graph.initializer}
    aliases = {
        n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in constants
    }
    kept = [node for node in graph.node if node.output[0] not in cut | aliases.keys()]
    new_names = {**aliases, normalised: INPUT}
    for node in kept:
        node.input[:] = [new_names.get(name, name) for name in node.input]
    used = {name for node in kept for name in node.input}
    kept = [node for node in kept if node.op_type != "Constant" or node.output[0] in used]
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    height, width = bundle.card.input_size
    shape: list[str | int | None] = ["batch", 3, height, width]
    inputs = [onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, shape)]
    inputs += [each for each in graph.input if each.name != "image"]
    for field, values in ((graph.node, kept), (graph.initializer, initializers), (graph.input, inputs)):
        # Copies: what is kept lives in the field that is emptied.
        copies = [copy.deepcopy(value) for value in values]
        del field[:]
        field.extend(copies)
    del graph.value_info[:]
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
    return _check(bundle, path)


def _find_normalisation(graph: Any, bundle: Bundle) -> tuple[str, set[str]]:
    """Name the normalised tensor, and everything that is computed on the way to it."""
    name, cut = "image", set()
    for operation in _NORMALISATION:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) == 1 and readers[0].op_type == operation:
            name = readers[0].output[0]
            cut.add(name)
        elif operation != "Slice":
            raise UserError(
                f"{bundle.path}: its graph does not begin with the normalisation ({operation} is missing); "
                "export the model again"
            )
    return name, cut


def _check(bundle: Bundle, path: Path) -> list[dict[str, Any]]:
    card = bundle.card
    ordinary, changed = OnnxModel(bundle.onnx_file), OnnxModel(path, is_normalised=True)
    checks = []
    for batch in BATCHES:
        inputs = {name: value.numpy() for name, value in sample_inputs(card, batch, seed=batch).items()}
        expected = ordinary.run(inputs)
        inputs[INPUT] = normalise(inputs.pop("image"), card)
        answers = changed.run(inputs)
        for name, dimension in card.outputs.items():
            check = compare(name, expected[name], answers[name], (batch, dimension))
            if not check["relative"] <= TOLERANCE:
                raise UserError(
                    f"{card.name}: output {name} of the float graph differs from the bundle's at batch size "
                    f"{batch} (relative {check['relative']:.2g}, allowed {TOLERANCE:g})"
                )
            checks.append({"batch": batch, **check})
    return checks
