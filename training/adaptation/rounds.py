"""Rounds of pseudo-labels and fine-tuning: each one's network groups the pictures for the next."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from training.adaptation.clustering import NO_CLUSTER, ClusterOptions, cluster, comparable
from training.data.batches import TrainingSet
from training.data.sampler import CameraSampler
from training.datasets.records import Classes, Record, label_map
from training.datasets.unlabelled import Unlabelled
from training.distributed.ranks import Ranks
from training.evaluation.extract import EvaluationSet, Extracted, extract
from training.run.epoch import EpochSums, train_epoch
from training.run.progress import Progress
from training.run.recipe import Recipe
from training.run.state import TrainState
from zoo.card import Card
from zoo.inference import InferenceModel
from zoo.registry import create_model


@dataclass(frozen=True)
class RoundFigures:
    """What one round had to learn from.

    Attributes:
        clusters: pseudo-vehicles.
        across: those of them that two cameras saw.
        clustered: pictures in them.
        pictures: all that there were.
    """

    clusters: int
    across: int
    clustered: int
    pictures: int

    def enough(self, identities: int) -> bool:
        """Whether batches of so many identities can be filled, and teach what cameras do to a vehicle."""
        return self.across >= identities


@dataclass(frozen=True)
class Adapted:
    """A network after some rounds, and what each of them had to learn from."""

    model: nn.Module
    rounds: list[RoundFigures] = field(default_factory=list)


def adapt_in_rounds(
    model: nn.Module,
    card: Card,
    pictures: Unlabelled,
    recipe: Recipe,
    options: ClusterOptions,
    rounds: int,
    ranks: Ranks,
    seed: int = 0,
) -> Adapted:
    """Group the pictures by a network, train it on the groups, and again by what it has become.

    Args:
        model: left as it is.
        card: the model's.
        pictures: to learn from.
        recipe: of one round.
        options: how pictures are grouped.
        rounds: at most; they end where too few vehicles are found at two cameras.
        ranks: where to train; one rank.
        seed: of sampling and augmentation.

    Raises:
        UserError: a picture cannot be used.
    """
    data = EvaluationSet(pictures.records(), card.input_size, antialias=card.antialias)
    data.images.preload([data.size])
    done: list[RoundFigures] = []
    told: Extracted | None = None
    for number in range(rounds):
        found = extract(InferenceModel(model, card).to(ranks.device), data, description="group")
        # Colours and types stay what the first network tells: they are not to drift.
        told = told or found
        points = comparable(found.embedding, pictures.cameras, card.metric, options.centre)
        labels = cluster(points, pictures, options)
        figures = count(labels, pictures)
        done.append(figures)
        if not figures.enough(recipe.num_identities):
            break
        records = labelled(pictures, labels, told, card)
        centres = centroids(found.embedding, labels)
        model = fine_tune(model, card, records, centres, recipe, ranks, seed + number)
    return Adapted(model, done)


def count(labels: np.ndarray, pictures: Unlabelled) -> RoundFigures:
    """Tell of clusters, int64 [N]."""
    chosen = labels != NO_CLUSTER
    pairs = np.unique(np.stack([labels[chosen], pictures.cameras[chosen]]), axis=1)
    across = int(np.count_nonzero(np.bincount(pairs[0]) > 1)) if chosen.any() else 0
    return RoundFigures(int(labels.max(initial=-1)) + 1, across, int(chosen.sum()), len(labels))


def labelled(pictures: Unlabelled, labels: np.ndarray, told: Extracted, card: Card) -> list[Record]:
    """The clustered pictures as training records, with the colour and type that a cluster is told to have."""
    chosen = np.flatnonzero(labels != NO_CLUSTER)
    names = [
        _by_cluster(probabilities, labels, classes)
        for probabilities, classes in ((told.color_probs, card.colors), (told.type_probs, card.types))
    ]
    records = pictures.part(chosen).records(labels[chosen])
    return [
        dataclasses.replace(record, color=names[0][record.vehicle_id], type=names[1][record.vehicle_id])
        for record in records
    ]


def _by_cluster(probabilities: np.ndarray | None, labels: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The likeliest class of each cluster by the mean of its pictures; empty without such a head."""
    if probabilities is None:
        return [""] * (int(labels.max()) + 1)
    return [names[mean.argmax()] for mean in _means(probabilities, labels)]


def _means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of each cluster's rows, [clusters, D]."""
    chosen = labels != NO_CLUSTER
    sums = np.zeros((int(labels.max()) + 1, values.shape[1]))
    np.add.at(sums, labels[chosen], values[chosen])
    return sums / np.bincount(labels[chosen])[:, None]


def centroids(embedding: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each cluster's mean direction, float32 [clusters, D]: what its classifier starts from."""
    lengths = np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    return _means(embedding / lengths, labels).astype(np.float32)


def fine_tune(
    model: nn.Module,
    card: Card,
    records: list[Record],
    centres: np.ndarray,
    recipe: Recipe,
    ranks: Ranks,
    seed: int,
) -> nn.Module:
    """Train a network on records by a recipe.

    Args:
        model: left as it is.
        card: the model's; its colours and types are those that the records name.
        records: their vehicles are numbered from 0.
        centres: float32 [vehicles, D], directions that the identity classifier starts from: a random one
            would first pull the network apart.
        recipe: how; its size is the card's.
        ranks: where; one rank.
        seed: of sampling and augmentation.

    Returns:
        The average of the weights over the training, without the classifier.
    """
    torch.manual_seed(seed)
    network = create_model(card, num_ids=len(centres))
    classifier = str(network.identity_classifier)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(f"{classifier}.")}
    network.load_state_dict(state, strict=False)
    with torch.no_grad():
        head = getattr(network, classifier)
        head.weight.copy_(F.normalize(torch.from_numpy(centres)))
        if head.bias is not None:
            head.bias.zero_()
    recipe = dataclasses.replace(recipe, size=card.input_size, progressive=())
    trained = TrainState(network, card, recipe, ranks)
    labels = label_map(records)
    data = TrainingSet(
        records,
        labels,
        recipe.size,
        recipe.augmentation,
        seed,
        classes=Classes(card.colors, card.types),
        antialias=card.antialias,
    )
    sampler = CameraSampler(
        [labels[record.vehicle_id] for record in records],
        [record.camera_id for record in records],
        min(recipe.num_identities, len(labels)),
        recipe.num_instances,
        seed,
    )
    progress = Progress(recipe, len(sampler), len(sampler) * sampler.batch_size, None)
    for epoch in range(recipe.epochs):
        train_epoch(trained, data, sampler, epoch, EpochSums(), progress, lambda: None)
    plain = create_model(card, num_ids=0)
    plain.load_state_dict(
        {k: v for k, v in trained.evaluated.state_dict().items() if not k.startswith(f"{classifier}.")}
    )
    return plain.eval()
