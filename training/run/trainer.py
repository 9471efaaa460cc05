"""A whole training as one rank sees it: epochs, evaluation, the best and the last weights, checkpoints."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.data.batches import PoseInputs, TrainingSet
from training.data.sampler import make_sampler
from training.datasets import dataset_name, read_split, read_training
from training.datasets.records import label_map
from training.distributed.devices import device_name
from training.distributed.ranks import Ranks
from training.evaluation.extract import EvaluationSet, extract_shared, own_share
from training.evaluation.protocol import Evaluation, evaluate_embeddings
from training.evaluation.query_results import FILE_NAME, write_query_results
from training.run.learner import Learner
from training.run.loop import EpochFigures, EpochSums, train_epoch
from training.run.progress import Progress
from training.run.recipe import Recipe
from training.run.resume import Checkpoints, Position, run_facts
from training.run.run_folder import RunFolder
from training.run.warm_start import first_weights
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel
from zoo.registry import create_model, make_card
from zoo.weights import save_weights


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
            UserError: the data set, the recipe or the first weights cannot be used.
        """
        self.recipe, self.ranks, self.seed = recipe, ranks, seed
        evaluate_on = evaluate_on or data_roots[0]
        self.dataset = dataset_name(evaluate_on)
        train = read_training(data_roots)
        self.query_records, self.gallery_records = (
            read_split(evaluate_on, "query"),
            read_split(evaluate_on, "test"),
        )
        self.labels = label_map(train)
        pose = PoseInputs(recipe.model.keypoints, recipe.model.heatmaps, recipe.model.segments)
        source = recipe.pose_maps
        self.train = TrainingSet(
            train, self.labels, recipe.size_at(0), recipe.augmentation, seed, pose, source
        )
        self.query, self.gallery = (
            EvaluationSet(own_share(records, ranks), recipe.size, pose, map_source=source)
            for records in (self.query_records, self.gallery_records)
        )
        self.sampler = make_sampler(
            recipe.sampler,
            [self.labels[record.vehicle_id] for record in train],
            self._global_identities(),
            recipe.num_instances,
            seed,
        )

        torch.manual_seed(seed)
        model = create_model(recipe.model.arch, num_ids=len(self.labels), **recipe.model.options())
        first_weights(model, recipe.init, self._label_names(), ranks)
        self.card = make_card(
            model, f"{recipe.model.arch}.{recipe.name}", recipe.size, recipe=recipe.name, command=command
        )
        self.learner = Learner(model, recipe.over_ranks(ranks.world_size), ranks)

    def run(
        self, folder: RunFolder | None, resume: bool = False, checkpoint_every: int | None = None
    ) -> dict[str, Any]:
        """Train, and write the run folder as it goes.

        Args:
            folder: of the run, for the first rank; None for the others.
            resume: go on from the folder's newest checkpoint, where it has one.
            checkpoint_every: steps between checkpoints within an epoch; None for every few minutes.

        Returns:
            What metrics.json holds: the best epoch's figures, speed, device, seconds; of the first rank only.

        Raises:
            UserError: an image cannot be used, the loss is not finite, the disk is full, or the run cannot be
                gone on with.
        """
        path = folder.path if folder else None
        checkpoints = Checkpoints(self.learner, self._facts(), path, checkpoint_every)
        position = (checkpoints.restore() if resume else None) or Position()
        if folder:
            folder.write_json("labels.json", self._label_names())
            folder.write_json("recipe.json", dataclasses.asdict(self.recipe))
            if resume:
                # Lines of after the checkpoint come once more.
                folder.write_metrics(position.history)
                done = f"{position.sums.steps} of {len(self.sampler)} steps of epoch {position.epoch + 1}"
                tqdm.write(f"resumed: {position.epoch} epochs and {done} are done", file=sys.stderr)
        if self.recipe.cache:
            # Before the first epoch, so that a damaged image is reported at once.
            for data, name in ((self.query, "query"), (self.gallery, "gallery")):
                data.images.preload([data.size], description=f"decode {name}")
        steps = len(self.sampler)
        done_steps = position.epoch * steps + position.sums.steps
        progress = Progress(self.recipe, steps, steps * self.sampler.batch_size, path, done_steps)
        for epoch in range(position.epoch, self.recipe.epochs):
            figures = train_epoch(
                self.learner,
                self.train,
                self.sampler,
                epoch,
                position.sums,
                progress,
                lambda: checkpoints.after_step(position),
            )
            self.learner.average_statistics()
            judged = (epoch + 1) % self.recipe.eval_every == 0 or epoch + 1 == self.recipe.epochs
            began = time.monotonic()
            evaluation = self.evaluate() if judged else None
            if judged:
                progress.judged(time.monotonic() - began)
            if folder:
                progress.conclude(self._conclude(folder, position, figures, evaluation))
            position.images += figures.images
            position.training_seconds += figures.seconds
            position.epoch, position.sums = epoch + 1, EpochSums()
            checkpoints.save(position)
        progress.close()
        return self._summary(folder, position) if folder else {}

    def evaluate(self) -> Evaluation | None:
        """Evaluate the weights that would be saved as best, at full precision; the first rank judges."""
        model = InferenceModel(self.learner.evaluated, self.card).to(self.ranks.device)
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
            found, known.embedding, self.query_records, self.gallery_records, self.card.metric
        )

    def _conclude(
        self,
        folder: RunFolder,
        position: Position,
        figures: EpochFigures,
        evaluation: Evaluation | None,
    ) -> dict[str, Any]:
        """Write an epoch's line and weights; return the line."""
        entry = {
            "epoch": position.epoch + 1,
            "loss": sum(figures.parts.values()) if figures.parts else None,
            **{f"loss_{name}": value for name, value in figures.parts.items()},
            "lr": figures.lr,
            "fps": figures.images / figures.seconds,
            "data_wait": figures.data_wait,
            "skipped": figures.skipped,
            "seconds": position.seconds,
        }
        save_weights(self.learner.model, self.card, folder.path / "last.safetensors")
        if evaluation is not None:
            entry |= evaluation.figures()
            if position.best is None or (entry["mAP"] or 0.0) > (position.best["mAP"] or 0.0):
                position.best = {"best_epoch": position.epoch + 1, **evaluation.figures()}
                self._save_best(position.best, folder)
                write_query_results(
                    folder.path / FILE_NAME, evaluation, self.query.records, self.gallery.records
                )
            tqdm.write(evaluation.table(f"epoch {position.epoch + 1:>3}"), file=sys.stderr)
        position.history.append(entry)
        folder.append_metrics(entry)
        return entry

    def _summary(self, folder: RunFolder, position: Position) -> dict[str, Any]:
        """Write metrics.json, which tells a complete run from one that was broken off."""
        assert position.best is not None, "the last epoch is always evaluated"
        summary = {
            **position.best,
            "fps": position.images / position.training_seconds,
            "epochs": self.recipe.epochs,
            "amp": self.recipe.amp,
            "device": device_name(self.ranks.device),
            "device_type": self.ranks.device.type,
            "world_size": self.ranks.world_size,
            "skipped_steps": self.learner.amp.scale.skipped,
            "dataset": self.dataset,
            "recipe": self.recipe.name,
            "seconds": position.seconds,
        }
        folder.write_json("metrics.json", summary)
        return summary

    def _facts(self) -> dict[str, Any]:
        evaluate = (*self.query_records, *self.gallery_records)
        return run_facts(self.recipe, self.seed, self.ranks.world_size, self.train.records, evaluate)

    def _global_identities(self) -> int:
        """Identities of the global batch."""
        wanted = self.ranks.world_size * self.recipe.num_identities
        if self.recipe.sampler == "identity" and self.ranks.world_size > 1 and wanted > len(self.labels):
            raise UserError(
                f"{self.ranks.world_size} ranks of {self.recipe.num_identities} identities want {wanted}, "
                f"and the training data has {len(self.labels)}: start fewer ranks, lower num_identities in "
                "the recipe, or give more vehicles"
            )
        return wanted

    def _label_names(self) -> dict[str, int]:
        return {str(vehicle): label for vehicle, label in self.labels.items()}

    def _save_best(self, figures: dict[str, Any], folder: RunFolder) -> Card:
        measured = {"dataset": self.dataset, "device": device_name(self.ranks.device), **figures}
        card = self.card.replace(metrics=[measured])
        return save_weights(self.learner.evaluated, card, folder.path / "best.safetensors")
