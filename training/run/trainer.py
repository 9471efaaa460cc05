"""A whole training as one rank sees it: epochs, evaluation, the best and the last weights, checkpoints."""

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.data.batches import PoseInputs, TrainingSet
from training.data.even_sampler import make_sampler
from training.datasets import (
    dataset_name,
    read_classes,
    read_split,
    read_training_parts,
    vehicles_aside,
)
from training.datasets.records import NO_CLASSES, can_match, label_map
from training.distributed.devices import device_name, device_settings
from training.distributed.facts import machine_facts
from training.distributed.ranks import Ranks
from training.evaluation.extract import EvaluationSet, extract_shared, own_share
from training.evaluation.protocol import Evaluation, evaluate_embeddings
from training.evaluation.query_results import FILE_NAME, write_query_results
from training.run.epoch import EpochSums, train_epoch
from training.run.progress import Progress
from training.run.recipe import Recipe
from training.run.resume import Checkpoints, Position, run_facts
from training.run.run_folder import RunFolder
from training.run.state import TrainState, load_first_weights
from training.run.teacher import Teacher
from training.run.tracing import traced
from zoo.errors import UserError
from zoo.inference import InferenceModel
from zoo.registry import create_model, make_card
from zoo.weights import save_weights

_log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    data_roots: Sequence[str | Path],
    ranks: Ranks | None = None,
    *,
    evaluate_on: str | None = None,
    seed: int = 0,
    command: str = "",
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: int | None = None,
    profile: int | None = None,
) -> dict[str, Any] | None:
    """Train on one rank, in a run's folder; see `Trainer` for what is not told here.

    Args:
        ranks: this process's place among those that train together; None where it trains alone, on the CPU.
        out: the run's folder; None for a fresh one.
        overwrite: replace a run that it holds.
        resume: continue a run: that of `out`, or else the newest unfinished one.
        profile: steps of the first rank to trace, into the run's folder.

    Returns:
        What metrics.json holds, and the run's folder as `run`; None but of the first rank.
    """
    ranks, out = ranks or Ranks(), None if out is None else Path(out)
    trainer = Trainer(recipe, data_roots, ranks, seed, command, evaluate_on)
    if not ranks.is_first:
        # The run is told of before a rank can fail at its first image, which ends them all.
        ranks.barrier()
        trainer.run(None, resume, checkpoint_every)
        return None
    # Made last, so that a run that cannot start leaves no folder behind.
    name = recipe.name
    folder = RunFolder.resume(out, name) if resume else RunFolder.create(out, name, overwrite)
    places = f"{ranks.world_size} x {ranks.device.type}" if ranks.world_size > 1 else str(ranks.device)
    if trainer.aside is not None:
        print(f"{trainer.dataset}: {trainer.aside.sentence()}", file=sys.stderr)
    print(
        f"{recipe.name}: {len(trainer.train)} images of {len(trainer.labels)} vehicles, "
        f"{len(trainer.sampler)} batches of {trainer.sampler.batch_size} an epoch, on {places}; run "
        f"{folder.path}",
        file=sys.stderr,
    )
    if settings := device_settings(ranks.device):
        shown = ", ".join(f"{name} {'on' if value else 'off'}" for name, value in settings.items())
        print(f"{ranks.device.type}: {shown}", file=sys.stderr)
    ranks.barrier()
    with traced(folder.path, ranks.device, profile) as trace_step:
        summary = trainer.run(folder, resume, checkpoint_every, trace_step)
    return {"run": os.fspath(folder.path), **summary}


