"""What a maintainer asks first when a training misbehaves: releases, driver, CANN, settings, memory.

Every training writes these facts into its folder as environment.json; `training.doctor` judges them.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from training.distributed.devices import device_name, device_settings

PACKAGES = ("torch", "torch_npu", "torchvision", "numpy", "onnxruntime", "vehicle-reid-zoo")

VARIABLES = {
    "cpu": ("OMP_NUM_THREADS", "KMP_AFFINITY", "GLOO_SOCKET_IFNAME"),
    "cuda": (
        "CUDA_VISIBLE_DEVICES",
        "CUDA_LAUNCH_BLOCKING",
        "PYTORCH_CUDA_ALLOC_CONF",
        "NCCL_P2P_DISABLE",
        "NCCL_IB_DISABLE",
        "NCCL_SOCKET_IFNAME",
        "TORCH_NCCL_BLOCKING_WAIT",
    ),
    "npu": (
        "ASCEND_RT_VISIBLE_DEVICES",
        "ASCEND_LAUNCH_BLOCKING",
        "TASK_QUEUE_ENABLE",
        "CPU_AFFINITY_CONF",
        "PYTORCH_NPU_ALLOC_CONF",
        "HCCL_CONNECT_TIMEOUT",
        "HCCL_EXEC_TIMEOUT",
        "HCCL_WHITELIST_DISABLE",
        "HCCL_IF_IP",
        "INF_NAN_MODE_ENABLE",
        "ASCEND_HOME_PATH",
        "ASCEND_TOOLKIT_HOME",
    ),
}
"""Kind of device -> the environment variables that change how it trains; those of `cpu` count for all."""

DRIVER_FILE = Path("/usr/local/Ascend/driver/version.info")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Collect what is worth knowing of a process that trains on a device, which it has entered."""
    return {
        **host_facts(device.type),
        "device": {"type": device.type, "name": device_name(device), "settings": device_settings(device)},
        "cpu_threads": torch.get_num_threads(),
    }


def host_facts(kind: str) -> dict[str, Any]:
    """Collect what can be known without touching a device of the kind."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "cuda_build": torch.version.cuda,
        "driver": driver_version(kind),
        "cann": cann_version() if kind == "npu" else None,
        "cpu_cores": os.cpu_count(),
        "memory_gib": memory_gib(),
        "variables": variables(kind),
    }


def variables(kind: str) -> dict[str, str]:
    """The environment variables that matter to a kind of device, those that are set."""
    names = dict.fromkeys((*VARIABLES["cpu"], *VARIABLES.get(kind, ())))
    return {name: os.environ[name] for name in names if name in os.environ}


def package_version(name: str) -> str | None:
    """The release of an installed package; None where it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def driver_version(kind: str) -> str | None:
    """The release of a card's driver; None where nothing tells it."""
    if kind == "npu":
        return _first_match(DRIVER_FILE, r"(?im)^version\s*=\s*(\S+)")
    if kind == "cuda" and shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
            return next(iter(done.stdout.split()), None)
    return None


def cann_version() -> str | None:
    """The release of the CANN whose set_env.sh was sourced; None where none was."""
    for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        if home := os.environ.get(name):
            for file in sorted(Path(home).glob("**/ascend_toolkit_install.info")):
                if version := _first_match(file, r"(?im)^version\s*=\s*(\S+)"):
                    return version
    return None


def memory_gib() -> dict[str, float]:
    """Main memory, all of it and what is available, in GiB; empty where the system does not tell."""
    total, available = (
        _first_match(Path("/proc/meminfo"), rf"(?m)^{name}:\s+(\d+) kB")
        for name in ("MemTotal", "MemAvailable")
    )
    if total is None or available is None:
        return {}
    return {"total": round(int(total) / 2**20, 1), "available": round(int(available) / 2**20, 1)}


def _first_match(file: Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[1] if found else None
