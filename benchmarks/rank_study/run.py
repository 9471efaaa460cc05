"""One training of the study: an arm, a start, a seed; its figures as one row of results."""

import dataclasses
import functools
import hashlib
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rank_study.arms import Arm, Start
from benchmarks.rank_study.emulation import average_statistics, rank_loss_parts, split_batch_norm
from training.data.batches import Batch, TrainingSet, collate, raise_failures
from training.data.even_sampler import make_sampler
from training.data.sampler import Draw, Sampler, rank_draws
from training.datasets import read_split
from training.datasets.records import Record, label_map
from training.evaluation.extract import EvaluationSet
from training.evaluation.protocol import evaluate_model
from training.run.optim import OptimizerOptions, WeightAverage, learning_rate, make_optimizer
from training.run.recipe import Recipe, load_recipe
from zoo.card import Card
from zoo.inference import InferenceModel, Normalisation
from zoo.initialization import initialize
from zoo.registry import create_model, make_card

SIZE = (64, 64)

normalise = Normalisation(Card(name="", input_size=SIZE, outputs={}))
"""By the figures of every model of the study."""


@dataclass(frozen=True)
class Schedule:
    """Epochs of a start: all of them, and those after which the rate falls to a tenth."""

    epochs: int
    milestones: tuple[int, ...]


SCHEDULES: dict[Start, Schedule] = {
    "pretrained": Schedule(6, (4, 5)),
    "random": Schedule(12, (8, 10)),
}


@dataclass(frozen=True)
class Run:
    """What is trained, and on what.

    Attributes:
        data: a data set in VeRi layout; None where the run is only listed.
        weights: of the pretrained start; None where there is none.
    """

    arm: Arm
    start: Start
    seed: int
    data: Path | None
    weights: Path | None

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a run from the others of a study."""
        return self.arm.key, self.start, self.seed

    @property
    def start_hash(self) -> str:
        """What tells one pretrained start from another: its file's sha256; nothing for random weights."""
        return "" if self.start == "random" else hashlib.sha256(self.weights.read_bytes()).hexdigest()


def recipe_of(run: Run) -> Recipe:
    """The published recipe at the study's size, with the arm's rate."""
    schedule, arm = SCHEDULES[run.start], run.arm
    base = load_recipe("pamtri")
    epochs = round(schedule.epochs * arm.epochs_factor)
    optimizer = OptimizerOptions(
        lr=base.optimizer.lr * arm.lr_factor,
        milestones=tuple(round(epoch * arm.epochs_factor) for epoch in schedule.milestones),
        warmup_epochs=arm.warmup * epochs,
    )
    return dataclasses.replace(
        base,
        size=SIZE,
        epochs=epochs,
        num_identities=arm.num_identities,
        sampler=arm.sampler,
        init=str(run.weights) if run.start == "pretrained" else "none",
        amp="bf16",
        ema_decay=arm.ema_decay,
        optimizer=optimizer,
        loss=dataclasses.replace(base.loss, lone_anchors=arm.lone_anchors),
    )


