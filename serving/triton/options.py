"""How a model is served, as a small TOML file that refuses what it does not know.

The options change how a server runs the model and never what it computes; they are written into the configs
of a Triton repository, so that they hold wherever that repository is served.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zoo.errors import UserError
from zoo.typed_table import build

CPU_ACCELERATORS = ("openvino",)
GPU_ACCELERATORS = ("tensorrt", "cuda")


@dataclass(frozen=True)
class Batching:
    """Merging of requests.

    Attributes:
        max_size: images of one execution, and of one request.
        preferred_sizes: executions of these sizes start at once; the others wait for `max_delay_us`.
        max_delay_us: microseconds that an execution waits for company: small against the milliseconds that
            one image takes.
        preserve_order: answer in the order of the requests.
    """

    max_size: int = 32
    preferred_sizes: tuple[int, ...] = ()
    max_delay_us: int = 500
    preserve_order: bool = False

    def __post_init__(self) -> None:
        _at_least(1, max_size=self.max_size)
        _at_least(0, max_delay_us=self.max_delay_us)
        for size in self.preferred_sizes:
            if not 1 <= size <= self.max_size:
                raise ValueError(f"preferred_sizes: {size} is not between 1 and max_size = {self.max_size}")


@dataclass(frozen=True)
class Queue:
    """What becomes of requests that wait, for decoding and for the network alike.

    Attributes:
        max_requests: that may wait; more are refused at once. 0 sets no limit.
        timeout_us: microseconds that a request waits at most; 0 for ever.
        timeout_action: `reject` it then with an error, or `delay` it behind the others.
        client_timeout: let a request bring a timeout of its own, shorter than `timeout_us`.
    """

    max_requests: int = 0
    timeout_us: int = 0
    timeout_action: Literal["reject", "delay"] = "reject"
    client_timeout: bool = False

    def __post_init__(self) -> None:
        _at_least(0, max_requests=self.max_requests, timeout_us=self.timeout_us)
        if self.client_timeout and not self.timeout_us:
            # The server takes a request's own timeout only where it is below this one.
            raise ValueError("client_timeout = true has no effect with timeout_us = 0; set the longest wait")


@dataclass(frozen=True)
class Priorities:
    """Levels of urgency: somebody's query is to pass a bulk ingest that fills the queue.

    Attributes:
        levels: 1 is the most urgent; 0 for a single queue.
        default: of requests that name none.
    """

    levels: int = 0
    default: int = 0

    def __post_init__(self) -> None:
        if not (self.levels == self.default == 0 or 1 <= self.default <= self.levels):
            raise ValueError(f"default = {self.default} is not between 1 and levels = {self.levels}")


@dataclass(frozen=True)
class Instances:
    """Copies of the models.

    Attributes:
        network: copies of the network on each device. On a CPU one already uses every core.
        preprocess: processes that decode, each with some threads.
        device: of the network; `auto` is the GPU where there is one. `npu` is an Ascend card, by the backend
            `npu_ge` in place of onnxruntime's; it was never run.
        gpus: numbers of the GPUs to use; none for all.
    """

    network: int = 1
    preprocess: int = 1
    device: Literal["auto", "cpu", "gpu", "npu"] = "auto"
    gpus: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _at_least(1, network=self.network, preprocess=self.preprocess)
        if self.gpus and self.device != "gpu":
            raise ValueError(f'gpus are given, but device = "{self.device}"; set device = "gpu"')
        if any(gpu < 0 for gpu in self.gpus) or len(set(self.gpus)) != len(self.gpus):
            raise ValueError(f"gpus = {list(self.gpus)}: distinct numbers from 0 are expected")


@dataclass(frozen=True)
class Runtime:
    """onnxruntime's settings.

    Attributes:
        threads: within an operator; 0 for every core.
        graph_threads: between operators, with `parallel`; 0 for every core.
        parallel: run independent operators at the same time.
        optimization: of the graph.
        memory_arena: keep freed memory for the next execution; without, memory is lower and speed too.
    """

    threads: int = 0
    graph_threads: int = 0
    parallel: bool = False
    optimization: Literal["all", "extended", "basic", "none"] = "all"
    memory_arena: bool = True

    def __post_init__(self) -> None:
        _at_least(0, threads=self.threads, graph_threads=self.graph_threads)
        if self.graph_threads and not self.parallel:
            raise ValueError("graph_threads are used with parallel = true only")


@dataclass(frozen=True)
class Accelerator:
    """A compiler behind onnxruntime, which has to be in the server: NVIDIA's container has these three.

    Attributes:
        name: `tensorrt` and `cuda` run on GPUs, `openvino` on the CPU.
        precision: of TensorRT's engine.
        workspace_bytes: that TensorRT may use to find fast kernels; 0 for its own default.
        engine_cache: folder on the server where TensorRT keeps its engines between starts; empty for none.
    """

    name: Literal["none", "tensorrt", "cuda", "openvino"] = "none"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    workspace_bytes: int = 0
    engine_cache: str = ""

    def __post_init__(self) -> None:
        _at_least(0, workspace_bytes=self.workspace_bytes)
        given = self.precision != "fp32" or self.workspace_bytes or self.engine_cache
        if given and self.name != "tensorrt":
            raise ValueError(
                f'precision, workspace_bytes and engine_cache are for name = "tensorrt", not "{self.name}"'
            )


@dataclass(frozen=True)
class RateLimit:
    """A resource that decoding and the network share, so that they do not run all at once.

    Attributes:
        resource: its name; empty for no limit.
        capacity: how much of it the server has.
        network: how much an execution of the network takes.
        preprocess: how much an execution of the decoding takes.
        network_priority: every n-th turn; 1 is the most frequent.
        preprocess_priority: likewise.
    """

    resource: str = ""
    capacity: int = 1
    network: int = 1
    preprocess: int = 1
    network_priority: int = 1
    preprocess_priority: int = 1

    def __post_init__(self) -> None:
        _at_least(1, capacity=self.capacity, network=self.network, preprocess=self.preprocess)
        _at_least(1, network_priority=self.network_priority, preprocess_priority=self.preprocess_priority)
        if self.resource and not self.resource.isidentifier():
            raise ValueError(f"resource = {self.resource!r}: letters, digits and underscores are expected")
        if max(self.network, self.preprocess) > self.capacity:
            raise ValueError(f"an execution that takes more than capacity = {self.capacity} would never run")


@dataclass(frozen=True)
class RepositoryOptions:
    """Everything about serving but the model and the machine.

    Attributes:
        warm_up: batch sizes that the network runs before it counts as ready.
        response_cache: answer a request that was answered before from memory; the server needs a cache.
        keep_versions: of the network that stay loaded. With 2, an update drops no request: those that began
            with the old version end with it.
    """

    batching: Batching = field(default_factory=Batching)
    queue: Queue = field(default_factory=Queue)
    priorities: Priorities = field(default_factory=Priorities)
    instances: Instances = field(default_factory=Instances)
    runtime: Runtime = field(default_factory=Runtime)
    accelerator: Accelerator = field(default_factory=Accelerator)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    warm_up: tuple[int, ...] = ()
    response_cache: bool = False
    keep_versions: int = 2

    def __post_init__(self) -> None:
        _at_least(1, keep_versions=self.keep_versions)
        for size in self.warm_up:
            if not 1 <= size <= self.batching.max_size:
                raise ValueError(f"warm_up: {size} is not between 1 and max_size = {self.batching.max_size}")
        name, device = self.accelerator.name, self.instances.device
        if device == "npu" and self.runtime != Runtime():
            raise ValueError('[runtime] has settings of onnxruntime, which does not run with device = "npu"')
        if (name in GPU_ACCELERATORS and device != "gpu") or (name in CPU_ACCELERATORS and device != "cpu"):
            wanted = "gpu" if name in GPU_ACCELERATORS else "cpu"
            raise ValueError(f'accelerator "{name}" needs [instances] device = "{wanted}", not "{device}"')


def read_options(path: Path) -> RepositoryOptions:
    """Read an options file.

    Raises:
        UserError: missing, not TOML, an unknown key, or a value that is out of its range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: these options cannot be read ({error})") from error
    options: RepositoryOptions = build(RepositoryOptions, values, str(path))
    return options


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} = {value}: at least {least} is expected")
