"""The figures of an evaluation, and how embeddings of queries and gallery become them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.batches import PoseInputs
from training.datasets.records import UNKNOWN, VERI, Attribute, Classes, Record
from training.evaluation.attributes import AttributeQuality, judge_attribute
from training.evaluation.deployed import deployed_model
from training.evaluation.extract import EvaluationSet, Extracted, extract
from training.evaluation.metrics import Labels, RankMetrics, evaluate_ranking
from training.options import RANKS
from zoo.errors import UserError
from zoo.inference import InferenceModel


@dataclass(frozen=True)
class Embedded:
    """What a model says of a data set's queries and gallery; `metric` is the one to compare embeddings by,
    `classes` are those that the model tells."""

    query: Extracted
    gallery: Extracted
    query_records: Sequence[Record]
    gallery_records: Sequence[Record]
    metric: str
    classes: Classes

    def unknown_labels(self) -> dict[Attribute, list[str]]:
        """What queries are labelled with and the model does not know, for each attribute that it tells."""
        unknown: dict[Attribute, list[str]] = {}
        colors = {record.color for record in self.query_records} - {"", *self.classes.colors}
        types = {record.type for record in self.query_records} - {"", *self.classes.types}
        if colors and self.query.color_probs is not None:
            unknown["color"] = sorted(colors)
        if types and self.query.type_probs is not None:
            unknown["type"] = sorted(types)
        return unknown


def ranking_figures(ranking: RankMetrics, ranks: Sequence[int] = RANKS) -> dict[str, float | None]:
    """A ranking's figures by name, as fractions; None where no query has a match."""
    values = {
        "mAP": ranking.mean_average_precision,
        "mINP": ranking.mean_inverse_negative_penalty,
        **{f"rank{k}": ranking.rank(k) for k in ranks},
    }
    return {name: None if np.isnan(value) else value for name, value in values.items()}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        ranking: of the gallery, for each query.
        color_right, type_right: float64 [Q], 1 where the query's colour (type) was told right and 0 where
            wrong; NaN where model or labels have no such attribute.
        num_gallery: images searched.
        color, type: how well each is told over the query images; None where model or labels have no such
            attribute.
        color_right_everywhere, type_right_everywhere: as `color_right`, over queries and gallery together,
            which PAMTRI's code counts; empty where the gallery was not judged.
    """

    ranking: RankMetrics
    color_right: np.ndarray
    type_right: np.ndarray
    num_gallery: int
    color: AttributeQuality | None = None
    type: AttributeQuality | None = None
    color_right_everywhere: np.ndarray = field(default_factory=lambda: np.zeros(0))
    type_right_everywhere: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def color_accuracy(self) -> float:
        """Over the query images; NaN where no colour is labelled or told."""
        return share(self.color_right)

    @property
    def type_accuracy(self) -> float:
        """Over the query images; NaN where no type is labelled or told."""
        return share(self.type_right)

    def figures(self, ranks: Sequence[int] = RANKS) -> dict[str, Any]:
        """The figures by name, as fractions; None for one that does not exist."""
        values = {"color_accuracy": self.color_accuracy, "type_accuracy": self.type_accuracy}
        for name in ("color", "type"):
            # Of an evaluation that judged no gallery, there is no such figure.
            if not np.isnan(everywhere := share(getattr(self, f"{name}_right_everywhere"))):
                values[f"{name}_accuracy_with_gallery"] = everywhere
        for name, quality in self.attributes().items():
            values[f"{name}_macro_f1"] = quality.macro_f1
            if quality.reliability is not None:
                values[f"{name}_ece"] = quality.reliability.expected_error
        return {
            **ranking_figures(self.ranking, ranks),
            **{name: None if np.isnan(value) else value for name, value in values.items()},
            "num_queries": self.ranking.num_queries,
            "num_gallery": self.num_gallery,
            "num_without_match": self.ranking.num_without_match,
        }

    def attributes(self) -> dict[str, AttributeQuality]:
        """Those of `color` and `type` that are told and labelled."""
        found = {"color": self.color, "type": self.type}
        return {name: quality for name, quality in found.items() if quality is not None}

    def attribute_table(self) -> str:
        """How well colour and type are told, lines for a person to read; empty where neither is."""
        lines = [f"{'':<8}{'accuracy':>9}{'macro F1':>9}{'ECE':>9}{'images':>9}"]
        for name, quality in self.attributes().items():
            kept = quality.reliability
            error = "-" if kept is None else f"{100 * kept.expected_error:.2f}"
            cells = [f"{100 * quality.accuracy:.2f}", f"{100 * quality.macro_f1:.2f}", error]
            cells.append(str(quality.num_images))
            title = "colour" if name == "color" else name
            lines.append(f"{title:<8}" + "".join(f"{cell:>9}" for cell in cells))
            if not np.isnan(everywhere := share(getattr(self, f"{name}_right_everywhere"))):
                lines[-1] += f"  ({100 * everywhere:.2f} with the gallery's images, as PAMTRI counts)"
        return "\n".join([*lines, ""]) if len(lines) > 1 else ""

    def table(self, title: str, ranks: Sequence[int] = RANKS) -> str:
        """The figures for a person to read, in percent."""
        names = {
            "mAP": "mAP",
            "mINP": "mINP",
            **{f"rank{k}": f"Rank-{k}" for k in ranks},
            "color_accuracy": "colour",
            "type_accuracy": "type",
        }
        figures = self.figures(ranks)
        cells = ["-" if figures[key] is None else f"{100 * figures[key]:.2f}" for key in names]
        head = f"{'':<{len(title)}}" + "".join(f"{name:>9}" for name in names.values())
        lines = [head, title + "".join(f"{cell:>9}" for cell in cells)]
        lines.append(f"{figures['num_queries']} queries, {self.num_gallery} gallery images")
        if self.ranking.num_without_match:
            lines[-1] += f"; {self.ranking.num_without_match} queries without any match are left out"
        return "\n".join(lines)


def told_right(predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """1 for a row that is predicted as labelled, 0 for one that is not, NaN where either is `UNKNOWN`."""
    known = (labelled != UNKNOWN) & (predicted != UNKNOWN)
    return np.where(known, predicted == labelled, np.nan)


def share(right: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN where none is."""
    known = right[~np.isnan(right)]
    return float(known.mean()) if len(known) else float("nan")


