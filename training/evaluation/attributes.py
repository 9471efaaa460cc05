"""How well colours and types are told: accuracy, macro F1, confusion, and what probabilities are worth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.datasets.records import UNKNOWN

BINS = 15
"""Of confidence, as in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""


@dataclass(frozen=True)
class Reliability:
    """Predictions by how sure they were, in bins of equal width from 0 to 1.

    Attributes:
        confidence: float64 [bins], the mean probability of the predicted class; NaN for an empty bin.
        accuracy: float64 [bins], the share of right predictions; NaN for an empty bin.
        count: int64 [bins].
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error: |accuracy - confidence|, averaged over the predictions."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((gaps * self.count[filled]).sum() / self.count.sum())


@dataclass(frozen=True)
class AttributeQuality:
    """How well one attribute is told, over the images that have a label.

    Attributes:
        names: of the classes, in class order.
        confusion: int64 [classes, classes]: images by label (row) and prediction (column).
        reliability: None where only classes are known and no probabilities.
        likelihood: the mean negative log-likelihood of the labels in nats, likewise.
    """

    names: tuple[str, ...]
    confusion: np.ndarray
    reliability: Reliability | None = None
    likelihood: float | None = None

    @property
    def num_images(self) -> int:
        """Images that have both a label and a prediction."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of images that are told right."""
        return float(np.trace(self.confusion) / self.num_images)

    @property
    def macro_f1(self) -> float:
        """F1 = 2 TP / (2 TP + FP + FN) averaged over the classes that were labelled or predicted at all."""
        hits, labelled, predicted = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        occurs = labelled + predicted > 0
        return float((2 * hits[occurs] / (labelled + predicted)[occurs]).mean())

    def figures(self) -> dict[str, Any]:
        """For `--json`: the figures, the matrix and the bins."""
        figures: dict[str, Any] = {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "num_images": self.num_images,
            "classes": list(self.names),
            "confusion": self.confusion.tolist(),
        }
        if self.reliability is not None:
            kept = self.reliability
            bins = zip(kept.confidence, kept.accuracy, kept.count, strict=True)
            figures |= {
                "ece": self.reliability.expected_error,
                "nll": self.likelihood,
                "reliability": [
                    {"confidence": float(c), "accuracy": float(a), "count": int(n)} for c, a, n in bins if n
                ],
            }
        return figures


def judge_attribute(
    names: tuple[str, ...],
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray | None = None,
) -> AttributeQuality | None:
    """Hold predictions against labels; None where no image has both.

    Args:
        names: of the classes.
        labels: int [N], `UNKNOWN` where there is none.
        predicted: int [N], likewise.
        probabilities: float [N, classes], rows summing to 1.
    """
    known = (labels != UNKNOWN) & (predicted != UNKNOWN)
    if not known.any():
        return None
    labels, predicted = labels[known], predicted[known]
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    if probabilities is None:
        return AttributeQuality(names, confusion)
    probabilities = probabilities[known].astype(np.float64)
    likelihood = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-38)).mean()
    return AttributeQuality(names, confusion, reliability(probabilities, labels), float(likelihood))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort the predictions [N, classes] into bins ((k - 1) / bins, k / bins] of their confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        sure, hit = (np.bincount(index, values, minlength=bins) / count for values in (confidence, right))
    return Reliability(sure, hit, count)
