"""What a rank of the doctor does to its card, and the log that it leaves of it, stage by stage.

The ranks meet as CPU processes, and each then enters its card: one that hangs or dies there cannot take the
others' meeting with it, and its log tells how far it came.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from training.data.batches import Batch
from training.diagnosis.finding import CheckError
from training.distributed.devices import KINDS, device_module, device_name, enter_device, overflow_flag
from training.distributed.ranks import Ranks
from training.options import Level
from training.run.recipe import load_recipe
from training.run.state import TrainState
from training.run.step import train_step
from zoo.registry import create_model, make_card

NEAR = 0.15
"""How far a step's loss may be from the CPU's, relative: BatchNorm over four images multiplies rounding."""

FREE_SHARE = 0.5
"""Of a card's memory, below which somebody else seems to use it."""


class CardLog:
    """A file of JSON lines: one when a stage begins, one when it has ended well or badly."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.path = folder / f"card-{rank}.jsonl"
        self.failed = False

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Write down a stage; what it finds goes into the dict. An error ends the stage, not the block's
        caller."""
        found: dict[str, Any] = {}
        self._write({"stage": name, "state": "begun", "pid": os.getpid()})
        try:
            yield found
        except Exception as error:
            self.failed = True
            told = " ".join(str(error).split()) or type(error).__name__
            cure = error.cure if isinstance(error, CheckError) else ""
            found |= {"error": told[:500], "cure": cure}
        self._write({"stage": name, "state": "failed" if "error" in found else "ended", **found})

    def _write(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


@dataclass
class Card:
    """A card while it is examined.

    Attributes:
        kind: of device.
        index: of the card, on its machine.
        ranks: that examine theirs beside it.
        expected_loss: of `small_step` on the CPU.
        device: the CPU until the card is entered.
    """

    kind: str
    index: int
    ranks: Ranks
    expected_loss: float
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def examine_card(
    folder: str, kind: str, levels: Sequence[Level], expected_loss: float, ranks: Ranks
) -> dict[str, Any]:
    """Examine this rank's card, and then all cards together; a rank's whole work."""
    log = CardLog(Path(folder), ranks.rank)
    card = Card(kind, int(os.environ["LOCAL_RANK"]), ranks, expected_loss)
    for name, examine in stages(levels).items():
        with log.stage(name) as found:
            examine(card, found)
        if log.failed:
            break
    if not ranks.any(log.failed):
        for name, examine in TOGETHER.items():
            with log.stage(name) as found:
                examine(card, found)
    return {}


def _enter(card: Card, found: dict[str, Any]) -> None:
    card.device = enter_device(KINDS[card.kind], card.index)
    found["name"] = device_name(card.device)
    memory = getattr(device_module(card.device.type), "mem_get_info", None)
    if memory is not None:
        free, total = memory()
        found |= {"free_gib": round(free / 2**30, 1), "total_gib": round(total / 2**30, 1)}


def _arithmetic(card: Card, found: dict[str, Any]) -> None:
    values = torch.arange(64.0).view(8, 8) / 64
    result = (values.to(card.device) @ values.to(card.device)).cpu()
    if not torch.allclose(result, values @ values, rtol=1e-2):
        raise CheckError("a product of matrices is wrong", "take the card out of use, and tell its vendor")


def _overflow(card: Card, found: dict[str, Any]) -> None:
    flag = overflow_flag(card.device)
    if flag is not None:
        flag.clear()
    values = torch.full((8,), 60000.0, dtype=torch.float16, device=card.device)
    found["saturates"] = bool((values * 2).cpu().isfinite().all())
    if found["saturates"] and (flag is None or not flag.is_raised()):
        raise CheckError(
            "saturation: twice 60000 is 65504 in half precision, and nothing tells of the overflow, so that "
            "O1 and O2 would learn from broken gradients",
            "export INF_NAN_MODE_ENABLE=1 on a 910B; else take a newer driver, or train with --amp O0",
        )


def _step(level: Level) -> Callable[[Card, dict[str, Any]], None]:
    def examine(card: Card, found: dict[str, Any]) -> None:
        loss = small_step(level, card.device)
        found |= {"loss": loss, "cpu_loss": card.expected_loss}
        if not abs(loss - card.expected_loss) <= NEAR * abs(card.expected_loss):
            raise CheckError(
                f"the loss is {loss:.4f}, and the CPU's {card.expected_loss:.4f}",
                f"train without --amp {level}" if level != "O0" else "update driver and torch",
            )

    return examine


def small_step(level: Level, device: torch.device) -> float:
    """Take a training step of the recipe `smoke` on drawn noise; its loss."""
    recipe = load_recipe("smoke", amp=level, loss_scale=128.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(recipe.model.arch, num_ids=2, **recipe.model.options()).train()
        image = torch.randint(0, 256, (4, *recipe.size, 3), dtype=torch.uint8)
    card = make_card(model, f"{recipe.model.arch}.{recipe.name}", recipe.size)
    label = torch.arange(4) // 2
    state = TrainState(model, card, recipe, Ranks(device=device))
    return sum(train_step(state, Batch(image, label, label, label), progress=0.0).parts.values())


def _speed(card: Card, found: dict[str, Any]) -> None:
    """Time products of matrices, one card after the other: beside each other they would share the host."""
    for turn in range(card.ranks.world_size):
        if turn == card.ranks.rank:
            values = torch.ones(128, 128, device=card.device)
            found["milliseconds"] = 1000 * min(_timed(values) for _ in range(5))
        card.ranks.barrier()


def _timed(values: torch.Tensor) -> float:
    began = time.perf_counter()
    for _ in range(4):
        values = values @ values / 128
    values.sum().item()
    return time.perf_counter() - began


def _all_reduce(card: Card, found: dict[str, Any]) -> None:
    group: Any = dist.new_group(backend=KINDS[card.kind].process_group_backend())
    size, mib = card.ranks.world_size, 16
    values = torch.full((mib << 18,), card.ranks.rank + 1.0, device=card.device)
    dist.all_reduce(card.ranks.lend(values), group=group)
    if values[-1].item() != size * (size + 1) / 2:
        raise CheckError("the sum over the cards is wrong", "take the link between them out of use")
    began = time.perf_counter()
    dist.all_reduce(card.ranks.lend(values), group=group)
    values[-1].item()
    found["mib_per_second"] = mib / (time.perf_counter() - began)


def stages(levels: Sequence[Level]) -> dict[str, Callable[[Card, dict[str, Any]], None]]:
    """What each card goes through by itself, in this order."""
    steps = {f"step {level}": _step(level) for level in levels}
    return {"card": _enter, "arithmetic": _arithmetic, "overflow": _overflow, **steps}


TOGETHER: dict[str, Callable[[Card, dict[str, Any]], None]] = {"speed": _speed, "all-reduce": _all_reduce}
"""What all cards go through afterwards, each waiting for the others."""
