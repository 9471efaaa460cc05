"""Training on data that the card holds: the step beside plain arithmetic, and whether it learns."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.step_speed import PLAIN, Variant, make_batch, plain_step, product_step
from training.distributed.devices import device_module

PUBLISHED = {"GPU": 200.0, "NPU": 89.3}
"""Images/s of train_performance_1p as published, each on other hardware than this."""

VARIANTS = (
    PLAIN,
    Variant("this project, fp32", product=True),
    Variant("this project, bf16", product=True, bf16=True),
    Variant("this project, O2", product=True, half=True),
)
COMPILED = Variant("this project, bf16, torch.compile", product=True, bf16=True, compiled=True)


def wait(device: torch.device) -> None:
    """Let the card finish what it was given."""
    if device.type != "cpu":
        device_module(device.type).synchronize(device)


def peak_gib(device: torch.device) -> float | None:
    """The most memory that tensors took since the last call; None on a CPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return round(peak, 2)


def rate(step: Callable[[], object], images: int, device: torch.device, seconds: float) -> float:
    """Images/s of a step: the median of rounds that together take so many seconds; of one, for 0 seconds."""
    least = 3 if seconds else 1
    for _ in range(least):
        step()
    wait(device)
    rounds: list[float] = []
    ends = time.perf_counter() + seconds
    while len(rounds) < least or time.perf_counter() < ends:
        began = time.perf_counter()
        step()
        wait(device)
        rounds.append(time.perf_counter() - began)
    return images / statistics.median(rounds)


def step_row(variant: Variant, batch: int, size: int, device: torch.device, seconds: float) -> dict[str, Any]:
    """Measure one way to take the step; a batch that does not fit into the card is told as such."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    peak_gib(device)
    row: dict[str, Any] = {"name": variant.name, "batch": batch, "size": size}
    try:
        make = product_step if variant.product else plain_step
        step = make(variant, make_batch(batch, size).to(device), device)
        row["images_per_second"] = round(rate(step, batch, device, seconds), 2)
    except torch.OutOfMemoryError:
        row["images_per_second"] = None
    return {**row, "peak_gib": peak_gib(device)}


def measure_steps(
    device: torch.device, size: int, batches: list[int], seconds: float, compiled: bool
) -> dict[str, Any]:
    """Measure every variant at every batch size; ratios are to plain arithmetic with the same batch."""
    rows = []
    for batch in batches:
        # Compiled once, for the largest: minutes of compilation are no measurement.
        more = (COMPILED,) if compiled and batch == max(batches) else ()
        of_batch = [step_row(v, batch, size, device, seconds) for v in (*VARIANTS, *more)]
        plain = of_batch[0]["images_per_second"]
        for row in of_batch:
            speed = row["images_per_second"]
            row["ratio"] = round(speed / plain, 2) if speed and plain else None
        rows += of_batch
    return {"rows": rows}


def measure_learning(device: torch.device, size: int, steps: int) -> dict[str, Any]:
    """Train at O2 on one batch that the card holds: what `train_full_1p` shows without a data set."""
    from benchmarks.step_speed import VEHICLES
    from training.distributed.ranks import Ranks
    from training.run.recipe import load_recipe
    from training.run.state import TrainState
    from training.run.step import train_step
    from zoo.registry import create_model, make_card

    recipe = load_recipe("pamtri", amp="O2" if device.type == "cuda" else "bf16")
    torch.manual_seed(0)
    model = create_model(recipe.model.arch, num_ids=VEHICLES, **recipe.model.options()).train()
    state = TrainState(
        model, make_card(model, "densenet121.pamtri", (size, size)), recipe, Ranks(device=device)
    )
    batch = make_batch(32, size).to(device)
    losses = [sum(train_step(state, batch, progress=0.0).parts.values()) for _ in range(steps)]
    return {
        "steps": steps,
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
        "skipped_steps": state.amp.scale.skipped,
        "learns": losses[-1] < losses[0],
    }
