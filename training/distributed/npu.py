"""torch_npu, the package that gives torch its Ascend devices: whether it can be used, and if not, why.

It is imported by name and only when an NPU is wanted, because an unusable one breaks more than itself:
without CANN it breaks `import torch` (hence TORCH_DEVICE_BACKEND_AUTOLOAD=0 in `zoo`), beside a CUDA build of
torch it aborts the process.
"""

import importlib
import importlib.metadata
import importlib.util
import re
from typing import Any

import torch

from zoo.errors import UserError, from_extra

CPU_BUILD = "torch=={}, its CPU build (docs/npu.md tells how)"
"""The build of torch that torch_npu extends."""

OLDEST = (2, 3)
"""Release of torch, and so of torch_npu, from which on this project runs."""


def is_installed() -> bool:
    """Whether there is a torch_npu, be it usable or not."""
    return importlib.util.find_spec("torch_npu") is not None


def load() -> None:
    """Import torch_npu, after which torch has a device `npu`.

    Raises:
        UserError: it is missing, does not fit this torch, or lacks CANN.
    """
    if not is_installed():
        raise UserError(f"torch_npu is not installed; it {from_extra('npu')}, or train with --cpus 1")
    version = _installed_version()
    if version is not None and tuple(map(int, version.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UserError(
            f"torch_npu {version} is older than this project runs with; install torch_npu {oldest}.0 or "
            "newer, and torch of the same release (docs/npu.md has the pairs), or train with --cpus 1"
        )
    if torch.version.cuda is not None or torch.version.hip is not None:
        raise UserError(
            f"torch {torch.__version__} is a GPU build, beside which torch_npu aborts the process; install "
            f"{CPU_BUILD.format(version or _release(torch.__version__))}"
        )
    if version is not None and version != _release(torch.__version__):
        raise UserError(
            f"torch_npu {version} does not fit torch {torch.__version__}; install {CPU_BUILD.format(version)}"
        )
    try:
        importlib.import_module("torch_npu")
    except Exception as error:
        raise UserError(_diagnosis(error)) from error


SETTINGS = {"jit_compile": False, "allow_internal_format": False}
"""What `settle` sets. With compilation at run time, torch_npu compiles a kernel anew for each new shape. With
internal formats, the default of first-generation cards, convolutions keep weights, outputs and gradients in
layouts that the `_foreach_` operators of optimiser and gradient norm refuse."""


def settle() -> None:
    """Make the `SETTINGS` for the present device; called before the first tensor is placed on it."""
    device = _module()
    device.set_compile_mode(jit_compile=SETTINGS["jit_compile"])
    device.config.allow_internal_format = SETTINGS["allow_internal_format"]


def saturates() -> bool:
    """Whether the present device is of the first generation (910A), which yields 65504 where others yield
    Inf."""
    return not _module().utils.is_support_inf_nan()


class OverflowFlag:
    """A saturating device's own record of overflows. By the vendor's description; not run on such a card."""

    def clear(self) -> None:
        """Forget what was, before the forward pass."""
        _module().utils.clear_npu_overflow_flag()

    def is_raised(self) -> bool:
        """Whether something has overflowed since."""
        return bool(_module().utils.get_npu_overflow_flag())


def _module() -> Any:
    """`torch.npu`, which is there once torch_npu was imported."""
    return torch.npu  # type: ignore[attr-defined]


def _installed_version() -> str | None:
    """The release of the torch_npu package; None where it tells none."""
    try:
        return _release(importlib.metadata.version("torch_npu"))
    except importlib.metadata.PackageNotFoundError:
        return None


def _release(version: str) -> str:
    """2.14.0 of 2.14.0.post2 and of 2.14.0+cpu: what has to be the same of torch and torch_npu."""
    return ".".join(re.findall(r"\d+", version)[:3])


def _diagnosis(error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    library = re.search(r"(lib[\w+-]+\.so[.\d]*): cannot open shared object", reason)
    if "undefined symbol" in reason or (library and library[1].startswith(("libtorch", "libc10"))):
        return (
            f"torch_npu was built for another torch than {torch.__version__} ({reason}); install the same "
            "release of both"
        )
    if library:
        return (
            f"torch_npu does not find {library[1]}, a library of CANN; install CANN, and in this shell first "
            "`source /usr/local/Ascend/ascend-toolkit/set_env.sh`"
        )
    return (
        f"torch_npu is installed but cannot be used ({reason}); check the driver with `npu-smi info` and "
        "that CANN's set_env.sh is sourced"
    )
