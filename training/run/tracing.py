"""A trace of a training's steps: which operator took how long, on the processor and on the card."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

UNTRACED = 2
"""Steps before the first that is traced: they find buffers and kernels, the profiler's own among them."""


@contextmanager
def traced(folder: Path, device: torch.device, steps: int | None) -> Iterator[Callable[[], None]]:
    """Trace some of the steps that are taken inside.

    Args:
        folder: of the run.
        device: torch_npu has a profiler of its own for its cards, with torch's interface.
        steps: how many; None for no trace.

    Yields:
        What is to be called after each step.
    """
    if steps is None:
        yield lambda: None
        return
    profiler = importlib.import_module("torch_npu.profiler") if device.type == "npu" else torch.profiler
    activities = [profiler.ProfilerActivity.CPU]
    if device.type != "cpu":
        activities.append(getattr(profiler.ProfilerActivity, device.type.upper()))
    out = folder / "profile"
    with profiler.profile(
        activities=activities,
        schedule=profiler.schedule(wait=UNTRACED - 1, warmup=1, active=steps, repeat=1),
        on_trace_ready=profiler.tensorboard_trace_handler(str(out)),
        record_shapes=True,
    ) as running:
        yield running.step
    if not out.exists():
        print(f"warning: a training of {UNTRACED} steps or fewer leaves no trace", file=sys.stderr)
