"""Figures over queries alone, and over queries and gallery together."""

from pathlib import Path

import numpy as np
import pytest

from training.datasets.records import Classes, Record
from training.evaluation.extract import Extracted
from training.evaluation.protocol import Embedded, evaluate_embedded


def test_accuracy_over_queries_and_with_the_gallery() -> None:
    """One query of two is told right, and two gallery images of three that are labelled."""
    query = [Record(Path("a.jpg"), 1, 1, color="red"), Record(Path("b.jpg"), 2, 1, color="blue")]
    gallery = [
        Record(Path(f"{number}.jpg"), 1 + number % 2, 2, color=color)
        for number, color in enumerate(("red", "red", "blue", ""))
    ]
    told = np.eye(2, dtype=np.float32)
    found = Embedded(
        Extracted(np.eye(2, dtype=np.float32), told[[0, 0]]),
        Extracted(np.ones((4, 2), np.float32), told[[0, 1, 1, 1]]),
        query,
        gallery,
        "euclidean",
        Classes(("red", "blue"), ()),
    )
    evaluation = evaluate_embedded(found)
    figures = evaluation.figures()
    assert figures["color_accuracy"] == 0.5
    assert figures["color_accuracy_with_gallery"] == pytest.approx(3 / 5)
    assert "type_accuracy_with_gallery" not in figures
    assert "60.00 with the gallery" in evaluation.attribute_table()
