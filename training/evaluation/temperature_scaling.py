"""Temperature scaling: one number an attribute, so that a probability says how often it is right.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017: logits are divided by a temperature, fitted
by the likelihood of the labels. No prediction changes, for the order of a row's logits stays.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.data.pose_maps import PoseInputs
from training.datasets.records import UNKNOWN, Attribute, Classes, Record
from training.evaluation.attributes import AttributeQuality, judge_attribute
from training.evaluation.extract import EvaluationSet, Extracted, extract
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel

Sample = TypeVar("Sample")

ATTRIBUTES: tuple[Attribute, ...] = ("color", "type")
LIMITS = (0.05, 20.0)
"""Of a temperature: a network that makes no mistake would ask for 0."""


@dataclass(frozen=True)
class Fit:
    """One attribute's temperature, and how well it was told before and after."""

    temperature: float
    before: AttributeQuality
    after: AttributeQuality


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature, within `LIMITS`, that makes the labels likeliest.

    The negative log-likelihood is convex in 1 / temperature, so its slope has one zero at most: bisection.

    Args:
        logits: [N, classes], up to a constant a row: logarithms of probabilities will do.
        labels: int [N], all known.
    """
    logits = logits.astype(np.float64)
    chosen = logits[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        scaled = inverse * logits
        weights = np.exp(scaled - scaled.max(1, keepdims=True))
        return float(((weights * logits).sum(1) / weights.sum(1) - chosen).mean())

    low, high = np.log(1 / LIMITS[1]), np.log(1 / LIMITS[0])
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(np.exp(middle)) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What [N, classes] would be had their logits been divided by `temperature`."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-38)) / temperature
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def extract_uncalibrated(
    model: InferenceModel, card: Card, records: Sequence[Record], batch_size: int = 64, workers: int = 0
) -> Extracted:
    """Run a model, at temperature 1, over images as evaluation sees them."""
    pose = PoseInputs(**{name: True for name in card.pose_inputs})
    data = EvaluationSet(records, card.input_size, pose, antialias=card.antialias)
    plain = InferenceModel(model.model, card.replace(temperature=dict.fromkeys(ATTRIBUTES, 1.0)))
    return extract(plain.to(model.device), data, batch_size, workers, "calibrate")


def fit_attributes(card: Card, found: Extracted, records: Sequence[Record]) -> dict[str, Fit]:
    """Fit each attribute that both the model and the labels have.

    Args:
        card: tells the classes.
        found: of the records, at temperature 1.
        records: the images.

    Raises:
        UserError: there is no such attribute.
    """
    fits: dict[str, Fit] = {}
    classes = Classes(card.colors, card.types)
    for attribute, names in zip(ATTRIBUTES, (card.colors, card.types), strict=True):
        probabilities = getattr(found, f"{attribute}_probs")
        labels = classes.indices(records, attribute)
        if probabilities is None or not (labels != UNKNOWN).any():
            continue
        known = labels != UNKNOWN
        logits = np.log(np.maximum(probabilities[known].astype(np.float64), 1e-38))
        temperature = fit_temperature(logits, labels[known])
        predicted = probabilities.argmax(1)
        before, after = (
            judge_attribute(names, labels, predicted, given)
            for given in (probabilities, soften(probabilities, temperature))
        )
        assert before is not None and after is not None
        fits[attribute] = Fit(temperature, before, after)
    if not fits:
        raise UserError(
            f"{card.name}: nothing to calibrate: the model tells neither colour nor type, or none is labelled"
        )
    return fits


def calibrated(card: Card, fits: dict[str, Fit]) -> Card:
    """The card with the temperatures of `fits`; others stay."""
    fitted = {name: fit.temperature for name, fit in fits.items()}
    return dataclasses.replace(card, temperature={**card.temperature, **fitted})


def spread_sample(records: Sequence[Sample], limit: int) -> list[Sample]:
    """At most `limit` records, evenly from the first vehicle to the last, in order."""
    if len(records) <= limit:
        return list(records)
    return [records[i] for i in np.linspace(0, len(records) - 1, limit).round().astype(int)]
