"""Adaptation from end to end: pictures in, the network to use out, with what speaks for it."""

import copy
import dataclasses
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from training.adaptation import preconditions
from training.adaptation.clustering import ClusterOptions, cluster, comparable
from training.adaptation.guard import Verdict, View, hold_out, judge
from training.adaptation.rounds import RoundFigures, adapt_in_rounds
from training.adaptation.statistics import mix_statistics
from training.adaptation.variation import VariedSet
from training.datasets.unlabelled import Unlabelled, read_unlabelled
from training.distributed.ranks import Ranks
from training.evaluation.camera_centring import centre_cameras
from training.evaluation.extract import EvaluationSet, extract
from training.run.recipe import Recipe
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel
from zoo.loading import load_model
from zoo.registry import create_model, weights_path


@dataclass(frozen=True)
class AdaptOptions:
    """How to adapt; each step can be left out.

    Attributes:
        recipe: of a round of training.
        grouping: how pictures are grouped.
        statistics: put BatchNorm statistics of the new pictures in.
        clusters: group the pictures and train on the groups.
        guard: keep the old model where the new one does not prove better.
        rounds: of grouping and training.
        max_pictures: used; of more, so many are drawn.
        seed: of sampling and augmentation.
    """

    recipe: Recipe
    grouping: ClusterOptions = field(default_factory=ClusterOptions)
    statistics: bool = True
    clusters: bool = True
    guard: bool = True
    rounds: int = 4
    max_pictures: int = 5000
    seed: int = 0


@dataclass(frozen=True)
class Adaptation:
    """What came out.

    Attributes:
        weights: the file of the old model.
        model: the network to use.
        card: its card; of the old model where that is kept.
        kept: which one it is.
        reason: why.
        pictures, cameras, tracks: that were used.
        shift: of `mix_statistics`; None where it did not come to that.
        clumps: of `share_in_clumps`, likewise.
        rounds: of training.
        verdict: of the guard, likewise.
        seconds: in all.
    """

    weights: Path
    model: nn.Module
    card: Card
    kept: Literal["new", "old"]
    reason: str
    pictures: int
    cameras: dict[int, int]
    tracks: int
    shift: float | None = None
    clumps: float | None = None
    rounds: list[RoundFigures] = field(default_factory=list)
    verdict: Verdict | None = None
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """All but the network, as JSON has it."""
        left_out = ("weights", "model", "card")
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        content["rounds"] = [dataclasses.asdict(each) for each in self.rounds]
        content["verdict"] = None if self.verdict is None else dataclasses.asdict(self.verdict)
        return content


def adapt(weights: str | Path, data: str | Path, options: AdaptOptions, ranks: Ranks) -> Adaptation:
    """Adapt a model to the cameras of unlabelled pictures.

    Args:
        weights: name of a model, or a `.safetensors` file.
        data: see `read_unlabelled`.
        options: how.
        ranks: where to train; one rank.

    Raises:
        UserError: model or pictures cannot be used.
    """
    began = time.monotonic()
    model, card = load_model(weights)
    if card.pose_inputs:
        raise UserError(
            f"{weights}: takes keypoints, which nobody labels in new pictures; adapt a model without"
        )
    pictures = _drawn(read_unlabelled(data), options)
    cameras, counts = np.unique(pictures.cameras, return_counts=True)
    old = Adaptation(
        weights_path(weights),
        model,
        card,
        "old",
        "",
        len(pictures),
        dict(zip(cameras.tolist(), counts.tolist(), strict=True)),
        len(np.unique(pictures.tracks[pictures.tracks >= 0])),
    )
    print(f"{data}: {old.pictures} pictures, {len(cameras)} cameras, {old.tracks} tracks", file=sys.stderr)
    found = _adapt(old, pictures, options, ranks)
    return dataclasses.replace(found, seconds=time.monotonic() - began)


