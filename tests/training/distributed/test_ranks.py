"""Real processes over gloo against one process with the same global batch, in fp64."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from training.data.batches import Batch
from training.distributed.ranks import Ranks, joined
from training.distributed.sync_bn import SyncBatchNorm, synchronise
from training.run.recipe import LossOptions
from training.run.step import loss_parts
from zoo.models.network import NetworkOutputs

CPU = torch.device("cpu")
PER_RANK = 6
LOSSES = (
    LossOptions(label_smoothing=0.1),
    LossOptions(soft_margin=True, circle=0.5, circle_scale=8.0),
    # No anchor of the hinge has a gradient: the graph has to gather all the same.
    LossOptions(margin=-1e6),
    LossOptions(teacher=2.0),
)


class Net(nn.Module):
    """Every kind of layer and head that matters here, in fp64."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.embed = nn.Linear(4, 5)
        self.neck = nn.BatchNorm1d(5)
        self.identity = nn.Linear(5, 4)
        self.color = nn.Linear(4, 10)
        self.kind = nn.Linear(4, 9)
        self.double()

    def forward(self, image: torch.Tensor) -> NetworkOutputs:
        feature = self.norm(self.conv(image)).relu().mean((2, 3))
        embedding = self.neck(self.embed(feature))
        return NetworkOutputs(embedding, self.color(feature), self.kind(feature), self.identity(embedding))


def net() -> Net:
    torch.manual_seed(0)
    model = Net()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            # Statistics and scales of their own, as a model in training has them.
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                assert values is not None
                nn.init.uniform_(values, 0.5, 1.5)
    return model


def global_batch(world_size: int) -> tuple[torch.Tensor, Batch]:
    """Four vehicles, none of which has all its images on one rank; the first rank knows no colour and the
    last no type, others some."""
    count = world_size * PER_RANK
    generator = torch.Generator().manual_seed(world_size)
    pixels = torch.randn(count, 3, 8, 8, dtype=torch.float64, generator=generator)
    color = torch.randint(-1, 10, (count,), generator=generator)
    types = torch.randint(-1, 9, (count,), generator=generator)
    color[:PER_RANK], types[-PER_RANK:] = -1, -1
    teacher = torch.randn(count, 7, dtype=torch.float64, generator=generator)
    return pixels, Batch(pixels, torch.arange(count) % 4, color, types, teacher=teacher)


def share(pixels: torch.Tensor, batch: Batch, rank: int) -> tuple[torch.Tensor, Batch]:
    own = slice(rank * PER_RANK, (rank + 1) * PER_RANK)
    parts = {name: getattr(batch, name)[own] for name in ("label", "color", "type", "teacher")}
    return pixels[own], Batch(pixels[own], **parts)


def gradients(
    model: Net, pixels: torch.Tensor, batch: Batch, loss: LossOptions, ranks: Ranks
) -> dict[str, float]:
    """Leave the mean gradient over the ranks in the model; return the mean loss parts."""
    model.zero_grad()
    parts = loss_parts(model(pixels), batch, loss, ranks)
    torch.stack(list(parts.values())).sum().backward()
    ranks.average_gradients(model.parameters())
    return {name: ranks.total(float(part.detach())) / ranks.world_size for name, part in parts.items()}


def assert_equal_gradients(found: Net, expected: Net) -> None:
    for (name, one), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        assert torch.allclose(one.grad, other.grad, rtol=1e-6, atol=1e-9), name


def frozen_batch_norm(ranks: Ranks) -> None:
    pixels, batch = global_batch(ranks.world_size)
    for loss in LOSSES:
        alone, one_of_many = net().eval(), net().eval()
        expected = gradients(alone, pixels, batch, loss, Ranks())
        found = gradients(one_of_many, *share(pixels, batch, ranks.rank), loss, ranks)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert_equal_gradients(one_of_many, alone)


def mining_on_each_rank(ranks: Ranks) -> None:
    pixels, batch = global_batch(ranks.world_size)
    own_pixels, own = share(pixels, batch, ranks.rank)
    outputs = net().eval()(own_pixels)
    parts = loss_parts(outputs, own, LOSSES[0], ranks, mining="rank")
    expected = loss_parts(outputs, own, LOSSES[0])
    assert all(torch.equal(parts[name], expected[name]) for name in expected)


