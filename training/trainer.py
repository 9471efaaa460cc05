"""A whole training in one process: epochs, evaluation, the best and the last weights."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.dataset import PoseInputs, TrainingSet, collate, raise_failures
from training.datasets import dataset_name, read_split, read_training
from training.devices import device_name
from training.evaluation import Evaluation, evaluate_model
from training.extract import EvaluationSet
from training.optim import WeightAverage, learning_rate, make_optimizer
from training.recipe import Recipe
from training.records import label_map
from training.run_folder import RunFolder, json_text
from training.sampler import IdentitySampler
from training.step import training_step, uses_channels_last
from zoo.card import Card
from zoo.inference import InferenceModel
from zoo.initialization import initialize
from zoo.registry import create_model, make_card, weights_path
from zoo.weights import save_weights


@dataclass(frozen=True)
class EpochFigures:
    """An epoch's training: mean loss parts, the last rate, images, seconds and the share of them waited for
    data."""

    parts: dict[str, float]
    lr: float
    images: int
    seconds: float
    data_wait: float


class Trainer:
    """Trains one model by one recipe on one or more data sets."""

    def __init__(
        self,
        recipe: Recipe,
        data_roots: Sequence[str | Path],
        device: torch.device,
        seed: int,
        command: str = "",
        evaluate_on: str | Path | None = None,
    ) -> None:
        """Read the labels, build the model and load its first weights; the images are not read yet.

        Args:
            recipe: how to train.
            data_roots: the data sets to train on, one or more.
            device: where to train.
            seed: of weights, sampling and augmentation.
            command: for the card.
            evaluate_on: the data set to evaluate on; the first of `data_roots` if None.

        Raises:
            UserError: the data set, the recipe or the first weights cannot be used.
        """
        self.recipe, self.device = recipe, device
        evaluate_on = evaluate_on or data_roots[0]
        self.dataset = dataset_name(evaluate_on)
        train = read_training(data_roots)
        query, gallery = read_split(evaluate_on, "query"), read_split(evaluate_on, "test")
        self.labels = label_map(train)
        pose = PoseInputs(recipe.model.keypoints, recipe.model.heatmaps, recipe.model.segments)
        self.train = TrainingSet(train, self.labels, recipe.size_at(0), recipe.augmentation, seed, pose)
        self.query = EvaluationSet(query, recipe.size, pose)
        self.gallery = EvaluationSet(gallery, recipe.size, pose)
        identities = [self.labels[record.vehicle_id] for record in train]
        self.sampler = IdentitySampler(identities, recipe.num_identities, recipe.num_instances, seed)

        torch.manual_seed(seed)
        self.model = create_model(recipe.model.arch, num_ids=len(self.labels), **recipe.model.options())
        initialize(self.model, recipe.init)
        self._settle_identity_classifier()
        layout = torch.channels_last if uses_channels_last(recipe, device) else torch.contiguous_format
        self.model.to(memory_format=layout).to(device)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None
        self.optimizer = make_optimizer(self.model.parameters(), recipe.optimizer, device)
        self.card = make_card(
            self.model, f"{recipe.model.arch}.{recipe.name}", recipe.size, recipe=recipe.name, command=command
        )

    def run(self, folder: RunFolder) -> dict[str, Any]:
        """Train, and write the run folder as it goes.

        Returns:
            What metrics.json holds: the best epoch's figures, speed, device, seconds.

        Raises:
            UserError: an image cannot be used, the loss is not finite, or the disk is full.
        """
        folder.write_json("labels.json", self._label_names())
        folder.write_json("recipe.json", dataclasses.asdict(self.recipe))
        start, images, training_seconds = time.monotonic(), 0, 0.0
        best: dict[str, Any] | None = None
        if self.recipe.cache:
            # Before the first epoch, so that a damaged image is reported at once.
            for data, name in ((self.query, "query"), (self.gallery, "gallery")):
                data.images.preload([data.size], description=f"decode {name}")
        for epoch in range(self.recipe.epochs):
            figures = self.train_epoch(epoch)
            images += figures.images
            training_seconds += figures.seconds
            entry = {
                "epoch": epoch + 1,
                "loss": sum(figures.parts.values()),
                **{f"loss_{name}": value for name, value in figures.parts.items()},
                "lr": figures.lr,
                "fps": figures.images / figures.seconds,
                "data_wait": figures.data_wait,
                "seconds": time.monotonic() - start,
            }
            save_weights(self.model, self.card, folder.path / "last.safetensors")
            if (epoch + 1) % self.recipe.eval_every == 0 or epoch + 1 == self.recipe.epochs:
                evaluation = self.evaluate()
                entry |= evaluation.figures()
                if best is None or (entry["mAP"] or 0.0) > (best["mAP"] or 0.0):
                    best = {"best_epoch": epoch + 1, **evaluation.figures()}
                    self._save_best(best, folder)
                tqdm.write(evaluation.table(f"epoch {epoch + 1:>3}"), file=sys.stderr)
            folder.append_metrics(entry)
        assert best is not None, "the last epoch is always evaluated"
        summary = {
            **best,
            "fps": images / training_seconds,
            "epochs": self.recipe.epochs,
            "amp": self.recipe.amp,
            "device": device_name(self.device),
            "dataset": self.dataset,
            "recipe": self.recipe.name,
            "seconds": time.monotonic() - start,
        }
        folder.write_json("metrics.json", summary)
        return summary

    def train_epoch(self, epoch: int) -> EpochFigures:
        """Train one epoch, which counts from 0."""
        recipe, weights = self.recipe, self.recipe.loss_at(epoch)
        self.train.size = recipe.size_at(epoch)
        if recipe.cache:
            self.train.preload()
        loader: DataLoader[Any] = DataLoader(
            self.train,
            batch_sampler=list(self.sampler.draws(epoch)),  # type: ignore[arg-type]
            num_workers=0 if recipe.cache else recipe.workers,
            collate_fn=collate,
        )
        self.model.train()
        sums: dict[str, float] = {}
        rate, waited, images = 0.0, 0.0, 0
        start = asked = time.monotonic()
        with tqdm(total=len(self.sampler) * self.sampler.batch_size, unit="img", leave=False) as bar:
            bar.set_description(
                f"epoch {epoch + 1}/{recipe.epochs} at {self.train.size[0]}x{self.train.size[1]}"
            )
            for step, batch in enumerate(raise_failures(loader)):
                waited += time.monotonic() - asked
                rate = learning_rate(recipe.optimizer, epoch + step / len(self.sampler), recipe.epochs)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                parts = training_step(self.model, self.optimizer, batch.to(self.device), recipe, weights)
                if self.average is not None:
                    self.average.update(self.model)
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + value
                images += len(batch)
                bar.set_postfix(
                    {name: f"{value / (step + 1):.3f}" for name, value in sums.items()}, refresh=False
                )
                bar.update(len(batch))
                asked = time.monotonic()
        seconds = time.monotonic() - start
        means = {name: value / len(self.sampler) for name, value in sums.items()}
        return EpochFigures(means, rate, images, seconds, waited / seconds)

    def evaluate(self) -> Evaluation:
        """Evaluate the weights that would be saved as best, at full precision."""
        model = InferenceModel(self._evaluated(), self.card).to(self.device)
        return evaluate_model(model, self.query, self.gallery, self.card.metric, workers=self.recipe.workers)

    def _settle_identity_classifier(self) -> None:
        """Start the identity classifier afresh, unless it was trained on the very vehicles of this run.

        An equal number of vehicles does not make them the same: the labels.json beside the weights tells.
        """
        init = self.recipe.init
        if init in ("imagenet", "none") or Path(init).suffix in (".pth", ".pt"):
            return
        known = weights_path(init).with_name("labels.json")
        if known.is_file() and known.read_text(encoding="utf-8") == json_text(self._label_names()):
            tqdm.write(f"{init}: trunk, branches and identity classifier loaded", file=sys.stderr)
            return
        getattr(self.model, str(self.model.identity_classifier)).reset_parameters()
        tqdm.write(
            f"{init}: trunk and branches loaded; the identity classifier starts afresh, "
            "the vehicles are others",
            file=sys.stderr,
        )

    def _label_names(self) -> dict[str, int]:
        return {str(vehicle): label for vehicle, label in self.labels.items()}

    def _evaluated(self) -> torch.nn.Module:
        return self.model if self.average is None else self.average.model

    def _save_best(self, figures: dict[str, Any], folder: RunFolder) -> Card:
        measured = {"dataset": self.dataset, "device": device_name(self.device), **figures}
        card = self.card.replace(metrics=[measured])
        return save_weights(self._evaluated(), card, folder.path / "best.safetensors")