def evaluate_embeddings(
    query: Extracted,
    gallery: np.ndarray,
    query_records: Sequence[Record],
    gallery_records: Sequence[Record],
    metric: str,
    classes: Classes,
) -> Evaluation:
    """Judge queries' predictions, ranked by the distance of their embeddings to the gallery's, [G, D].

    Colours and types are compared by name: a label that is none of the model's `classes` does not count.
    """

    def column(records: Sequence[Record], name: str) -> np.ndarray:
        return np.array([getattr(record, name) for record in records], np.int64)

    labels = Labels.of(query_records, gallery_records)
    try:
        ranking = evaluate_ranking(
            query.embedding,
            gallery,
            labels.query_ids,
            labels.gallery_ids,
            labels.query_cameras,
            labels.gallery_cameras,
            metric,
        )
    except ValueError as error:
        raise UserError(
            f"the embeddings cannot be compared ({error}): are the weights damaged, or did "
            "the training diverge? Copy them again, or train with a lower [optimizer] lr"
        ) from error
    colors, types = (classes.indices(query_records, name) for name in ("color", "type"))
    return Evaluation(
        ranking,
        told_right(query.color, colors),
        told_right(query.type, types),
        len(gallery_records),
        judge_attribute(classes.colors, colors, query.color, query.color_probs),
        judge_attribute(classes.types, types, query.type, query.type_probs),
    )


def evaluate_model(
    model: InferenceModel,
    query: EvaluationSet,
    gallery: EvaluationSet,
    metric: str = "euclidean",
    classes: Classes = VERI,
    batch_size: int = 64,
    workers: int = 0,
) -> Evaluation:
    """Extract and judge."""
    found = extract(model, query, batch_size, workers, "query")
    embeddings = extract(model, gallery, batch_size, workers, "gallery").embedding
    return evaluate_embeddings(found, embeddings, query.records, gallery.records, metric, classes)


def embed_with_weights(
    weights: str | Path,
    query: Sequence[Record],
    gallery: Sequence[Record],
    device: torch.device,
    batch_size: int = 64,
    workers: int = 0,
) -> Embedded:
    """Run a weights file, a model of the zoo or an exported ONNX file, with the pose inputs of its card."""
    with deployed_model(weights, device, len(query) + len(gallery)) as (deployed, card):
        pose = PoseInputs(**{name: True for name in card.pose_inputs})
        asked, known = (
            extract(
                deployed,
                EvaluationSet(records, card.input_size, pose, antialias=card.antialias),
                batch_size,
                workers,
                name,
            )
            for records, name in ((query, "query"), (gallery, "gallery"))
        )
    return Embedded(asked, known, query, gallery, card.metric, Classes(card.colors, card.types))


def evaluate_weights(
    weights: str | Path,
    query: Sequence[Record],
    gallery: Sequence[Record],
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
) -> Evaluation:
    """Embed and judge."""
    device = torch.device(device)
    return evaluate_embedded(embed_with_weights(weights, query, gallery, device, batch_size, workers))


def evaluate_embedded(found: Embedded) -> Evaluation:
    """Judge what a model says of a data set."""
    evaluation = evaluate_embeddings(
        found.query,
        found.gallery.embedding,
        found.query_records,
        found.gallery_records,
        found.metric,
        found.classes,
    )
    colors, types = (found.classes.indices(found.gallery_records, name) for name in ("color", "type"))
    return replace(
        evaluation,
        color_right_everywhere=np.append(evaluation.color_right, told_right(found.gallery.color, colors)),
        type_right_everywhere=np.append(evaluation.type_right, told_right(found.gallery.type, types)),
    )
