"""What a run shows while it trains: a bar with the whole run's time left, and curves for TensorBoard."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.run.recipe import Recipe

CURVES = "tensorboard"
"""Folder of the event files, in the run's: `tensorboard --logdir runs` finds it."""

SECONDS_BETWEEN_POINTS = 10.0
"""Of a curve within an epoch."""

DEVICES = {"cuda": "GPU"}
"""How the reference's table calls a type of device, where that is not its own name."""


class Progress:
    """Shows and records one run. Of several ranks, the first one's is shown; the others' do nothing."""

    def __init__(self, recipe: Recipe, steps: int, images: int, folder: Path | None, done: int = 0) -> None:
        """Begin, with nothing shown yet.

        Args:
            recipe: tells the epochs and the size of their images.
            steps: of an epoch.
            images: of an epoch, of all ranks.
            folder: of the run; None for a rank that shows nothing.
            done: steps done in an earlier process, of all epochs.
        """
        self.recipe, self.steps, self.images = recipe, steps, images
        self._shown = folder is not None
        self._writer: Any = None if folder is None else _curves(folder, done)
        self._bar: tqdm[Any] | None = None
        self._epoch = 0
        self._judging: list[float] = []
        self._next_point = 0.0

    @contextmanager
    def epoch(self, epoch: int, images: int = 0) -> Iterator[None]:
        """Show an epoch, which counts from 0, while the block lasts; `images` of it are done."""
        height, width = self.recipe.size_at(epoch)
        self._epoch = epoch
        with tqdm(
            total=self.images,
            initial=images,
            desc=f"epoch {epoch + 1}/{self.recipe.epochs} at {height}x{width}",
            unit="img",
            leave=False,
            disable=not self._shown,
        ) as self._bar:
            yield

    def step(self, step: int, images: int, parts: Mapping[str, float], seconds: float, waited: float) -> None:
        """Show a step.

        Args:
            step: of the epoch, from 1.
            images: of the step, of all ranks.
            parts: the loss's parts, means over the epoch's steps so far.
            seconds: of training in this epoch so far.
            waited: those of them in which the step waited for data.
        """
        if self._bar is None or not self._shown:
            return
        # What has been timed is this epoch's share that this process knows of; a pixel costs alike in all.
        seconds = max(seconds, 1e-9)
        share = waited / seconds
        shown = {name: f"{value:.3f}" for name, value in parts.items()}
        shown |= {"wait": f"{share:.0%}", "run": tqdm.format_interval(round(self._left(step, seconds)))}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(images)
        if time.monotonic() >= self._next_point:
            self._next_point = time.monotonic() + SECONDS_BETWEEN_POINTS
            speed = step * self.images / self.steps / seconds
            self._points("step", {**parts, "fps": speed, "data_wait": share}, self._epoch * self.steps + step)

    def judged(self, seconds: float) -> None:
        """Count the time that an evaluation took into the time left."""
        self._judging.append(seconds)

    def conclude(self, entry: Mapping[str, Any]) -> None:
        """Record an epoch by its line of metrics.jsonl."""
        figures = {name: value for name, value in entry.items() if isinstance(value, int | float)}
        number = figures.pop("epoch")
        if self._writer is not None:
            self._points("epoch", figures, int(number) * self.steps)
            self._writer.flush()

    def close(self) -> None:
        """End the record."""
        if self._writer is not None:
            self._writer.close()

    def _points(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items() if self._writer is not None else ():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def _left(self, step: int, seconds: float) -> float:
        """Estimate the seconds until the run's end from those of this epoch's steps so far."""
        recipe = self.recipe

        def pixels(epoch: int) -> int:
            height, width = recipe.size_at(epoch)
            return height * width

        here = pixels(self._epoch) * step
        after = sum(pixels(epoch) for epoch in range(self._epoch + 1, recipe.epochs)) * self.steps
        left = pixels(self._epoch) * (self.steps - step) + after
        judging = -(-recipe.epochs // recipe.eval_every) - self._epoch // recipe.eval_every
        each = sum(self._judging) / len(self._judging) if self._judging else 0.0
        return seconds * left / here + judging * each


def _curves(folder: Path, done: int) -> Any:
    """TensorBoard's writer; None, and a word of it, where it is not installed: a run can do without."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("warning: tensorboard is not installed, so that no curves are written", file=sys.stderr)
        return None
    # Points later than the checkpoint that the run continues from are written again.
    return SummaryWriter(str(folder / CURVES), purge_step=done + 1, flush_secs=10)


def result_table(metrics: Mapping[str, Any]) -> str:
    """A finished run's metrics.json as the line of the reference's results; mAP in percent."""
    kind = metrics["device_type"]
    percent = "-" if metrics["mAP"] is None else f"{100 * metrics['mAP']:.2f}"
    device = f"{DEVICES.get(kind, kind.upper())}-{metrics['world_size']}P"
    return "\n".join(
        (
            "Device | mAP | FPS | Epochs | AMP_Type",
            "---|---|---|---|---",
            f"{device} | {percent} | {metrics['fps']:.1f} | {metrics['epochs']} | {metrics['amp']}",
        )
    )
