"""Device choice on a machine that has no accelerator: what is given, and what is said of what is missing."""

import gc
import os
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from training.distributed.devices import (
    KINDS,
    begin_loading,
    choose_device,
    choose_devices,
    device_name,
    enter_device,
    kind_of,
    loader_context,
)
from zoo.errors import UserError

CUDA = torch.cuda.is_available()
without_accelerator = pytest.mark.skipif(CUDA, reason="this machine has an accelerator")


def test_a_cpu_is_always_there() -> None:
    assert choose_device(cpus=1) == torch.device("cpu")
    assert device_name(torch.device("cpu")).startswith("CPU")


def test_as_many_cpu_processes_as_asked_for() -> None:
    devices = choose_devices(cpus=8)
    assert (devices.kind.type, devices.count) == ("cpu", 8)
    assert enter_device(devices.kind, 7) == torch.device("cpu")


def test_the_default_is_what_the_machine_has() -> None:
    assert choose_device().type == ("cuda" if CUDA else "cpu")
    assert choose_devices().count == (torch.cuda.device_count() if CUDA else 1)


@without_accelerator
def test_a_missing_device_is_said() -> None:
    with pytest.raises(UserError, match=r"no usable cuda device|built without CUDA"):
        choose_devices(gpus=1)
    with pytest.raises(UserError, match=r"torch_npu is not installed; .*\[npu\].*--cpus 1"):
        choose_devices(npus=8)


@pytest.mark.parametrize("wishes", [{"gpus": 0}, {"cpus": -1}, {"cpus": 1, "gpus": 1}])
def test_what_cannot_be_asked_for(wishes: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"--gpus|--cpus"):
        choose_devices(**wishes)


def test_a_command_of_one_process_takes_one_device() -> None:
    with pytest.raises(UserError, match=r"--cpus 2: .*one process"):
        choose_device(cpus=2)


def test_the_table_of_collectives() -> None:
    assert {name: kind.process_group_backend() for name, kind in KINDS.items()} == {
        "cpu": "gloo",
        "cuda": "cpu:gloo,cuda:nccl",
        "npu": "cpu:gloo,npu:hccl",
    }


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"meta: .*cpu, cuda, npu"):
        kind_of(torch.device("meta"))


def test_the_loader_starts_as_python_does_where_nothing_speaks_against_it() -> None:
    assert loader_context(torch.device("cpu"), workers=2) is None


class Cycle:
    """Garbage that only the collector takes away, and that notes in which process that was."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.itself = folder, self

    def __del__(self) -> None:
        (self.folder / str(os.getpid())).touch()


class Collecting(Dataset[int]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        gc.collect()
        return os.getpid()


@pytest.mark.parametrize("begin", [begin_loading, None])
def test_a_loading_process_leaves_what_it_inherits_alone(begin, tmp_path: Path) -> None:
    """The end of an onnxruntime session waited for ever there for threads that a forked process lacks."""
    gc.collect()
    gc.disable()
    try:
        Cycle(tmp_path)
        loader = DataLoader(Collecting(), num_workers=1, worker_init_fn=begin, multiprocessing_context="fork")
        workers = {int(pid) for pids in loader for pid in pids}
    finally:
        gc.collect()
        gc.enable()
    ended = {int(file.name) for file in tmp_path.iterdir()}
    assert ended & workers == (workers if begin is None else set())
