"""Triton's `onnxruntime` backend as a Python-based backend, for a server that comes without the C++ one.

It lies in the server's backend directory, outside of any model repository, and opens a model's own file with
the onnxruntime package. A repository that loads here is to load in NVIDIA's container as well, so a config is
checked against the graph with the C++ backend's rules; settings that cannot be honoured are refused.
"""

import json
import os
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
}

_GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

RUN_NUMBERS = 3 * 256 * 256
"""Of a run's images together, one at least, as `zoo.parallel_model.RUN_PIXELS` has it elsewhere: what a
layer hands to the next then stays in the processor's cache."""

_UNSUPPORTED = ("sequence_batching", "model_operations", "batch_input", "batch_output")
"""Parts of a config that the C++ backend honours and this one does not."""


class TritonPythonModel:
    """What the Python backend makes one of per model instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the model and check its config against the graph.

        Raises:
            TritonModelException: the config does not fit the graph, or asks for what this backend has not.
        """
        config = json.loads(args["model_config"])
        if "GPU" in args["model_instance_kind"]:
            raise _refusal("runs on CPUs only; use NVIDIA's container for a GPU")
        for key in _UNSUPPORTED:
            if config.get(key):
                raise _refusal(f"does not support '{key}'")
        if (config.get("model_transaction_policy") or {}).get("decoupled"):
            raise _refusal("does not support decoupled models")
        file = os.path.join(
            args["model_repository"],
            args["model_version"],
            config.get("default_model_filename") or "model.onnx",
        )
        if not os.path.isfile(file):
            raise _refusal(f"finds no model at '{file}'")
        options = _session_options(config)
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.input_names = [spec["name"] for spec in config["input"]]
        self.output_names = [spec["name"] for spec in config["output"]]
        self.batched = int(config.get("max_batch_size", 0)) > 0
        check_config(config, self.session)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the requests that the server merged as one batch, and deal the rows out again.

        A request whose client has gone is answered without being computed.
        """
        alive = [request for request in requests if not request.is_cancelled()]
        answers = iter(self._answer(alive) if alive else [])
        gone = pb_utils.TritonError("the client cancelled the request", pb_utils.TritonError.CANCELLED)
        running = set(map(id, alive))
        return [
            next(answers) if id(request) in running else pb_utils.InferenceResponse(error=gone)
            for request in requests
        ]

    def _answer(self, requests: list[Any]) -> list[Any]:
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.input_names}
            for request in requests
        ]
        first = self.input_names[0]
        sizes = [len(feed[first]) for feed in feeds]
        merged = {
            name: feeds[0][name] if len(feeds) == 1 else np.concatenate([feed[name] for feed in feeds])
            for name in self.input_names
        }
        wanted = {name for request in requests for name in request.requested_output_names()}
        names = [name for name in self.output_names if name in wanted]
        try:
            values = dict(zip(names, self._run(names, merged), strict=True))
        except Exception as error:
            # Whatever onnxruntime raises concerns this batch; the instance lives on.
            failure = pb_utils.TritonError(f"onnxruntime: {error}", pb_utils.TritonError.INTERNAL)
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        ends = np.cumsum(sizes)
        return [
            pb_utils.InferenceResponse(
                output_tensors=[
                    pb_utils.Tensor(name, np.ascontiguousarray(values[name][end - size : end]))
                    for name in names
                    if name in request.requested_output_names()
                ]
            )
            for request, size, end in zip(requests, sizes, ends, strict=True)
        ]

    def _run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run a batch in parts that fit the cache; a model without a batch axis in one."""
        first = feed[self.input_names[0]]
        if not self.batched:
            return self.session.run(names, feed)
        size = max(1, RUN_NUMBERS // first[0].size)
        parts = [
            self.session.run(names, {name: value[start : start + size] for name, value in feed.items()})
            for start in range(0, len(first), size)
        ]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]


