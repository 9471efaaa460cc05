"""What can be judged without touching a card: releases, environment variables, memory, disk, decoding."""

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from training.data.images import load_resized_quickly
from training.diagnosis.finding import Finding
from training.distributed.facts import cann_version, driver_version, host_facts, memory_gib, package_version
from training.distributed.ranks import TIMEOUT

MEMORY_OF_A_RANK = 4.0
"""GiB of main memory that a rank of the recipe `pamtri` takes at most, loader processes included."""

SPEED_OF_A_CARD = {"cuda": 200, "npu": 90}
"""Images a second that one card was published to train (PAMTRI's port), which the loader has to feed."""

PROBE_MIB, FREE_GIB = 64, 2.0
"""What is written to the disk to measure it, and what should be free there: checkpoints are 3 x 90 MB."""


def check_releases(kind: str) -> list[Finding]:
    """Name Python, torch, driver and CANN; whether torch_npu fits, choosing the devices has found out."""
    facts = host_facts(kind)
    shown = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    found = [Finding("releases", "ok", f"Python {facts['python']}, {shown}")]
    if kind == "cpu":
        return found
    driver = driver_version(kind)
    where = "npu-smi info" if kind == "npu" else "nvidia-smi"
    found.append(
        Finding("driver", "ok", driver)
        if driver
        else Finding("driver", "warn", "its release cannot be read", f"see `{where}`")
    )
    if kind == "npu":
        cann = cann_version()
        found.append(
            Finding("CANN", "ok", f"{cann} (torch_npu {package_version('torch_npu')})")
            if cann
            else Finding(
                "CANN",
                "warn",
                "its release cannot be read",
                "`source /usr/local/Ascend/ascend-toolkit/set_env.sh` in this shell; docs/npu.md has the "
                "releases that belong together",
            )
        )
    return found


def check_variables(kind: str, count: int) -> list[Finding]:
    """Judge the environment variables that change how a training runs."""
    wrong = [finding for judge in JUDGES.get(kind, ()) for finding in judge(count)]
    wrong += _threads(count)
    variables = host_facts(kind)["variables"]
    shown = ", ".join(f"{name}={value}" for name, value in variables.items()) or "none is set"
    return [*wrong, Finding("variables", "ok", shown)]


def _whole(name: str) -> int | None:
    """An environment variable's whole number; None where it is not set or none."""
    value = os.environ.get(name, "")
    return int(value) if value.lstrip("-").isdigit() else None


def _hccl(count: int) -> Iterator[Finding]:
    wanted = int(TIMEOUT.total_seconds())
    seconds = _whole("HCCL_EXEC_TIMEOUT")
    if count > 1 and (seconds is None or 0 < seconds < wanted):
        # 0 is "never" on the A2 and A3, and 68 seconds on the first generation.
        shown = "is not set: 1836 s" if seconds is None else f"= {seconds} s"
        yield Finding(
            "HCCL_EXEC_TIMEOUT",
            "warn",
            f"{shown}, and the group waits {wanted} s, as while the first rank judges a large gallery",
            f"export HCCL_EXEC_TIMEOUT={wanted}",
        )
    seconds = _whole("HCCL_CONNECT_TIMEOUT")
    if count > 1 and seconds is not None and not 120 <= seconds <= 7200:
        yield Finding(
            "HCCL_CONNECT_TIMEOUT",
            "warn",
            f"= {seconds} s is outside of what HCCL takes, 120 to 7200",
            "export HCCL_CONNECT_TIMEOUT=600",
        )


