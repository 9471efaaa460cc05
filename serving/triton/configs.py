"""The three `config.pbtxt` of a Triton repository, built through tritonclient's protobuf schema.

`vehicle_reid` is the entry: an ensemble of `vehicle_preprocess` (encoded bytes -> pixels, Python backend) and
`vehicle_reid_onnx` (pixels -> embedding and probabilities, onnxruntime backend). Nothing here depends on
where the server comes from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.bundle import CARD_KEY
from serving.triton.options import Accelerator, RateLimit, RepositoryOptions, Runtime
from zoo.card import Card
from zoo.errors import UserError, from_extra
from zoo.pose import POSE_DTYPES

if TYPE_CHECKING:
    from tritonclient.grpc import model_config_pb2

ENTRY_MODEL = "vehicle_reid"
ONNX_MODEL = "vehicle_reid_onnx"
PREPROCESS_MODEL = "vehicle_preprocess"

HASH_KEY = "model_hash"
"""Of the entry's parameters: sha256 of the ONNX file."""

RESOURCE_KEY = "rate_limit_resource"
"""Of the entry's parameters: `name:capacity` of the resource that a server with a rate limit must have."""

LABEL_FILES = {"color_probs": "colors.txt", "type_probs": "types.txt"}

_GRAPH_LEVELS = {"all": 0, "extended": 1, "basic": -1, "none": 2}


def build_configs(
    card: Card, model_hash: str, options: RepositoryOptions | None = None, version: int = 1
) -> dict[str, "model_config_pb2.ModelConfig"]:
    """Build the configs, by model name.

    Args:
        card: the model's card; it travels in the entry model's parameters.
        model_hash: sha256 of the ONNX file.
        options: how the model is served.
        version: of the two models that the entry is to use. The entry names it, so that an answer of its
            version n comes from version n of the network, also while a server changes from one to another.

    Raises:
        UserError: tritonclient is not installed.
    """
    schema = config_schema()
    options = options or RepositoryOptions()
    tensors = _Tensors.of(card, schema)
    configs = (
        _preprocess_config(tensors, options, schema, card.antialias),
        _network_config(tensors, options, schema),
        _entry_config(tensors, card, model_hash, options, version, schema),
    )
    return {config.name: config for config in configs}


@dataclass(frozen=True)
class _Tensors:
    """What goes into the models and comes out of them, as the schema has it."""

    image_bytes: dict[str, Any]
    image: dict[str, Any]
    pose: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    error: dict[str, Any]

    @classmethod
    def of(cls, card: Card, schema: Any) -> "_Tensors":
        def tensor(name: str, kind: int, dims: Iterable[int]) -> dict[str, Any]:
            return {"name": name, "data_type": kind, "dims": list(dims)}

        kinds = {"float32": schema.TYPE_FP32, "uint8": schema.TYPE_UINT8}
        return cls(
            image_bytes=tensor("image_bytes", schema.TYPE_STRING, [1]),
            image=tensor("image", schema.TYPE_UINT8, [*card.input_size, 3]),
            pose=[tensor(name, kinds[POSE_DTYPES[name]], shape) for name, shape in card.pose_inputs.items()],
            answers=[tensor(name, schema.TYPE_FP32, [size]) for name, size in card.outputs.items()],
            error=tensor("error", schema.TYPE_STRING, [1]),
        )


def _preprocess_config(
    tensors: _Tensors, options: RepositoryOptions, schema: Any, antialias: bool
) -> "model_config_pb2.ModelConfig":
    limit = options.rate_limit
    return schema.ModelConfig(
        name=PREPROCESS_MODEL,
        backend="python",
        max_batch_size=options.batching.max_size,
        version_policy={"latest": {"num_versions": options.keep_versions}},
        input=[tensors.image_bytes],
        output=[tensors.image, tensors.error],
        # Decoding is CPU work; without a kind, the server would put it beside each GPU.
        instance_group=[
            {
                "count": options.instances.preprocess,
                "kind": schema.ModelInstanceGroup.KIND_CPU,
                **_rate_limiter(limit, limit.preprocess, limit.preprocess_priority),
            }
        ],
        # Whoever waits here waits for a decoder, so there is nothing to wait for once one is free.
        dynamic_batching=_dynamic_batching(options, schema, delay_us=0),
        parameters={} if antialias else {"antialias": {"string_value": "false"}},
    )


def _network_config(
    tensors: _Tensors, options: RepositoryOptions, schema: Any
) -> "model_config_pb2.ModelConfig":
    limit, instances, batching = options.rate_limit, options.instances, options.batching
    inputs = [tensors.image, *tensors.pose]
    kinds = schema.ModelInstanceGroup
    # No kind: the server takes the GPU where there is one, and no kind of its own stands for an NPU.
    kind = {"cpu": {"kind": kinds.KIND_CPU}, "gpu": {"kind": kinds.KIND_GPU}}.get(instances.device, {})
    return schema.ModelConfig(
        name=ONNX_MODEL,
        default_model_filename="model.onnx",
        max_batch_size=batching.max_size,
        version_policy={"latest": {"num_versions": options.keep_versions}},
        input=inputs,
        output=[{**answer, "label_filename": LABEL_FILES.get(answer["name"])} for answer in tensors.answers],
        instance_group=[
            {
                "count": instances.network,
                **kind,
                "gpus": instances.gpus,
                **_rate_limiter(limit, limit.network, limit.network_priority),
            }
        ],
        dynamic_batching=_dynamic_batching(options, schema, batching.max_delay_us, batching.preferred_sizes),
        **_engine(options),
        model_warmup=[_warm_up(inputs, size) for size in options.warm_up],
    )


