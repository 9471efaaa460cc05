"""From an fp32 ONNX file to one of half precision or of 8-bit integers, with the same inputs and outputs."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel as GraphModel

from serving.conversion.int8_images import Inputs

_BATCH = 8

_FP32_OPS = (*DEFAULT_OP_BLOCK_LIST, "Pow", "GlobalAveragePool", "ReduceMean", "ReduceL2")
"""What stays in fp32. Sums and powers leave half precision's range at values that networks reach: GeM cubes
its maps, and the cube of 41 is too large already."""


def to_fp16(source: Path, target: Path) -> None:
    """Write the half-precision form of a model; its inputs and outputs keep their types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one a constant that half precision rounds to zero or to its limits
        proto = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=list(_FP32_OPS))
    _stay_in_fp32(proto.graph)
    # The converter puts its casts at the end, where some readers do not look for them.
    GraphModel(proto).topological_sort()
    _save(proto, source, target)


def _stay_in_fp32(graph: onnx.GraphProto) -> None:
    """Connect fp32 operators directly, which the converter connects through half precision."""
    maker = {name: node for node in graph.node for name in node.output}
    for cast in [node for node in graph.node if _casts_to(node, onnx.TensorProto.FLOAT)]:
        before = maker.get(cast.input[0])
        if before is None or not _casts_to(before, onnx.TensorProto.FLOAT16):
            continue
        origin = maker.get(before.input[0])
        if origin is not None and origin.op_type in _FP32_OPS:
            for node in graph.node:
                for place, name in enumerate(node.input):
                    if name == cast.output[0]:
                        node.input[place] = before.input[0]
            graph.node.remove(cast)
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for cast in [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]:
        graph.node.remove(cast)


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == kind


def to_int8(source: Path, target: Path, calibration: Inputs) -> None:
    """Write the 8-bit form of a model: convolutions with weights by channel, ranges from calibration.

    Convolutions alone are quantised, which is where nearly all of the time goes. The first one stays in fp32,
    since its input is the picture itself (on densenet121.synthetic that alone lifts the least cosine between
    the embeddings from 0.989 to 0.999, and costs no time), and so do normalisation, concatenation and the
    heads. BatchNorm after a convolution was folded into it by the exporter; what DenseNet has before its
    convolutions has to stay.
    """
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        first = _first_convolutions(onnx.load(prepared).graph)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # the quantizer advises pre-processing, which was just done
        try:
            quantize_static(
                str(prepared),
                str(target),
                _Reader(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=first,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.root.setLevel(level)
    _save(onnx.load(target), source, target)


def _first_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Name the convolutions that no other one comes before: one, or one for each network in the graph.

    Raises:
        ValueError: there are no others.
    """
    after_one: set[str] = set()
    first, others = [], 0
    for node in graph.node:
        is_after = not after_one.isdisjoint(node.input)
        is_convolution = node.op_type == "Conv"
        if is_convolution and not is_after:
            first.append(node.name)
        others += is_convolution and is_after
        if is_convolution or is_after:
            after_one.update(node.output)
    if not others:
        raise ValueError("it has no convolutions after the first, which are what is quantised")
    return first


class _Reader(CalibrationDataReader):
    def __init__(self, inputs: Inputs) -> None:
        self._batches = self._split(inputs)

    def get_next(self) -> Inputs | None:
        """Hand out the next batch, None after the last."""
        return next(self._batches, None)

    @staticmethod
    def _split(inputs: Inputs) -> Iterator[Inputs]:
        count = len(inputs["image"])
        for start in range(0, count, _BATCH):
            yield {name: values[start : start + _BATCH] for name, values in inputs.items()}


def _save(proto: onnx.ModelProto, source: Path, target: Path) -> None:
    """Check and write a model, with the metadata that the source has and nothing of the tools' own."""
    del proto.metadata_props[:]
    proto.metadata_props.extend(onnx.load(source, load_external_data=False).metadata_props)
    onnx.checker.check_model(proto)
    onnx.save(proto, target)