def _ascend(count: int) -> Iterator[Finding]:
    if os.environ.get("INF_NAN_MODE_ENABLE") == "0":
        yield Finding(
            "INF_NAN_MODE_ENABLE",
            "warn",
            "= 0: half precision saturates, and overflows show by the card's flag alone",
            "unset INF_NAN_MODE_ENABLE",
        )
    if os.environ.get("ASCEND_LAUNCH_BLOCKING") == "1":
        yield Finding(
            "ASCEND_LAUNCH_BLOCKING",
            "warn",
            "= 1: each operator waits for the one before, as only debugging wants it",
            "unset ASCEND_LAUNCH_BLOCKING",
        )
    elif os.environ.get("TASK_QUEUE_ENABLE") == "0":
        yield Finding(
            "TASK_QUEUE_ENABLE",
            "warn",
            "= 0: operators are launched one by one",
            "export TASK_QUEUE_ENABLE=2",
        )


def _cuda(count: int) -> Iterator[Finding]:
    if os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        yield Finding(
            "CUDA_LAUNCH_BLOCKING",
            "warn",
            "= 1: each kernel waits for the one before, as only debugging wants it",
            "unset CUDA_LAUNCH_BLOCKING",
        )


def _threads(count: int) -> list[Finding]:
    threads, cores = _whole("OMP_NUM_THREADS"), os.cpu_count() or 1
    if threads is None or threads * count <= max(cores, count):
        return []
    share = max(1, cores // count)
    return [
        Finding(
            "OMP_NUM_THREADS",
            "warn",
            f"= {threads}: {count} ranks would start {threads * count} threads on {cores} cores",
            f"export OMP_NUM_THREADS={share}",
        )
    ]


JUDGES: dict[str, tuple[Callable[[int], Iterator[Finding]], ...]] = {
    "npu": (_hccl, _ascend),
    "cuda": (_cuda,),
}


def check_memory(ranks: int) -> Finding:
    """Hold the main memory against what so many ranks take."""
    memory = memory_gib()
    if not memory:
        return Finding("memory", "warn", "this system does not tell how much there is")
    text = f"{memory['available']:g} of {memory['total']:g} GiB available"
    if memory["available"] < MEMORY_OF_A_RANK * ranks:
        need = f"{ranks} rank{'s' * (ranks > 1)} may take {MEMORY_OF_A_RANK * ranks:g}"
        return Finding("memory", "warn", f"{text}, and {need}", "start fewer ranks, or end other programs")
    return Finding("memory", "ok", text)


def check_disk(folder: Path) -> Finding:
    """Write as a checkpoint is written, into the folder of the runs."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    data, began = os.urandom(1 << 20), time.monotonic()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            for _ in range(PROBE_MIB):
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        disk = os.statvfs(place)
    except OSError as error:
        cure = "free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check its rights"
        return Finding("disk", "fail", f"{place}: {error.strerror}", f"{cure}, or choose another --out")
    speed = PROBE_MIB / (time.monotonic() - began)
    free = disk.f_bavail * disk.f_frsize / 2**30
    text = f"{place}: {free:.1f} GiB free, {speed:.0f} MiB/s"
    if free < FREE_GIB:
        return Finding(
            "disk", "warn", f"{text}, and a run may take {FREE_GIB:g} GiB", "free some space there"
        )
    return Finding("disk", "ok", text)


def check_loader(kind: str, count: int) -> Finding:
    """Measure how many images of 256x256 a core decodes."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        cv2.imwrite(str(path), cv2.resize(noise, (256, 256)))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        images, began = 0, time.monotonic()
        while images < 16 or time.monotonic() - began < 0.5:
            load_resized_quickly(path, [(256, 256)])
            images += 1
        rate = images / (time.monotonic() - began)
        torch.set_num_threads(threads)
    cores = os.cpu_count() or 1
    text = f"{rate:.0f} images/s a core at 256x256, {cores} core{'s' * (cores > 1)}"
    wanted = SPEED_OF_A_CARD.get(kind, 0) * count
    if rate * cores < wanted:
        cure = "cache = true in the recipe keeps decoded images in memory"
        return Finding("loader", "warn", f"{text}; {count} cards may want {wanted}", cure)
    return Finding("loader", "ok", text)
