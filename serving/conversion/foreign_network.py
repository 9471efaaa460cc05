"""Somebody else's re-identification network as an ONNX file: read, checked, and asked as it came."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from serving.bundle import Precision
from zoo.errors import UserError
from zoo.onnx_model import CARD_KEY

_FLOATS = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16}

_LEAST_OPSET = 7
"""onnxruntime's own promise; operators broadcast since then."""

_QUANTISED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger"}

_ONE_EMBEDDING = "export it in evaluation mode, with the embedding [N, D] alone"


@dataclass(frozen=True)
class ForeignNetwork:
    """A network of one image and one embedding: float [N, 3, H, W] in, float [N, D] out.

    Attributes:
        path: of the file.
        proto: the file, with its weights.
        input_name: of the image.
        output_name: of the embedding.
        size: (height, width) of the image.
        batch: that the file is fixed to; None where it leaves the batch free.
        dimension: D of the embedding.
        precision: of its arithmetic.
    """

    path: Path
    proto: onnx.ModelProto
    input_name: str
    output_name: str
    size: tuple[int, int]
    batch: int | None
    dimension: int
    precision: Precision

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return opset_of(self.proto)

    @property
    def is_half(self) -> bool:
        """Whether the image is to come in half precision."""
        return _input_type(self.proto) == onnx.TensorProto.FLOAT16

    @property
    def num_parameters(self) -> int:
        """How many numbers its weights are."""
        return sum(
            int(np.prod(tensor.dims, dtype=np.int64))
            for tensor in self.proto.graph.initializer
            if tensor.data_type in _FLOATS
        )

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.path)

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Answer as the file answers, one image at a time where it leaves the batch free.

        Args:
            pixels: float32 [N, 3, H, W] as the network wants them.

        Returns:
            float32 [N, D].
        """
        step = self.batch or 1
        rows = []
        for start in range(0, len(pixels), step):
            chunk = pixels[start : start + step]
            filled = np.resize(chunk, (step, *chunk.shape[1:]))
            rows.append(run_session(self._session, self.path, filled)[: len(chunk)])
        return np.concatenate(rows).astype(np.float32)


def read_network(path: Path, size: tuple[int, int] | None) -> ForeignNetwork:
    """Read a network and make sure that it is one.

    Args:
        path: of the ONNX file; external data lies beside it.
        size: (height, width); needed where the file leaves it open.

    Raises:
        UserError: no such network. The message names what was found.
    """
    proto = _load(path)
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    if any(entry.key == CARD_KEY for entry in proto.metadata_props):
        raise UserError(f"{path}: was written by serving.export already; give its folder as --encoder")
    if (opset := opset_of(proto)) < _LEAST_OPSET:
        raise UserError(
            f"{path}: of opset {opset}, older than the {_LEAST_OPSET} that onnxruntime reads; export it again"
        )
    if len(inputs) != 1:
        raise UserError(f"{path}: takes {_listed(inputs) or 'nothing'}; a network of one image is expected")
    if len(proto.graph.output) != 1:
        raise UserError(
            f"{path}: gives {len(proto.graph.output)} outputs, {_listed(proto.graph.output)}"
            f"{_detector_hint(proto)}; {_ONE_EMBEDDING}"
        )
    image, output = inputs[0], proto.graph.output[0]
    batch, size = _image_shape(path, image, size)
    _check_output(path, proto, output)
    session = open_session(path)
    count = batch or 1
    pixels = np.random.default_rng(0).random((count, 3, *size), np.float32)
    embedding = run_session(session, path, pixels)
    if embedding.ndim != 2 or len(embedding) != count or embedding.shape[1] < 2:
        raise UserError(
            f"{path}: answers {output.name} {list(embedding.shape)} to {count} image"
            f"{'s' * (count > 1)}{_detector_hint(proto, embedding.shape)}; {_ONE_EMBEDDING}"
        )
    if not np.isfinite(embedding).all():
        raise UserError(f"{path}: its embedding of a random image is not finite; export the network again")
    precision: Precision = "fp32"
    if _input_type(proto) == onnx.TensorProto.FLOAT16:
        precision = "fp16"
    elif any(node.op_type in _QUANTISED for node in proto.graph.node):
        precision = "int8"
    return ForeignNetwork(path, proto, image.name, output.name, size, batch, embedding.shape[1], precision)


def opset_of(proto: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that a file uses."""
    return max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), default=1)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a file as it is.

    Raises:
        UserError: onnxruntime cannot.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path}: onnxruntime cannot open it ({_reason(error)}); export it again") from error