def train(run: Run) -> dict[str, Any]:
    """Train and evaluate; the row of results, JSON-ready."""
    began = time.monotonic()
    arm, recipe = run.arm, recipe_of(run)
    train_set, query, gallery = _data(run.data)
    train_set.seed = run.seed
    labels = [train_set.labels[record.vehicle_id] for record in train_set.records]
    sampler = make_sampler(
        arm.sampler, labels, arm.ranks * recipe.num_identities, recipe.num_instances, run.seed
    )
    torch.manual_seed(run.seed)
    model = create_model(recipe.model.arch, num_ids=len(train_set.labels), **recipe.model.options())
    initialize(model, recipe.init)
    getattr(model, str(model.identity_classifier)).reset_parameters()
    model.to(memory_format=torch.channels_last)
    if not arm.sync_bn:
        split_batch_norm(model, arm.ranks)
    optimizer = make_optimizer(model.parameters(), recipe.optimizer, torch.device("cpu"))
    average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
    epochs = []
    for epoch in range(recipe.epochs):
        model.train()
        sums: dict[str, float] = {}
        correct = images = 0
        for step, draws in enumerate(global_draws(sampler, epoch, arm)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe.optimizer, epoch + step / len(sampler), recipe.epochs)
            (batch,) = raise_failures([collate([train_set[draw] for draw in draws])])
            parts, right = training_step(model, optimizer, batch, recipe, arm)
            if average is not None:
                average.update(model)
            correct, images = correct + right, images + len(batch)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value / len(sampler)
        if arm.statistics == "mean":
            average_statistics(model)
        epochs.append({**sums, "accuracy": correct / images})
    trained = time.monotonic()
    card = make_card(model, f"{recipe.model.arch}.study", SIZE)
    deployed = InferenceModel(model if average is None else average.model, card)
    evaluation = evaluate_model(deployed, query, gallery)
    figures = evaluation.figures()
    return {
        "arm": arm.key,
        "start": run.start,
        "seed": run.seed,
        "start_hash": run.start_hash,
        "mAP": 100 * figures["mAP"],
        "rank1": 100 * figures["rank1"],
        "train_accuracy": epochs[-1]["accuracy"],
        "steps": recipe.epochs * len(sampler),
        "global_batch": sampler.batch_size,
        "lr": recipe.optimizer.lr,
        "triplet": [round(epoch["triplet"], 4) for epoch in epochs],
        "identity": [round(epoch["identity"], 4) for epoch in epochs],
        "accuracy": [round(epoch["accuracy"], 4) for epoch in epochs],
        "ap_of_vehicles": _ap_of_vehicles(evaluation.ranking.average_precision, query.records),
        "train_seconds": round(trained - began, 1),
        "seconds": round(time.monotonic() - began, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}",
    }


def global_draws(sampler: Sampler, epoch: int, arm: Arm) -> list[list[Draw]]:
    """An epoch's global batches in rank order."""
    ranks = [rank_draws(sampler, epoch, arm.dealing, rank, arm.ranks) for rank in range(arm.ranks)]
    return [[draw for batch in step for draw in batch] for step in zip(*ranks, strict=True)]


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe, arm: Arm
) -> tuple[dict[str, float], int]:
    """Take one step of all ranks; return the loss's parts and how many identities were told right."""
    image = normalise(batch.image).image
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.amp == "bf16"):
        outputs = model(image)
    parts = rank_loss_parts(outputs, batch, recipe.loss, arm)
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(parts.values())).sum().backward()
    optimizer.step()
    right = int((outputs.id_logits.detach().argmax(1) == batch.label).sum())
    return {name: float(part.detach()) for name, part in parts.items()}, right


@functools.lru_cache(1)
def _data(root: Path) -> tuple[TrainingSet, EvaluationSet, EvaluationSet]:
    """A data set, decoded and kept in memory: all runs of a process share it."""
    records, query, gallery = (read_split(root, split) for split in ("train", "query", "test"))
    train_set = TrainingSet(records, label_map(records), SIZE, load_recipe("pamtri").augmentation, seed=0)
    train_set.preload(1)
    sets = EvaluationSet(query, SIZE), EvaluationSet(gallery, SIZE)
    for data in sets:
        data.images.preload([SIZE], 1)
    return train_set, *sets


def _ap_of_vehicles(precision: np.ndarray, query: list[Record]) -> dict[str, list[float]]:
    """Per test vehicle: the sum of its queries' average precisions and their number."""
    found: dict[str, list[float]] = {}
    for record, value in zip(query, precision, strict=True):
        if not np.isnan(value):
            entry = found.setdefault(str(record.vehicle_id), [0.0, 0])
            found[str(record.vehicle_id)] = [round(entry[0] + float(value), 6), entry[1] + 1]
    return found
