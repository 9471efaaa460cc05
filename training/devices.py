"""Which device to train on: CPU, CUDA GPU or Ascend NPU, through torch's device-agnostic calls."""

import argparse

import torch

from zoo.errors import UserError


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command the options whose values `choose_device` takes."""
    devices = parser.add_mutually_exclusive_group()
    for kind in ("gpus", "npus", "cpus"):
        devices.add_argument(
            f"--{kind}", type=int, metavar="N", help=f"number of {kind[:-1].upper()} processes"
        )


def choose_device(gpus: int | None = None, npus: int | None = None, cpus: int | None = None) -> torch.device:
    """Choose the device of a single process; without any wish, the machine's accelerator, else its CPU.

    Raises:
        UserError: more than one device or kind is asked for, or the one asked for is not there.
    """
    wishes = {"cuda": gpus, "npu": npus, "cpu": cpus}
    asked = {kind: count for kind, count in wishes.items() if count is not None}
    if len(asked) > 1:
        raise UserError("--gpus, --npus and --cpus exclude each other: give one of them")
    for kind, count in asked.items():
        if count != 1:
            raise UserError(
                f"{count} {kind} processes are asked for; this version trains in one process: give 1"
            )
        if kind == "cpu":
            return torch.device("cpu")
        if kind == "npu":
            _import_npu()
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None or found.type != kind:
            raise UserError(
                f"no usable {kind} device here (torch {torch.__version__} sees "
                f"{found.type if found else 'none'}); "
                "check the driver and that torch is built for it, or train with --cpus 1"
            )
        return torch.device(kind, 0)
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else torch.device(found.type, 0)


def device_name(device: torch.device) -> str:
    """What to call the device in a report."""
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    module = torch.get_device_module(device)
    return str(module.get_device_name(device)) if hasattr(module, "get_device_name") else device.type


def _import_npu() -> None:
    try:
        import torch_npu  # noqa: F401
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the NPU's torch_npu cannot be used ({reason}); install the extra `npu` and CANN, or use "
            "--cpus 1"
        ) from error
