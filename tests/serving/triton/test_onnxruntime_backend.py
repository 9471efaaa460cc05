"""The Python-based onnxruntime backend in a real server: it refuses what the C++ one does; how it runs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import helper
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.grpc import model_config_pb2 as schema

from benchmarks.processes import worker_of
from serving.bundle import Bundle
from serving.server.server import TritonServer
from serving.triton.configs import ONNX_MODEL
from zoo.errors import UserError

Change = Callable[[schema.ModelConfig], object]


def accelerate(config: schema.ModelConfig) -> None:
    config.optimization.execution_accelerators.cpu_execution_accelerator.add(name="warp_drive")


WRONG: dict[str, tuple[Change, str]] = {
    "input name": (lambda c: setattr(c.input[0], "name", "picture"), "finds no input 'picture'"),
    "output name": (lambda c: setattr(c.output[0], "name", "feature"), "finds no output 'feature'"),
    "input type": (
        lambda c: setattr(c.input[0], "data_type", schema.TYPE_FP32),
        "input 'image' is TYPE_FP32 in the config and tensor(uint8) in the model",
    ),
    "input size": (
        lambda c: c.input[0].dims.__setitem__(0, 65),
        "input 'image' has dims [65, 64, 3] in the config and [64, 64, 3] in the model",
    ),
    "output dimension": (
        lambda c: c.output[0].dims.__setitem__(0, 512),
        "output 'embedding' has dims [512] in the config and [1024] in the model",
    ),
    "accelerator": (accelerate, "has no execution accelerator 'warp_drive'"),
    "threads": (
        lambda c: setattr(c.parameters["intra_op_thread_count"], "string_value", "many"),
        "parameter intra_op_thread_count: 'many' is not a whole number",
    ),
    "execution mode": (
        lambda c: setattr(c.parameters["execution_mode"], "string_value", "2"),
        "parameter execution_mode: 2 is neither 0 nor 1",
    ),
    "memory arena": (
        lambda c: setattr(c.parameters["enable_mem_arena"], "string_value", "often"),
        "parameter enable_mem_arena: 'often' is neither true nor false",
    ),
    "file name": (lambda c: setattr(c, "default_model_filename", "other.onnx"), "finds no model at"),
}


def altered(bundle: Bundle, target: Path, change: Change) -> Path:
    """Copy a bundle with another config of its ONNX model."""
    shutil.copytree(bundle.path, target)
    file = target / "triton" / ONNX_MODEL / "config.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), schema.ModelConfig())
    change(config)
    file.write_text(text_format.MessageToString(config), encoding="utf-8")
    return target


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_config_is_refused(bundle: Bundle, tmp_path: Path, fault: str) -> None:
    change, reason = WRONG[fault]
    server = TritonServer(
        altered(bundle, tmp_path / "bundle", change), log=tmp_path / "log", start_timeout=30
    )
    with pytest.raises(UserError, match="the Triton server ended"):
        server.start()
    # The message ends with the log's end, where the ensemble complains too; the cause stands before it.
    assert reason in (tmp_path / "log").read_text(encoding="utf-8")


def counting_network(config: schema.ModelConfig) -> onnx.ModelProto:
    """A network that answers a row with the number of rows that it was run with."""
    image = config.input[0]
    nodes = [
        helper.make_node("Shape", [image.name], ["count"], start=0, end=1),
        helper.make_node("Cast", ["count"], ["number"], to=onnx.TensorProto.FLOAT),
    ]
    constants, answers = [], []
    for output in config.output:
        size = output.dims[0]
        constants.append(helper.make_tensor(f"{output.name}_size", onnx.TensorProto.INT64, [1], [size]))
        shape = f"{output.name}_shape"
        nodes += [
            helper.make_node("Concat", ["count", f"{output.name}_size"], [shape], axis=0),
            helper.make_node("Expand", ["number", shape], [output.name]),
        ]
        answers.append(helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, ["n", size]))
    taken = helper.make_tensor_value_info(image.name, onnx.TensorProto.UINT8, ["n", *image.dims])
    graph = helper.make_graph(nodes, "counting", [taken], answers, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def test_a_large_batch_is_run_in_parts_that_fit_the_cache(bundle: Bundle, tmp_path: Path) -> None:
    changed = altered(
        bundle, tmp_path / "bundle", lambda c: setattr(c, "default_model_filename", "counting.onnx")
    )
    model = changed / "triton" / ONNX_MODEL
    config = text_format.Parse((model / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())
    onnx.save(counting_network(config), model / "1" / "counting.onnx")
    (image,) = config.input
    images = np.zeros((20, *image.dims), np.uint8)
    asked = InferInput(image.name, images.shape, "UINT8")
    asked.set_data_from_numpy(images)
    with TritonServer(changed) as server, InferenceServerClient(server.grpc) as client:
        rows = client.infer(ONNX_MODEL, [asked]).as_numpy("embedding")
    most = 256 * 256 // (image.dims[0] * image.dims[1])
    assert rows[:, 0].tolist() == [most] * most + [20 - most] * (20 - most)


def worker_threads(bundle: Bundle, target: Path, threads: int) -> int:
    """Count the threads of the ONNX model's worker in a server with that setting."""
    shutil.copytree(bundle.path, target)
    file = target / "triton" / ONNX_MODEL / "config.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), schema.ModelConfig())
    config.parameters["intra_op_thread_count"].string_value = str(threads)
    config.optimization.graph.level = -1
    file.write_text(text_format.MessageToString(config), encoding="utf-8")
    with TritonServer(target) as server:
        worker = worker_of(server.pid, ONNX_MODEL)
        return len(list(Path(f"/proc/{worker}/task").iterdir()))


def test_thread_count_is_honoured(bundle: Bundle, tmp_path: Path) -> None:
    one = worker_threads(bundle, tmp_path / "one", 1)
    four = worker_threads(bundle, tmp_path / "four", 4)
    assert four - one == 3