def synchronised_batch_norm(ranks: Ranks) -> None:
    pixels, batch = global_batch(ranks.world_size)
    alone, one_of_many = net().train(), net().train()
    names = list(one_of_many.state_dict())
    synchronise(one_of_many, ranks)
    assert isinstance(one_of_many.norm, SyncBatchNorm)
    assert list(one_of_many.state_dict()) == names
    for _ in range(2):
        gradients(alone, pixels, batch, LOSSES[0], Ranks())
        gradients(one_of_many, *share(pixels, batch, ranks.rank), LOSSES[0], ranks)
        assert_equal_gradients(one_of_many, alone)
    for (name, found), expected in zip(one_of_many.named_buffers(), alone.buffers(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-12), name
    assert torch.allclose(one_of_many.eval()(pixels).embedding, alone.eval()(pixels).embedding, rtol=1e-12)


def small_change(ranks: Ranks) -> None:
    """Sums, flags, bytes and averages."""
    assert ranks.total(0.5) == 0.5 * ranks.world_size
    assert ranks.total(torch.tensor([ranks.rank])).item() == sum(range(ranks.world_size))
    assert ranks.any(ranks.rank == 1)
    assert not ranks.any(False)
    assert ranks.share_bytes(b"first" if ranks.is_first else b"") == b"first"
    assert ranks.share_bytes(b"" if ranks.is_first else b"not asked") == b""
    assert ranks.gather(torch.full((2, 1), ranks.rank)).flatten().tolist() == [
        rank for rank in range(ranks.world_size) for _ in range(2)
    ]
    # One of the layouts that gradients have.
    strided = torch.full((2, 3, 4, 4), float(ranks.rank)).to(memory_format=torch.channels_last)
    half = torch.full((3,), 60000.0, dtype=torch.float16)
    ranks.average([strided, half])
    assert strided.unique().item() == (ranks.world_size - 1) / 2
    assert half.tolist() == [60000.0] * 3
    ranks.barrier()


def lending(ranks: Ranks) -> None:
    """The group lets go of what it was lent, and of nothing that it was not."""
    for _ in range(50):
        values = torch.full((3,), float(ranks.rank))
        ranks.average([values])
        ranks.barrier()
        ranks.wait_for_lent()
        assert not any(lent() is not None for lent in ranks._lent)
    assert values.tolist() == [(ranks.world_size - 1) / 2] * 3


CHECKS = (small_change, lending, frozen_batch_norm, mining_on_each_rank, synchronised_batch_norm)


def check(rank: int, world_size: int, folder: str) -> None:
    gc.freeze()  # as a rank does: modules are no garbage
    torch.set_num_threads(1)
    with joined(rank, world_size, CPU, init_method=f"file://{folder}/group") as ranks:
        for one in CHECKS:
            one(ranks)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_are_as_one_process(world_size: int, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(check, (world_size, str(tmp_path)), nprocs=world_size)


def test_one_process_needs_no_process_group() -> None:
    ranks, values = Ranks(), torch.randn(3, 2, requires_grad=True)
    assert ranks.gather(values) is values
    assert ranks.total(2.5) == 2.5
    assert ranks.share_bytes(b"x") == b"x"
    ranks.average([values])
    ranks.barrier()
    assert not torch.distributed.is_initialized()


LEAVES_A_GROUP = """
import os, sys
import torch
from training.distributed.ranks import joined

def threads():
    return set(os.listdir("/proc/self/task"))

before = threads()
with joined(0, 1, torch.device("cpu"), init_method=f"file://{sys.argv[1]}/meeting"):
    torch.distributed.all_reduce(torch.ones(1))
    own = threads() - before
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
print(bool(own), bool(own & threads()))
"""


def test_the_groups_threads_end_with_it(tmp_path: Path) -> None:
    """Those that do not can abort the process when Python ends."""
    command = [sys.executable, "-c", LEAVES_A_GROUP, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
