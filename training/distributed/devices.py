"""Which devices to train on, and the one table of what differs between their kinds.

No other file asks for a device's type: what depends on it is a column here, and the rest goes through torch's
device-agnostic calls.
"""

import ctypes
import gc
import sys
from dataclasses import dataclass
from types import ModuleType

import torch

from training.distributed import npu
from zoo.errors import UserError


@dataclass(frozen=True)
class DeviceKind:
    """What differs from one kind of device to the next.

    Attributes:
        type: torch's name of it.
        collective: backend of the process group for tensors on such devices.
        channels_last: whether tensors may have that layout; torch_npu raises on it.
        fused_optimizer: whether torch's optimisers have a fused kernel there.
        float64_products: whether matrix products of float64 run there.
        loader_start: how the loader's processes start; None for Python's own way. A process that is forked
            while torch_npu runs inherits its threads' locks, but not the threads.
    """

    type: str
    collective: str
    channels_last: bool = True
    fused_optimizer: bool = True
    float64_products: bool = True
    loader_start: str | None = None

    def process_group_backend(self) -> str:
        """What `init_process_group` takes. CPU tensors always go over gloo: figures and objects are gathered
        there, because HCCL reduces no float64."""
        return "gloo" if self.type == "cpu" else f"cpu:gloo,{self.type}:{self.collective}"


KINDS = {
    kind.type: kind
    for kind in (
        # torch's fused optimisers run on CPUs from 2.4 on.
        DeviceKind("cpu", "gloo", fused_optimizer=torch.__version__ >= "2.4"),
        DeviceKind("cuda", "nccl"),
        DeviceKind(
            "npu",
            "hccl",
            channels_last=False,
            fused_optimizer=False,
            float64_products=False,
            loader_start="spawn",
        ),
    )
}


@dataclass(frozen=True)
class Devices:
    """`count` devices of one kind on this machine, numbered from 0: one process runs on each."""

    kind: DeviceKind
    count: int


def kind_of(device: torch.device) -> DeviceKind:
    """The row of a device.

    Raises:
        UserError: it is none of the kinds that this project runs on.
    """
    if device.type not in KINDS:
        raise UserError(f"{device}: no such kind of device is known; use one of {', '.join(KINDS)}")
    return KINDS[device.type]


def choose_devices(gpus: int | None = None, npus: int | None = None, cpus: int | None = None) -> Devices:
    """Choose the devices of this machine; without any wish, all its accelerators, else one CPU process.

    Nothing is allocated on them: the processes that use them do that, see `enter_device`.

    Raises:
        UserError: more than one kind is asked for, or more devices than there are.
    """
    wishes = {"gpus": ("cuda", gpus), "npus": ("npu", npus), "cpus": ("cpu", cpus)}
    asked = [(option, *wish) for option, wish in wishes.items() if wish[1] is not None]
    if not asked:
        return _found()
    if len(asked) > 1:
        raise UserError("--gpus, --npus and --cpus exclude each other: give one of them")
    option, kind, count = asked[0]
    assert count is not None
    if count < 1:
        raise UserError(f"--{option} {count}: must be at least 1")
    if kind != "cpu":
        there = _count(kind)
        if there < count:
            raise UserError(
                f"--{option} {count}: only {there} of them can be seen here; give --{option} {there}, or "
                f"check {_VISIBILITY[kind]}"
            )
    return Devices(KINDS[kind], count)


def choose_device(gpus: int | None = None, npus: int | None = None, cpus: int | None = None) -> torch.device:
    """Choose and enter the device of a command that runs in one process.

    Raises:
        UserError: more than one device or kind is asked for, or the one asked for is not there.
    """
    for option, count in (("gpus", gpus), ("npus", npus), ("cpus", cpus)):
        if count is not None and count != 1:
            raise UserError(f"--{option} {count}: this command runs in one process; give --{option} 1")
    return enter_device(choose_devices(gpus, npus, cpus).kind)


def enter_device(kind: DeviceKind, index: int = 0) -> torch.device:
    """Make a device this process's own; called once, before anything is placed on it.

    Raises:
        UserError: the device cannot be used.
    """
    if kind.type == "cpu":
        keep_freed_memory()
        return torch.device("cpu")
    if kind.type == "npu":
        npu.load()
    device_module(kind.type).set_device(index)
    if kind.type == "npu":
        npu.settle()
    return torch.device(kind.type, index)


def device_module(kind: str) -> ModuleType:
    """`torch.cuda`, `torch.npu`: as torch.get_device_module, which came with torch 2.4."""
    module: ModuleType = getattr(torch, kind)
    return module


def device_settings(device: torch.device) -> dict[str, bool]:
    """What `enter_device` has set for a device, by the vendor's name of it."""
    return dict(npu.SETTINGS) if device.type == "npu" else {}


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed for the next step of a training on the CPU; for the life of the
    process, which stays as large as it once was.

    A step allocates and frees gigabytes of activations. By itself glibc gives blocks of more than 32 MB back
    to the kernel, which then hands out and zeroes a million pages anew in each step.

    Returns:
        Whether it will: other C libraries than glibc have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # No block from a mapping of its own, and nothing cut off the heap's end.
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


def device_name(device: torch.device) -> str:
    """What to call the device in a report."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' * (threads > 1)}"
    module = device_module(device.type)
    return str(module.get_device_name(device)) if hasattr(module, "get_device_name") else device.type


def loader_context(device: torch.device, workers: int) -> str | None:
    """The `multiprocessing_context` of a loader that feeds a device from so many processes."""
    return kind_of(device).loader_start if workers else None


def begin_loading(_worker: int) -> None:
    """The `worker_init_fn` of a loader: what a forked process inherits is never collected there.

    The end of an onnxruntime session, say, would wait for its threads, which the copy of a process lacks.
    """
    gc.freeze()


def overflow_flag(device: torch.device) -> npu.OverflowFlag | None:
    """The overflow flag of a card whose arithmetic saturates, so that no Inf tells of it; else None."""
    return npu.OverflowFlag() if device.type == "npu" and npu.saturates() else None


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of mallopt(3)."""

_VISIBILITY = {
    "cuda": "`nvidia-smi` and CUDA_VISIBLE_DEVICES",
    "npu": "`npu-smi info` and ASCEND_RT_VISIBLE_DEVICES",
}


def _found() -> Devices:
    if npu.is_installed():
        try:
            npu.load()
        except UserError as error:
            print(f"warning: no NPU is used: {error}", file=sys.stderr)
    kind = _accelerator()
    return Devices(KINDS[kind], device_module(kind).device_count() if kind != "cpu" else 1)


def _count(kind: str) -> int:
    """Count the usable accelerators of a kind; at least 1."""
    if kind == "npu":
        npu.load()
    elif torch.version.cuda is None and torch.version.hip is None:
        raise UserError(
            f"--gpus: torch {torch.__version__} is built without CUDA; install torch's CUDA build, or train "
            "with --cpus 1"
        )
    found = _accelerator()
    if found != kind:
        raise UserError(
            f"no usable {kind} device here (torch {torch.__version__} sees "
            f"{'none' if found == 'cpu' else found}); check the driver, "
            f"{_VISIBILITY[kind]}, or train with --cpus 1"
        )
    return int(device_module(kind).device_count())


def _accelerator() -> str:
    """The kind of accelerator that torch can use here; `cpu` for none."""
    return next((kind for kind in ("npu", "cuda") if _is_available(kind)), "cpu")


def _is_available(kind: str) -> bool:
    return hasattr(torch, kind) and bool(device_module(kind).is_available())
