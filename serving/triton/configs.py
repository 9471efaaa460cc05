"""The three `config.pbtxt` of a Triton repository, built through tritonclient's protobuf schema.

`vehicle_reid` is the entry: an ensemble of `vehicle_preprocess` (encoded bytes -> pixels, Python backend) and
`vehicle_reid_onnx` (pixels -> embedding and probabilities, onnxruntime backend). Nothing here depends on
where the server comes from.
"""

from typing import TYPE_CHECKING, Any

from serving.bundle import CARD_KEY, POSE_DTYPES
from serving.triton.options import Accelerator, Options, RateLimit, Runtime
from zoo.card import Card
from zoo.errors import UserError, from_extra

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
    card: Card, model_hash: str, options: Options | None = None, version: int = 1
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
    options = options or Options()
    image = {"name": "image", "data_type": schema.TYPE_UINT8, "dims": [*card.input_size, 3]}
    image_bytes = {"name": "image_bytes", "data_type": schema.TYPE_STRING, "dims": [1]}
    errors = {"name": "error", "data_type": schema.TYPE_STRING, "dims": [1]}
    types = {"float32": schema.TYPE_FP32, "uint8": schema.TYPE_UINT8}
    pose = [
        {"name": name, "data_type": types[POSE_DTYPES[name]], "dims": list(shape)}
        for name, shape in card.pose_inputs.items()
    ]
    answers = [
        {"name": name, "data_type": schema.TYPE_FP32, "dims": [dimension]}
        for name, dimension in card.outputs.items()
    ]
    loaded = {"latest": {"num_versions": options.keep_versions}}
    # Named, not the latest: the folder of a new version must have no effect before the config that uses it.
    entered = {"specific": {"versions": [version]}}
    limit, instances = options.rate_limit, options.instances
    preprocess = schema.ModelConfig(
        name=PREPROCESS_MODEL,
        backend="python",
        max_batch_size=options.batching.max_size,
        version_policy=loaded,
        input=[image_bytes],
        output=[image, errors],
        # Decoding is CPU work; without a kind, the server would put it beside each GPU.
        instance_group=[
            {
                "count": instances.preprocess,
                "kind": schema.ModelInstanceGroup.KIND_CPU,
                **_rate_limiter(limit, limit.preprocess, limit.preprocess_priority),
            }
        ],
        # Whoever waits here waits for a decoder, so there is nothing to wait for once one is free.
        dynamic_batching=_dynamic_batching(options, schema, delay_us=0),
    )
    kinds = schema.ModelInstanceGroup
    # No kind: the server takes the GPU where there is one.
    kind = {"auto": {}, "cpu": {"kind": kinds.KIND_CPU}, "gpu": {"kind": kinds.KIND_GPU}}[instances.device]
    network = schema.ModelConfig(
        name=ONNX_MODEL,
        backend="onnxruntime",
        default_model_filename="model.onnx",
        max_batch_size=options.batching.max_size,
        version_policy=loaded,
        input=[image, *pose],
        output=[
            {**answer, "label_filename": LABEL_FILES[answer["name"]]}
            if answer["name"] in LABEL_FILES
            else answer
            for answer in answers
        ],
        instance_group=[
            {
                "count": instances.network,
                **kind,
                "gpus": instances.gpus,
                **_rate_limiter(limit, limit.network, limit.network_priority),
            }
        ],
        dynamic_batching=_dynamic_batching(
            options, schema, options.batching.max_delay_us, options.batching.preferred_sizes
        ),
        optimization=_optimization(options.runtime, options.accelerator),
        parameters=_runtime_parameters(options.runtime),
        model_warmup=[
            {
                "name": f"batch of {size}",
                "batch_size": size,
                "inputs": {
                    tensor["name"]: {**_without_name(tensor), "zero_data": True} for tensor in (image, *pose)
                },
            }
            for size in options.warm_up
        ],
    )
    first_step = {
        "model_name": PREPROCESS_MODEL,
        "model_version": version,
        "input_map": {"image_bytes": "image_bytes"},
        "output_map": {"image": "image", "error": "error"},
    }
    second_step = {
        "model_name": ONNX_MODEL,
        "model_version": version,
        "input_map": {name: name for name in ("image", *card.pose_inputs)},
        "output_map": {name: name for name in card.outputs},
    }
    parameters = {CARD_KEY: card.to_json(), HASH_KEY: model_hash}
    if limit.resource:
        parameters[RESOURCE_KEY] = f"{limit.resource}:{limit.capacity}"
    entry = schema.ModelConfig(
        name=ENTRY_MODEL,
        platform="ensemble",
        max_batch_size=options.batching.max_size,
        version_policy=entered,
        input=[image_bytes, *pose],
        output=[*answers, errors],
        ensemble_scheduling={"step": [first_step, second_step]},
        parameters={key: {"string_value": value} for key, value in parameters.items()},
    )
    if options.response_cache:
        entry.response_cache.enable = True
    return {config.name: config for config in (preprocess, network, entry)}


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
    options: Options, schema: Any, delay_us: int, preferred: tuple[int, ...] = ()
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


def _rate_limiter(limit: RateLimit, amount: int, priority: int) -> dict[str, Any]:
    if not limit.resource:
        return {}
    resource = {"name": limit.resource, "global": True, "count": amount}
    return {"rate_limiter": {"resources": [resource], "priority": priority}}


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


def _without_name(tensor: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tensor.items() if key != "name"}
