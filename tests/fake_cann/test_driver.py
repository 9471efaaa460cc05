"""What the fake driver refuses, seen through the real torch_npu."""

import subprocess
import sys

import pytest

from tests import fake_cann
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not fake_cann.is_built(), reason="wants a fake driver: make test-npu")

DEVICE = "import torch, torch_npu; torch.npu.set_device(0); "


def run(code: str, cards: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DEVICE + code],
        cwd=ROOT,
        env=fake_cann.environment(cards),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_an_operator_counts_on_the_card() -> None:
    done = run("a = torch.arange(6.0, device='npu'); print(a.device, (a * a).sum().item())")
    assert done.stdout.splitlines()[-1:] == ["npu:0 55.0"], done.stderr


def test_what_is_not_served_is_an_error() -> None:
    # A private format, which only a card has.
    allow = "torch.npu.config.allow_internal_format = True; "
    done = run(allow + "torch_npu.npu_format_cast(torch.ones(16, 16).npu(), 29)")
    assert done.returncode != 0
    assert "is not served" in done.stderr


def test_there_are_as_many_cards_as_were_laid_in() -> None:
    assert run("print(torch.npu.device_count())", cards=3).stdout.split()[-1] == "3"
    assert run("torch.npu.set_device(3)", cards=3).returncode != 0


def test_collectives_are_torch_npus_own() -> None:
    done = run(
        "import torch.distributed as dist; "
        "store = dist.HashStore(); dist.init_process_group('npu:hccl', store=store, rank=0, world_size=1); "
        "a = torch.ones(2).npu(); dist.all_reduce(a); print(a.sum().item()); "
        "dist.all_reduce(a.double())"
    )
    assert done.stdout.splitlines()[-1:] == ["2.0"], done.stderr
    assert "Unsupported data type at::kDouble" in done.stderr
