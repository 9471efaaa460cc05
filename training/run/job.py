"""A run as the command line asks for it, to be done by each of its ranks."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.distributed.ranks import Ranks
from training.run.recipe import Recipe
from training.run.run_folder import RunFolder
from training.run.trainer import Trainer


@dataclass(frozen=True)
class Job:
    """Everything about a run but the machine; the ranks' processes get a copy each.

    Attributes:
        recipe: how to train.
        data_roots: the data sets to train on.
        evaluate_on: the data set to evaluate on; the first of `data_roots` if None.
        seed: of weights, sampling and augmentation.
        command: for the card.
        out: the run's folder; None for a fresh one.
        overwrite: whether to replace a run that it holds.
        resume: whether to go on with a run: of `out`, or else the newest unfinished one.
        checkpoint_every: steps between checkpoints within an epoch; None for every few minutes.
    """

    recipe: Recipe
    data_roots: tuple[str, ...]
    evaluate_on: str | None
    seed: int
    command: str
    out: Path | None
    overwrite: bool = False
    resume: bool = False
    checkpoint_every: int | None = None

    def run(self, ranks: Ranks) -> dict[str, Any] | None:
        """Train on one rank.

        Returns:
            What metrics.json holds, and the run's folder as `run`; None but of the first rank.
        """
        trainer = Trainer(
            self.recipe, self.data_roots, ranks, self.seed, self.command, evaluate_on=self.evaluate_on
        )
        if not ranks.is_first:
            trainer.run(None, self.resume, self.checkpoint_every)
            return None
        # Made last, so that a run that cannot start leaves no folder behind.
        if self.resume:
            folder = RunFolder.resume(self.out, self.recipe.name)
        else:
            folder = RunFolder.create(self.out, self.recipe.name, self.overwrite)
        places = f"{ranks.world_size} x {ranks.device.type}" if ranks.world_size > 1 else str(ranks.device)
        print(
            f"{self.recipe.name}: {len(trainer.train)} images of {len(trainer.labels)} vehicles, "
            f"{len(trainer.sampler)} batches of {trainer.sampler.batch_size} an epoch, on {places}; run "
            f"{folder.path}",
            file=sys.stderr,
        )
        return {"run": os.fspath(folder.path), **trainer.run(folder, self.resume, self.checkpoint_every)}