def run_session(session: onnxruntime.InferenceSession, path: Path, pixels: np.ndarray) -> np.ndarray:
    """Run a network of one input and one output.

    Raises:
        UserError: onnxruntime cannot.
    """
    image = session.get_inputs()[0]
    dtype = np.float16 if image.type == "tensor(float16)" else np.float32
    try:
        return np.asarray(session.run(None, {image.name: pixels.astype(dtype)})[0])
    except Exception as error:
        height, width = pixels.shape[2:]
        raise UserError(
            f"{path}: onnxruntime cannot run it on {len(pixels)} image{'s' * (len(pixels) > 1)} of "
            f"{height}x{width} ({_reason(error)}); check --size, or export it again"
        ) from error


def _load(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise UserError(f"{path}: no ONNX file there; check the path")
    try:
        proto = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError, ValueError) as error:
        raise UserError(f"{path}: not an ONNX file ({_reason(error)}); export the network to ONNX") from error
    if not proto.graph.node:
        raise UserError(f"{path}: not an ONNX file, or one without operators; export the network to ONNX")
    outside = sorted(
        {
            entry.value
            for tensor in proto.graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    try:
        if outside:
            onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:
        raise UserError(
            f"{path}: its weights are external data in {', '.join(outside)}, which cannot be read beside it "
            f"({_reason(error)}); copy {'them' if len(outside) > 1 else 'it'} there, or export one file"
        ) from error
    return proto


def _image_shape(
    path: Path, image: onnx.ValueInfoProto, size: tuple[int, int] | None
) -> tuple[int | None, tuple[int, int]]:
    """The batch and (height, width) that the network takes."""
    found = _described(image)
    kind = image.type.tensor_type.elem_type
    if kind not in _FLOATS:
        raise UserError(
            f"{path}: takes {found} of {onnx.TensorProto.DataType.Name(kind).lower()}; float images "
            "[N, 3, H, W] are expected"
        )
    if not image.type.tensor_type.HasField("shape") or len(image.type.tensor_type.shape.dim) != 4:
        raise UserError(f"{path}: takes {found}; float images [N, 3, H, W] are expected")
    batch, channels, height, width = (dim.dim_value or None for dim in image.type.tensor_type.shape.dim)
    if channels not in (3, None):
        nhwc = ", channels last (NHWC)" if width == 3 else ""
        raise UserError(
            f"{path}: takes {found}{nhwc}; images [N, 3, H, W] are expected, so export it channels first"
        )
    if size is None and (height is None or width is None):
        raise UserError(f"{path}: leaves height and width open, {found}; name them with --size HEIGHT WIDTH")
    wanted = size or (height or 0, width or 0)
    if any(own not in (None, given) for own, given in zip((height, width), wanted, strict=True)):
        raise UserError(
            f"{path}: takes {found}, not images of {wanted[0]}x{wanted[1]}; leave out --size, or name its own"
        )
    return batch, wanted


def _check_output(path: Path, proto: onnx.ModelProto, output: onnx.ValueInfoProto) -> None:
    shape = output.type.tensor_type
    if shape.HasField("shape") and len(shape.shape.dim) != 2:
        dims = [dim.dim_value for dim in shape.shape.dim]
        raise UserError(f"{path}: gives {_described(output)}{_detector_hint(proto, dims)}; {_ONE_EMBEDDING}")
    if shape.elem_type not in (*_FLOATS, onnx.TensorProto.UNDEFINED):
        kind = onnx.TensorProto.DataType.Name(shape.elem_type).lower()
        raise UserError(f"{path}: gives {_described(output)} of {kind}, no embedding; {_ONE_EMBEDDING}")
    last = next((node for node in proto.graph.node if output.name in node.output), None)
    if last is not None and last.op_type in ("Softmax", "LogSoftmax"):
        raise UserError(
            f"{path}: {_described(output)} is the answer of a {last.op_type}, class probabilities of a "
            f"classifier; {_ONE_EMBEDDING}"
        )


def _detector_hint(proto: onnx.ModelProto, shape: list[int] | tuple[int, ...] = ()) -> str:
    """Say so where a file looks like a detector: boxes for each image, or boxes sorted out in the graph."""
    boxes = len(shape) == 3 and min(shape[1:]) >= 5
    if boxes or any(node.op_type in ("NonMaxSuppression", "TopK") for node in proto.graph.node):
        return ", as a detector does (that is for `retrieval.ingest --detector`)"
    return ""


def _input_type(proto: onnx.ModelProto) -> int:
    weights = {tensor.name for tensor in proto.graph.initializer}
    image = next(value for value in proto.graph.input if value.name not in weights)
    return image.type.tensor_type.elem_type


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return f"{value.name} of unknown shape"
    dims = [str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim]
    return f"{value.name} [{', '.join(dims)}]"


def _listed(values: object) -> str:
    return ", ".join(_described(value) for value in values)  # type: ignore[attr-defined]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