class Trainer:
    """Trains one model by one recipe on one or more data sets.

    All ranks do the same on their shares of the data; the first one alone prints, judges and writes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data_roots: Sequence[str | Path],
        ranks: Ranks,
        seed: int,
        command: str = "",
        evaluate_on: str | Path | None = None,
    ) -> None:
        """Read the labels, build the model and load its first weights; the images are not read yet.

        Args:
            recipe: how to train.
            data_roots: the data sets to train on, one or more.
            ranks: who trains, and where.
            seed: of weights, sampling and augmentation.
            command: for the card.
            evaluate_on: the data set to evaluate on; the first of `data_roots` if None.

        Raises:
            UserError: the data set, the recipe, the teacher or the first weights cannot be used.
        """
        self.recipe, self.ranks, self.seed = recipe, ranks, seed
        self.teacher = Teacher(recipe.teacher) if recipe.teacher else None
        evaluate_on = evaluate_on or data_roots[0]
        self.dataset = dataset_name(evaluate_on)
        parts = read_training_parts(data_roots, evaluate_on)
        train = [record for part in parts for record in part]
        self.query_records = read_split(evaluate_on, "query")
        self.gallery_records = read_split(evaluate_on, "test")
        self.aside = vehicles_aside(evaluate_on)
        if ranks.is_first and not can_match(self.query_records, self.gallery_records):
            _log.warning(
                "%s: no query has an image of its vehicle at another camera in the gallery, so nothing can "
                "be measured and best.safetensors will be the last epoch's; name another data set with "
                "--evaluate-on",
                evaluate_on,
            )
        self.labels = label_map(train)
        self.label_names = {str(vehicle): label for vehicle, label in self.labels.items()}
        pose = PoseInputs(recipe.model.keypoints, recipe.model.heatmaps, recipe.model.segments)
        source = recipe.pose_maps
        self.classes = read_classes(data_roots, train) if recipe.model.multitask else NO_CLASSES
        self.train = TrainingSet(
            train,
            self.labels,
            recipe.size_at(0),
            recipe.augmentation,
            seed,
            pose,
            source,
            self.classes,
            recipe.antialias,
        )
        self.query, self.gallery = (
            EvaluationSet(own_share(records, ranks), recipe.size, pose, None, source, recipe.antialias)
            for records in (self.query_records, self.gallery_records)
        )
        self.sampler = make_sampler(
            recipe.sampler,
            [self.labels[record.vehicle_id] for record in train],
            self._global_identities(),
            recipe.num_instances,
            seed,
            [len(part) for part in parts],
        )

        torch.manual_seed(seed)
        model = create_model(
            recipe.model.arch,
            num_ids=len(self.labels),
            num_colors=len(self.classes.colors),
            num_types=len(self.classes.types),
            **recipe.model.options(),
        )
        load_first_weights(model, recipe.init, self.label_names, self.classes, ranks)
        self.card = make_card(
            model,
            f"{recipe.model.arch}.{recipe.name}",
            recipe.size,
            colors=self.classes.colors,
            types=self.classes.types,
            antialias=recipe.antialias,
            recipe=recipe.name,
            command=command,
        )
        self.state = TrainState(model, self.card, recipe.over_ranks(ranks.world_size), ranks)

    def run(
        self,
        folder: RunFolder | None,
        resume: bool = False,
        checkpoint_every: int | None = None,
        trace_step: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Train, and write the run folder as it goes.

        Args:
            folder: of the run, for the first rank; None for the others.
            resume: continue from the folder's newest checkpoint, where it has one.
            checkpoint_every: steps between checkpoints within an epoch; None for every few minutes.
            trace_step: called after each step.

        Returns:
            What metrics.json holds: the best epoch's figures, speed, device, seconds; of the first rank only.

        Raises:
            UserError: an image cannot be used, the loss is not finite, the disk is full, or the run cannot be
                continued.
        """
        path = folder.path if folder else None
        evaluation_records = [*self.query_records, *self.gallery_records]
        facts = run_facts(
            self.recipe, self.seed, self.ranks.world_size, self.train.records, evaluation_records
        )
        if self.teacher:
            facts["the teacher's weights"] = self.teacher.fingerprint
        checkpoints = Checkpoints(self.state, facts, path, checkpoint_every)
        position = (checkpoints.restore() if resume else None) or Position()
        if folder:
            folder.write_json("labels.json", self.label_names)
            folder.write_json("recipe.json", dataclasses.asdict(self.recipe))
            folder.write_json("environment.json", machine_facts(self.ranks.device))
            if resume:
                # Lines of after the checkpoint come once more.
                folder.write_metrics(position.history)
                done = f"{position.sums.steps} of {len(self.sampler)} steps of epoch {position.epoch + 1}"
                tqdm.write(f"resumed: {position.epoch} epochs and {done} are done", file=sys.stderr)
        if self.teacher:
            pictures = f"{facts['training data']} {facts['training pictures']}"
            self.train.teacher = self.teacher.embeddings(
                self.train.records, self.ranks, path, pictures, self.recipe.pose_maps, self.recipe.workers
            )
        if self.recipe.cache:
            # Before the first epoch, so that a damaged image is reported at once.
            for data, name in ((self.query, "query"), (self.gallery, "gallery")):
                data.images.preload([data.size], description=f"decode {name}")
        steps = len(self.sampler)
        done_steps = position.epoch * steps + position.sums.steps
        progress = Progress(self.recipe, steps, steps * self.sampler.batch_size, path, done_steps)

        def after_step() -> None:
            checkpoints.after_step(position)
            if trace_step is not None:
                trace_step()

        for epoch in range(position.epoch, self.recipe.epochs):
            figures = train_epoch(
                self.state,
                self.train,
                self.sampler,
                epoch,
                position.sums,
                progress,
                after_step,
            )
            self.state.average_statistics()
            evaluation = None
            if (epoch + 1) % self.recipe.eval_every == 0 or epoch + 1 == self.recipe.epochs:
                began = time.monotonic()
                evaluation = self.evaluate()
                progress.judged(time.monotonic() - began)
            if folder:
                progress.conclude(self._conclude(folder, position, figures, evaluation))
            position.images += position.sums.images
            position.training_seconds += position.sums.seconds
            position.epoch, position.sums = epoch + 1, EpochSums()
            checkpoints.save(position)
        progress.close()
        return self._summary(folder, position) if folder else {}

    def evaluate(self) -> Evaluation | None:
        """Evaluate the weights that would be saved as best, at full precision; the first rank judges."""
        model = InferenceModel(self.state.evaluated, self.card).to(self.ranks.device)
        found, known = (
            extract_shared(model, share, len(records), self.ranks, self.recipe.workers, name)
            for share, records, name in (
                (self.query, self.query_records, "query"),
                (self.gallery, self.gallery_records, "gallery"),
            )
        )
        if not self.ranks.is_first:
            return None
        return evaluate_embeddings(
            found,
            known.embedding,
            self.query_records,
            self.gallery_records,
            self.card.metric,
            self.classes,
        )

    def _conclude(
        self,
        folder: RunFolder,
        position: Position,
        figures: dict[str, Any],
        evaluation: Evaluation | None,
    ) -> dict[str, Any]:
        """Write an epoch's line and weights; return the line."""
        entry = {"epoch": position.epoch + 1, **figures, "seconds": position.seconds}
        save_weights(self.state.model, self.card, folder.path / "last.safetensors")
        if evaluation is not None:
            entry |= evaluation.figures()
            # By a figure that does not exist nothing is best: the last epoch's weights stand for it then.
            found = entry["mAP"]
            if position.best is None or found is None or found > (position.best["mAP"] or 0.0):
                position.best = {"best_epoch": position.epoch + 1, **evaluation.figures()}
                measured = {"dataset": self.dataset, "device": device_name(self.ranks.device)}
                card = self.card.replace(metrics=[measured | position.best])
                save_weights(self.state.evaluated, card, folder.path / "best.safetensors")
                write_query_results(
                    folder.path / FILE_NAME, evaluation, self.query.records, self.gallery.records
                )
            tqdm.write(evaluation.table(f"epoch {position.epoch + 1:>3}"), file=sys.stderr)
        position.history.append(entry)
        folder.append_metrics(entry)
        return entry

    def _summary(self, folder: RunFolder, position: Position) -> dict[str, Any]:
        """Write metrics.json, which tells a complete run from one that was interrupted."""
        assert position.best is not None, "the last epoch is always evaluated"
        summary = {
            **position.best,
            "fps": position.images / position.training_seconds,
            "epochs": self.recipe.epochs,
            "amp": self.recipe.amp,
            "device": device_name(self.ranks.device),
            "device_type": self.ranks.device.type,
            "world_size": self.ranks.world_size,
            "skipped_steps": self.state.amp.scale.skipped,
            "dataset": self.dataset,
            "recipe": self.recipe.name,
            "seconds": position.seconds,
        }
        folder.write_json("metrics.json", summary)
        return summary

    def _global_identities(self) -> int:
        """Identities of the global batch."""
        wanted = self.ranks.world_size * self.recipe.num_identities
        if self.recipe.sampler != "plain" and self.ranks.world_size > 1 and wanted > len(self.labels):
            raise UserError(
                f"{self.ranks.world_size} ranks of {self.recipe.num_identities} identities want {wanted}, "
                f"and the training data has {len(self.labels)}: start fewer ranks, lower num_identities in "
                "the recipe, or give more vehicles"
            )
        return wanted
