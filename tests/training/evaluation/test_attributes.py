"""Accuracy, macro F1, confusion and calibration error, against their definitions spelt out."""

import numpy as np
import pytest

from training.datasets.records import UNKNOWN
from training.evaluation.attributes import judge_attribute, reliability

NAMES = ("red", "green", "blue", "never")


def by_definition(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Macro F1 with precision and recall of each class, over classes that occur."""
    scores = []
    for name in sorted(set(labels) | set(predicted)):
        hits = sum((labels == name) & (predicted == name))
        precision = hits / max(1, sum(predicted == name))
        recall = hits / max(1, sum(labels == name))
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return float(np.mean(scores))


def test_figures_of_random_predictions() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(-1, 3, 400), rng.normal(size=(400, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    found = judge_attribute(NAMES, labels, predicted, probabilities)
    known = labels != UNKNOWN
    assert found is not None
    assert found.num_images == known.sum()
    assert found.accuracy == pytest.approx((labels == predicted)[known].mean())
    assert found.macro_f1 == pytest.approx(by_definition(labels[known], predicted[known]))
    assert found.confusion[1, 2] == ((labels == 1) & (predicted == 2)).sum()
    gaps = 0.0
    confidence, right = probabilities.max(1)[known], (labels == predicted)[known]
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gaps += abs(confidence[inside].mean() - right[inside].mean()) * inside.sum() / known.sum()
    assert found.reliability is not None
    assert found.reliability.expected_error == pytest.approx(gaps)
    assert found.likelihood == pytest.approx(-np.log(probabilities[known, labels[known]]).mean())
    assert found.figures()["ece"] == found.reliability.expected_error


def test_sure_and_half_right_is_off_by_a_half() -> None:
    found = reliability(np.array([[1.0, 0.0]] * 10), np.array([0, 1] * 5))
    assert found.expected_error == pytest.approx(0.5)
    assert found.count.tolist() == [0] * 14 + [10]


def test_nothing_labelled_or_told() -> None:
    unknown = np.full(3, UNKNOWN)
    assert judge_attribute(NAMES, unknown, np.zeros(3, int)) is None
    assert judge_attribute(NAMES, np.zeros(3, int), unknown) is None


def test_classes_without_probabilities() -> None:
    found = judge_attribute(NAMES, np.array([0, 1]), np.array([0, 0]))
    assert found is not None
    assert "ece" not in found.figures()
    assert found.figures()["confusion"] == [[1, 0, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]
