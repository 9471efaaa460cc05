"""The ranks of a run: processes that train one model together, each on its share of the global batch.

`Ranks()` is a run of one process, for which nothing here does anything and no process group exists.
"""

import datetime
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Now, because its functions keep the group that exists when it is imported. The first optimiser would import
# it, and the run's group with its threads would live until Python ends, where a thread that lets a tensor go
# aborts the process.
import torch.distributed.nn.functional
from torch import Tensor

from training.distributed.devices import kind_of

TIMEOUT = datetime.timedelta(hours=1)
"""How long a rank waits for the others. Long, because the first one ranks the gallery and writes files
meanwhile; a rank that has died is noticed by the launcher, not by this."""

Value = TypeVar("Value", Tensor, float)


@dataclass(frozen=True)
class Ranks:
    """One process's place among the ranks.

    Every method but `is_first` is called by all ranks, in the same order. CPU tensors travel over gloo, those
    of the device over its own backend.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _lent: list[weakref.ref[Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that prints and writes."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """Join equally long [N, ...] of all ranks to [world_size * N, ...], in rank order and with gradient.

        The gradient of a rank's own values is that of the sum of all ranks' losses.
        """
        if self.world_size == 1:
            return values
        gathered: Tensor = _Gather.apply(values, self)
        return gathered

    def total(self, value: Value) -> Value:
        """Sum over the ranks, without gradient."""
        if self.world_size == 1:
            return value
        if isinstance(value, Tensor):
            total = value.detach().clone()
            dist.all_reduce(self.lend(total))
            return total
        number = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(self.lend(number))
        return number.item()

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on some rank."""
        return self.total(float(flag)) > 0

    def share(self, values: Tensor) -> None:
        """Overwrite contiguous values with the first rank's."""
        if self.world_size > 1:
            dist.broadcast(self.lend(values), 0)

    def share_bytes(self, data: bytes) -> bytes:
        """Get the first rank's bytes, whatever the others bring."""
        if self.world_size == 1:
            return data
        length = torch.tensor(len(data))
        self.share(length)
        values = torch.frombuffer(bytearray(data), dtype=torch.uint8) if self.is_first and data else None
        if values is None:
            values = torch.empty(int(length), dtype=torch.uint8)
        if len(values):
            self.share(values)
        return values.numpy().tobytes()

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with their mean over the ranks, in the precision that they have; one collective
        for each dtype."""
        if self.world_size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor.detach())
        for group in by_dtype.values():
            # Divided first, so that a sum in half precision does not overflow.
            flat = torch.cat([tensor.reshape(-1) for tensor in group]).div_(self.world_size)
            dist.all_reduce(self.lend(flat))
            means = flat.split([tensor.numel() for tensor in group])
            torch._foreach_copy_(group, [m.view(t.shape) for m, t in zip(means, group, strict=True)])

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Overwrite gradients with their mean over the ranks, after the backward pass and before the step.

        In place of DistributedDataParallel, which groups gradients anew after its first step: sums of more
        than two ranks would then be rounded otherwise in a run that was resumed. What it would hide behind
        the backward pass is one collective over 28 MB for a DenseNet121.
        """
        self.average(p.grad for p in parameters if p.grad is not None)

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.total(0.0)

    def lend(self, values: Tensor) -> Tensor:
        """Name values anew for a collective, so that it can be told when the group has let go of them."""
        if values.device.type != "cpu":
            return values
        name = values.detach()
        self._lent[:] = [lent for lent in self._lent if lent() is not None]
        self._lent.append(weakref.ref(name))
        return name

    def wait_for_lent(self) -> None:
        """Wait until the group has let go of all values, which it does a moment after each collective."""
        while any(lent() is not None for lent in self._lent):
            time.sleep(0.001)


@contextmanager
def joined(rank: int, world_size: int, device: torch.device, **rendezvous: Any) -> Iterator[Ranks]:
    """Form the process group of a run while the block lasts.

    A block that fails leaves the group as it is, for its process to end by `os._exit` once it has told why:
    leaving the group could wait for other ranks, which wait for this one.

    Args:
        rank: of this process.
        world_size: number of processes.
        device: that this process trains on.
        rendezvous: of `torch.distributed.init_process_group`; by default the environment's variables tell.
    """
    dist.init_process_group(
        kind_of(device).process_group_backend(),
        rank=rank,
        world_size=world_size,
        timeout=TIMEOUT,
        **rendezvous,
    )
    ranks = Ranks(rank, world_size, device)
    yield ranks
    # Older releases join gloo's threads with Python's lock held, which those want that still hold a tensor.
    ranks.wait_for_lent()
    dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """All ranks' values, and back to each rank the sum of the gradients that all ranks have for its own.

    All-reduce and a slice in the backward pass instead of reduce-scatter, because gloo has none.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.count = ranks, len(values)
        values = values.contiguous()
        parts = [torch.empty_like(values) for _ in range(ranks.world_size)]
        dist.all_gather([ranks.lend(part) for part in parts], ranks.lend(values))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(ctx.ranks.lend(gradient))
        return gradient[ctx.ranks.rank * ctx.count : (ctx.ranks.rank + 1) * ctx.count], None