def _adapt(old: Adaptation, pictures: Unlabelled, options: AdaptOptions, ranks: Ranks) -> Adaptation:
    """Take the steps; what is found out about the pictures goes along with either network."""
    if options.guard and (reason := preconditions.too_little(pictures)):
        return dataclasses.replace(old, reason=reason)
    before, card = _deployed(old.model, old.card)
    data = EvaluationSet(pictures.records(), card.input_size, antialias=card.antialias)
    data.images.preload([data.size])
    model = copy.deepcopy(before)
    shift = mix_statistics(InferenceModel(model, card).to(ranks.device), data)
    points = _embedded(before, card, data, pictures, options, ranks)
    clumps = preconditions.share_in_clumps(points, pictures.cameras, options.seed)
    old = dataclasses.replace(old, shift=shift, clumps=clumps)
    if options.guard and (reason := preconditions.not_vehicles(shift) or preconditions.too_even(clumps)):
        return dataclasses.replace(old, reason=reason)
    judged = np.zeros(len(pictures), bool)
    if options.guard:
        labels = cluster(points, pictures, options.grouping)
        judged = hold_out(labels, pictures.tracks, options.seed)
    model = model if options.statistics else before
    if options.clusters:
        found = adapt_in_rounds(
            model,
            card,
            pictures.part(~judged),
            options.recipe,
            options.grouping,
            options.rounds,
            ranks,
            options.seed,
        )
        model, old = found.model, dataclasses.replace(old, rounds=found.rounds)
    if model is before:
        return dataclasses.replace(old, reason="no step changed the model")
    reason = "the guard was left out"
    if options.guard:
        was, now = (_view(each, card, data, pictures, judged, options, ranks) for each in (before, model))
        verdict = judge(was, now, np.flatnonzero(judged), pictures.cameras, pictures.tracks)
        old, reason = dataclasses.replace(old, verdict=verdict, reason=verdict.reason), verdict.reason
        if not verdict.new_is_better:
            return old
    return dataclasses.replace(old, model=model, card=card, kept="new", reason=reason)


def _deployed(model: nn.Module, card: Card) -> tuple[nn.Module, Card]:
    """The network and its card without the identity classifier, which knows the old vehicles alone."""
    card = card.replace(options={**card.options, "num_ids": 0})
    plain = create_model(card)
    plain.load_state_dict(
        {key: value for key, value in model.state_dict().items() if key in plain.state_dict()}
    )
    return plain.eval(), card


def _embedded(
    model: nn.Module,
    card: Card,
    data: EvaluationSet,
    pictures: Unlabelled,
    options: AdaptOptions,
    ranks: Ranks,
) -> np.ndarray:
    found = extract(InferenceModel(model, card).to(ranks.device), data, description="embed")
    return comparable(found.embedding, pictures.cameras, card.metric, options.grouping.centre)


def _view(
    model: nn.Module,
    card: Card,
    data: EvaluationSet,
    pictures: Unlabelled,
    judged: np.ndarray,
    options: AdaptOptions,
    ranks: Ranks,
) -> View:
    """What a network makes of all pictures, and of those that are judged when they are varied."""
    deployed = InferenceModel(model, card).to(ranks.device)
    plain = extract(deployed, data, description="judge").embedding
    chosen = pictures.part(judged)
    varied = extract(
        deployed, VariedSet(chosen.records(), card.input_size, antialias=card.antialias), description="judge"
    ).embedding
    centre = options.grouping.centre
    cameras, own = (each.cameras if centre else np.zeros_like(each.cameras) for each in (pictures, chosen))
    varied, plain = centre_cameras(varied, plain, own, cameras, card.metric)
    return View(plain, varied)


def _drawn(pictures: Unlabelled, options: AdaptOptions) -> Unlabelled:
    """At most so many pictures as are wanted, drawn at random, in their order."""
    if len(pictures) <= options.max_pictures:
        return pictures
    rng = np.random.default_rng(options.seed)
    return pictures.part(np.sort(rng.choice(len(pictures), options.max_pictures, replace=False)))
