"""A stand-in for Ascend's torch_npu, for tests: a device `npu` that computes on the CPU.

It is torch's own support for back ends written in Python. An npu tensor has a geometry, and a storage without
bytes; the bytes are a CPU tensor's, looked up by that storage. One fallback serves all operators: those that
view run on the geometry alone, the others on the CPU tensors.

What the real one refuses is refused: channels_last, and float64, which becomes float32 without a word. While
internal formats are allowed, as first-generation cards have it until they are told otherwise, convolutions
write in one, and the `_foreach_` operators refuse it. `faults.py` injects what may be wrong with a machine.
Not modelled: several devices in one process, autocast's casting, streams, memory, numerics, speed.
"""

import os
from functools import partial

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_map, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from torch_npu import faults

aten = torch.ops.aten
GEOMETRY = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)
_bytes: dict[int, tuple[StorageWeakRef, torch.UntypedStorage]] = {}
_sweep_at = 1000
_private: set[int] = set()
"""Keys of `_bytes` whose tensors are in an internal format."""


class Config:
    """What becomes `torch.npu.config`; a fault keeps a format that is switched off."""

    def __init__(self) -> None:
        self.__dict__["allow_internal_format"] = True

    def __setattr__(self, name: str, value: bool) -> None:
        self.__dict__[name] = value or faults.here("format")


class Npu(_DummyBackendModule):
    """What becomes `torch.npu`."""

    jit_compile = True
    config = Config()

    class utils:  # noqa: N801
        @staticmethod
        def is_support_inf_nan() -> bool:
            return not faults.here("saturation")

        @staticmethod
        def clear_npu_overflow_flag() -> None:
            pass

        @staticmethod
        def get_npu_overflow_flag() -> bool:
            # That of a card whose flag is broken.
            return False

    def device_count(self) -> int:
        return int(os.environ.get("SIMULATED_NPUS", "1"))

    def is_available(self) -> bool:
        return self.device_count() > 0

    def set_device(self, device: int) -> None:
        # Each process has one.
        pass

    def get_device_name(self, device=None) -> str:
        return "simulated NPU"

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def set_compile_mode(self, jit_compile: bool) -> None:
        self.jit_compile = jit_compile


def on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """The CPU tensor that holds an npu tensor's values."""
    if tensor.device.type != "npu":
        return tensor
    storage = _bytes[tensor.untyped_storage()._cdata][1]
    result = torch.empty(0, dtype=tensor.dtype)
    return result.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())


def on_npu(values: torch.Tensor) -> torch.Tensor:
    """An npu tensor of a CPU tensor's values."""
    global _sweep_at  # noqa: PLW0603
    if values.dtype == torch.float64:
        values = values.float()
    tensor = torch._C._acc.create_empty_tensor(list(values.shape), values.dtype)
    tensor = aten.as_strided.default.redispatch(
        GEOMETRY, tensor, values.size(), values.stride(), values.storage_offset()
    )
    storage = tensor.untyped_storage()
    _bytes[storage._cdata] = StorageWeakRef(storage), values.untyped_storage()
    _private.discard(storage._cdata)
    if len(_bytes) > _sweep_at:
        for key in [key for key, (reference, _) in _bytes.items() if reference.expired()]:
            del _bytes[key]
            _private.discard(key)
        _sweep_at = 2 * len(_bytes) + 1000
    return tensor


def run(op, *args, **kwargs):
    """Serve any operator."""
    faults.at_operator(op.__name__)
    if torch.channels_last in (*args, *kwargs.values()):
        raise RuntimeError("NPU does not support memory format channels_last")
    if op.is_view or torch.Tag.inplace_view in op.tags:
        return op.redispatch(GEOMETRY, *args, **kwargs)
    if kwargs.get("dtype") == torch.float64:
        kwargs["dtype"] = torch.float32
    originals = {}
    foreach = op.__name__.startswith("_foreach_")

    def lower(value):
        if isinstance(value, torch.Tensor):
            if foreach and value.device.type == "npu" and value.untyped_storage()._cdata in _private:
                raise RuntimeError(
                    "Current device only support aclnn operator, and current operator "
                    f"{op.__name__.partition('.')[0]} do not support internal format."
                )
            cpu = on_cpu(value)
            originals[id(cpu)] = value
            return cpu
        return torch.device("cpu") if isinstance(value, torch.device) else value

    args, kwargs = tree_map(lower, (args, kwargs))
    if op is aten._copy_from.default:
        return originals[id(args[1].copy_(args[0]))]

    def lift(value):
        if faults.here("saturation") and value.dtype == torch.float16:
            value.clamp_(-65504, 65504)
        if id(value) not in originals:
            # Its kernels write their results in plain order, whatever the order of what they read.
            made = on_npu(value if op is aten.empty_strided.default else value.contiguous())
            if npu.config.allow_internal_format and op in CONVOLUTIONS:
                _private.add(made.untyped_storage()._cdata)
            return made
        tensor = originals[id(value)]
        if tensor.shape != value.shape:
            # An `out` that came empty and was made as large as it has to be.
            tensor.data = on_npu(value)
        return tensor

    return tree_map_only(torch.Tensor, lift, op(*args, **kwargs))


CONVOLUTIONS = (aten.convolution.default, aten.convolution_backward.default)
npu = Npu()
_setup_privateuseone_for_python_backend("npu", npu)
_library = torch.library.Library("_", "IMPL")
_library.fallback(run, "PrivateUse1")
# Autocast is entered, and casts nothing.
_library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
# torch sends the convolutions of such back ends to two operators of their own.
_own = torch.library.Library("aten", "IMPL")
_own.impl("convolution_overrideable", lambda *args: run(aten.convolution.default, *args), "PrivateUse1")
_own.impl(
    "convolution_backward_overrideable",
    lambda grad, image, weight, *rest: run(
        aten.convolution_backward.default, grad, image, weight, [weight.shape[0]], *rest
    ),
    "PrivateUse1",
)

# torch would go from tensor to tensor on such back ends; the real one has kernels of its own for all at once.
for name in torch._C._dispatch_get_all_op_names():
    if name.startswith("aten::_foreach_"):
        base, _, overload = name.removeprefix("aten::").partition(".")
        operator = getattr(getattr(aten, base), overload or "default")
        _own.impl(f"{base}.{overload}" if overload else base, partial(run, operator), "PrivateUse1")

_copied_elsewhere = torch.Tensor.__deepcopy__


def deepcopied(tensor: torch.Tensor, memo: dict) -> torch.Tensor:
    """Copy a tensor; torch would copy the bytes of its storage, of which there are none."""
    if tensor.device.type != "npu" or id(tensor) in memo or not tensor.is_leaf:
        return _copied_elsewhere(tensor, memo)
    memo[id(tensor)] = copied = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return copied


torch.Tensor.__deepcopy__ = deepcopied

from torch_npu import hccl  # noqa: E402, F401