def _entry_config(
    tensors: _Tensors, card: Card, model_hash: str, options: RepositoryOptions, version: int, schema: Any
) -> "model_config_pb2.ModelConfig":
    def step(model: str, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "model_name": model,
            "model_version": version,
            "input_map": {tensor["name"]: tensor["name"] for tensor in inputs},
            "output_map": {tensor["name"]: tensor["name"] for tensor in outputs},
        }

    decode = step(PREPROCESS_MODEL, [tensors.image_bytes], [tensors.image, tensors.error])
    embed = step(ONNX_MODEL, [tensors.image, *tensors.pose], tensors.answers)
    parameters = {CARD_KEY: card.to_json(), HASH_KEY: model_hash}
    if options.rate_limit.resource:
        parameters[RESOURCE_KEY] = f"{options.rate_limit.resource}:{options.rate_limit.capacity}"
    entry = schema.ModelConfig(
        name=ENTRY_MODEL,
        platform="ensemble",
        max_batch_size=options.batching.max_size,
        # Named, not the latest: a new version's folder must have no effect before the config that uses it.
        version_policy={"specific": {"versions": [version]}},
        input=[tensors.image_bytes, *tensors.pose],
        output=[*tensors.answers, tensors.error],
        ensemble_scheduling={"step": [decode, embed]},
        parameters={key: {"string_value": value} for key, value in parameters.items()},
    )
    if options.response_cache:
        entry.response_cache.enable = True
    return entry


def config_schema() -> Any:
    """Import the schema of Triton's configs.

    Raises:
        UserError: tritonclient is not installed.
    """
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise UserError(
            f"the Triton repository needs tritonclient ({error}); it {from_extra('triton')}"
        ) from error
    return model_config_pb2


def _dynamic_batching(
    options: RepositoryOptions, schema: Any, delay_us: int, preferred: tuple[int, ...] = ()
) -> dict[str, Any]:
    queue, priorities = options.queue, options.priorities
    actions = {"reject": schema.ModelQueuePolicy.REJECT, "delay": schema.ModelQueuePolicy.DELAY}
    policy = {
        "timeout_action": actions[queue.timeout_action],
        "default_timeout_microseconds": queue.timeout_us,
        "allow_timeout_override": queue.client_timeout,
        "max_queue_size": queue.max_requests,
    }
    return {
        "preferred_batch_size": preferred,
        "max_queue_delay_microseconds": delay_us,
        "preserve_ordering": options.batching.preserve_order,
        "default_queue_policy": policy,
        "priority_levels": priorities.levels,
        "default_priority_level": priorities.default,
    }


def _warm_up(inputs: list[dict[str, Any]], size: int) -> dict[str, Any]:
    zeros = {
        tensor["name"]: {"data_type": tensor["data_type"], "dims": tensor["dims"], "zero_data": True}
        for tensor in inputs
    }
    return {"name": f"batch of {size}", "batch_size": size, "inputs": zeros}


def _rate_limiter(limit: RateLimit, amount: int, priority: int) -> dict[str, Any]:
    if not limit.resource:
        return {}
    resource = {"name": limit.resource, "global": True, "count": amount}
    return {"rate_limiter": {"resources": [resource], "priority": priority}}


def _engine(options: RepositoryOptions) -> dict[str, Any]:
    """The backend that runs the network, and its settings."""
    if options.instances.device == "npu":
        return {"backend": "npu_ge"}
    return {
        "backend": "onnxruntime",
        "optimization": _optimization(options.runtime, options.accelerator),
        "parameters": _runtime_parameters(options.runtime),
    }


def _optimization(runtime: Runtime, accelerator: Accelerator) -> dict[str, Any]:
    block: dict[str, Any] = {"graph": {"level": _GRAPH_LEVELS[runtime.optimization]}}
    if accelerator.name == "none":
        return block
    parameters = {}
    if accelerator.name == "tensorrt":
        parameters["precision_mode"] = accelerator.precision.upper()
        if accelerator.workspace_bytes:
            parameters["max_workspace_size_bytes"] = str(accelerator.workspace_bytes)
        if accelerator.engine_cache:
            parameters["trt_engine_cache_enable"] = "1"
            parameters["trt_engine_cache_path"] = accelerator.engine_cache
    place = "cpu_execution_accelerator" if accelerator.name == "openvino" else "gpu_execution_accelerator"
    block["execution_accelerators"] = {place: [{"name": accelerator.name, "parameters": parameters}]}
    return block


def _runtime_parameters(runtime: Runtime) -> dict[str, dict[str, str]]:
    values: dict[str, object] = {}
    if runtime.threads:
        values["intra_op_thread_count"] = runtime.threads
    if runtime.graph_threads:
        values["inter_op_thread_count"] = runtime.graph_threads
    if runtime.parallel:
        values["execution_mode"] = 1
    if not runtime.memory_arena:
        values["enable_mem_arena"] = "false"
    return {key: {"string_value": str(value)} for key, value in values.items()}
