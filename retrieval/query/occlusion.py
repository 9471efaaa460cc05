"""Which regions of two images make the model find them alike, found by covering them one after another.

Occlusion sensitivity (Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014), on
the distance of two embeddings instead of a class: a search node has no gradients, but it can encode an image
with a part of it covered. Where that takes the two images further apart, the part made them alike; where it
brings them nearer, the part set them apart.
"""

from dataclasses import dataclass

import numpy as np

from retrieval.gallery.ranking import similarity, unit_length
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from zoo.preprocess import ImageError

GRID = 7
"""Cells a side. A cover is two cells wide and high, so that covers overlap by half."""

ENCODINGS = 2 * (GRID - 1) ** 2 + 2
"""Of a comparison."""


@dataclass(frozen=True)
class ImageComparison:
    """Two images side by side.

    Attributes:
        score: similarity, 0 to 1, as a search would say of these very pixels.
        distance: in the card's metric.
        regions: float64 [GRID, GRID] for each of the two: by how much covering the cell changes the squared
            distance (cosine distance for cosine models), averaged over the covers that touch it; positive
            where the cell makes the two alike.
    """

    score: float
    distance: float
    regions: tuple[np.ndarray, np.ndarray]


def compare(encoder: Encoder, first: InputImage, second: InputImage) -> ImageComparison:
    """Encode two images, whole and with parts covered: `ENCODINGS` images in all.

    Raises:
        ImageError: an image cannot be used.
        UserError: the encoder fails.
    """
    card = encoder.card
    images = [image.resized(card.input_size, card.antialias) for image in (first, second)]
    covered = [cover for image in images for cover in _covers(image)]
    predictions = encoder.encode([InputImage.from_pixels(image) for image in (*images, *covered)])
    if predictions.errors:
        raise ImageError(next(iter(predictions.errors.values())))
    metric = encoder.card.metric
    vectors = [vector if metric == "euclidean" else unit_length(vector) for vector in predictions.embedding]
    whole = [vector.astype(np.float64) for vector in vectors[:2]]
    parts = np.stack(vectors[2:]).astype(np.float64).reshape(2, -1, len(whole[0]))
    apart = _apart(whole[0], whole[1], metric)
    changes = [
        np.array([_apart(part, other, metric) for part in side]) - apart
        for side, other in zip(parts, (whole[1], whole[0]), strict=True)
    ]
    distance = float(np.sqrt(apart)) if metric == "euclidean" else apart
    score = float(similarity(np.array([distance]), whole[0], metric)[0])
    return ImageComparison(score, distance, (_spread(changes[0]), _spread(changes[1])))


def _apart(one: np.ndarray, other: np.ndarray, metric: str) -> float:
    """Squared Euclidean distance, which is additive over dimensions, or cosine distance."""
    return float(((one - other) ** 2).sum() if metric == "euclidean" else 1 - one @ other)


def _edges(length: int) -> list[int]:
    return [round(length * step / GRID) for step in range(GRID + 1)]


def _covers(image: np.ndarray) -> list[np.ndarray]:
    """The image with each 2 by 2 block of cells in its own mean colour, row by row."""
    rows, columns = _edges(image.shape[0]), _edges(image.shape[1])
    fill = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    covers = []
    for row in range(GRID - 1):
        for column in range(GRID - 1):
            covered = image.copy()
            covered[rows[row] : rows[row + 2], columns[column] : columns[column + 2]] = fill
            covers.append(covered)
    return covers


def _spread(changes: np.ndarray) -> np.ndarray:
    """From one figure a cover to one a cell: the mean of the covers over it."""
    blocks = changes.reshape(GRID - 1, GRID - 1)
    total, count = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    for down in (0, 1):
        for right in (0, 1):
            part = np.s_[down : down + GRID - 1, right : right + GRID - 1]
            total[part] += blocks
            count[part] += 1
    return total / count
