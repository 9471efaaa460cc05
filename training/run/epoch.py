"""An epoch: batches in, steps taken, figures out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader

from training.data.batches import TrainingSet, collate, raise_failures
from training.data.sampler import Sampler, rank_draws
from training.distributed.devices import begin_loading, loader_context
from training.distributed.ranks import Ranks
from training.run.progress import Progress
from training.run.state import TrainState
from training.run.step import divergence, train_step


@dataclass
class EpochSums:
    """An epoch as far as it has come.

    Attributes:
        steps: done, skipped ones included.
        taken: those that moved the weights.
        images: of all ranks.
        seconds: of training, saving not counted.
        waited: seconds of them spent waiting for data.
        parts: loss parts of this rank, summed over the steps taken.
    """

    steps: int = 0
    taken: int = 0
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


def train_epoch(
    state: TrainState,
    data: TrainingSet,
    sampler: Sampler,
    epoch: int,
    sums: EpochSums,
    progress: Progress,
    after_step: Callable[[], None],
) -> dict[str, Any]:
    """Train an epoch, or what is left of it.

    Args:
        state: what is trained.
        data: the training images.
        sampler: plans the global batch.
        epoch: counts from 0.
        sums: what was done of the epoch before; kept up to date.
        progress: shows it.
        after_step: called after each step, when all its state is settled.

    Returns:
        Its figures, as metrics.jsonl has them: means of the loss's parts over the steps taken, the last rate,
        images per second, the share of time waited for data, and the number of steps skipped.

    Raises:
        UserError: an image cannot be used, or the loss is not finite for too long.
    """
    recipe, ranks = state.recipe, state.ranks
    data.size = recipe.size_at(epoch)
    if recipe.cache:
        data.preload()
    draws = rank_draws(sampler, epoch, recipe.ranks.dealing, ranks.rank, ranks.world_size)
    workers = 0 if recipe.cache else recipe.workers
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_sampler=draws[sums.steps :],  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context=loader_context(ranks.device, workers),
        worker_init_fn=begin_loading,
        # Its own chance: it would draw from that of the model, once more after each resumption.
        generator=torch.Generator(),
    )
    state.amp.network.train()
    done = None
    with progress.epoch(epoch, sums.images):
        asked = time.monotonic()
        for batch in raise_failures(loader):
            got = time.monotonic()
            done = train_step(state, batch, epoch + sums.steps / len(sampler))
            _count(sums, done.parts if done.taken else None, len(batch) * ranks.world_size)
            sums.waited += got - asked
            sums.seconds += time.monotonic() - asked
            means = {name: value / sums.taken for name, value in sums.parts.items()}
            progress.step(sums.steps, len(batch) * ranks.world_size, means, sums.seconds, sums.waited)
            after_step()
            asked = time.monotonic()
    # Half an epoch without a step: weights that are broken, or a fixed scale that is too large. A dynamic one
    # may need more than a short epoch to come down to where the gradients fit.
    scale = state.amp.scale
    if done is not None and not scale.dynamic and 2 * scale.skipped_in_a_row >= sums.steps:
        raise divergence(state, done)
    return _figures(sums, state.rate, ranks)


def _count(sums: EpochSums, parts: dict[str, float] | None, images: int) -> None:
    sums.steps += 1
    sums.images += images
    if parts is not None:
        sums.taken += 1
        for name, value in parts.items():
            sums.parts[name] = sums.parts.get(name, 0.0) + value


def _figures(sums: EpochSums, rate: float, ranks: Ranks) -> dict[str, Any]:
    parts = {
        name: ranks.total(value) / ranks.world_size / max(sums.taken, 1) for name, value in sums.parts.items()
    }
    return {
        "loss": sum(parts.values()) if parts else None,
        **{f"loss_{name}": value for name, value in parts.items()},
        "lr": rate,
        "fps": sums.images / sums.seconds,
        "data_wait": sums.waited / max(sums.seconds, 1e-9),
        "skipped": sums.steps - sums.taken,
    }