def check_config(config: dict[str, Any], session: onnxruntime.InferenceSession) -> None:
    """Refuse a config whose names, types or dimensions are not the graph's.

    Raises:
        TritonModelException: naming the tensor, what the config says, and what the model has.
    """
    batched = int(config.get("max_batch_size", 0)) > 0
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    if len(config["input"]) != len(inputs):
        raise _refusal(
            f"needs all inputs: the config names {len(config['input'])}, the model has {sorted(inputs)}"
        )
    for kind, specs, nodes in (("input", config["input"], inputs), ("output", config["output"], outputs)):
        for spec in specs:
            name = spec["name"]
            if name not in nodes:
                raise _refusal(f"finds no {kind} '{name}' in the model, which has {sorted(nodes)}")
            _check_tensor(kind, spec, nodes[name], batched)


def _check_tensor(kind: str, spec: dict[str, Any], node: Any, batched: bool) -> None:
    name = spec["name"]
    expected = _ONNX_TYPES.get(spec["data_type"])
    if node.type != expected:
        raise _refusal(f"{kind} '{name}' is {spec['data_type']} in the config and {node.type} in the model")
    if spec.get("is_shape_tensor") or spec.get("is_ragged_batch") or spec.get("allow_ragged_batch"):
        raise _refusal(f"{kind} '{name}': shape tensors and ragged batches are not supported")
    dims = [int(dim) for dim in (spec.get("reshape") or {}).get("shape", spec["dims"])]
    shape = [dim if isinstance(dim, int) else -1 for dim in node.shape]
    if batched:
        if not shape or shape[0] != -1:
            raise _refusal(
                f"{kind} '{name}' of the model has no variable first dimension, so max_batch_size must be 0"
            )
        shape = shape[1:]
    fits = len(dims) == len(shape) and all(have in (-1, said) for said, have in zip(dims, shape, strict=True))
    if not fits:
        raise _refusal(f"{kind} '{name}' has dims {dims} in the config and {shape} in the model")


def _session_options(config: dict[str, Any]) -> onnxruntime.SessionOptions:
    """Turn the config's parameters and optimisation block into session options."""
    optimization = config.get("optimization") or {}
    accelerators = optimization.get("execution_accelerators") or {}
    for place in ("cpu_execution_accelerator", "gpu_execution_accelerator"):
        for accelerator in accelerators.get(place) or []:
            raise _refusal(f"has no execution accelerator '{accelerator.get('name')}'")
    options = onnxruntime.SessionOptions()
    # Threads that are done would else spin for tens of milliseconds, on a core that other models could use.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    level = int((optimization.get("graph") or {}).get("level", 0))
    if level not in _GRAPH_LEVELS:
        raise _refusal(f"knows no graph optimization level {level}; -1, 0, 1 and 2 are")
    options.graph_optimization_level = _GRAPH_LEVELS[level]
    parameters = config.get("parameters") or {}
    options.intra_op_num_threads = _integer(parameters, "intra_op_thread_count", 0)
    options.inter_op_num_threads = _integer(parameters, "inter_op_thread_count", 0)
    mode = _integer(parameters, "execution_mode", 0)
    if mode not in (0, 1):
        raise _refusal(f"parameter execution_mode: {mode} is neither 0 nor 1")
    if mode == 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = _boolean(parameters, "enable_mem_arena", True)
    options.enable_mem_pattern = _boolean(parameters, "enable_mem_pattern", True)
    return options


def _integer(parameters: dict[str, Any], name: str, default: int) -> int:
    text = (parameters.get(name) or {}).get("string_value", str(default))
    try:
        value = int(text)
    except ValueError as error:
        raise _refusal(f"parameter {name}: '{text}' is not a whole number") from error
    if value < 0:
        raise _refusal(f"parameter {name}: {value} is below 0")
    return value


def _boolean(parameters: dict[str, Any], name: str, default: bool) -> bool:
    text = (parameters.get(name) or {}).get("string_value", str(default)).lower()
    if text not in ("true", "false"):
        raise _refusal(f"parameter {name}: '{text}' is neither true nor false")
    return text == "true"


def _refusal(text: str) -> Exception:
    exception: Exception = pb_utils.TritonModelException(f"the onnxruntime backend {text}")
    return exception
