"""The section of the report on colour and type: confusion and reliability."""

import numpy as np

from training.evaluation.attributes import AttributeQuality
from training.evaluation.protocol import Evaluation
from training.report.charts import reliability_chart
from training.report.markup import figure, matrix, percent, section, text
from zoo.card import Card


def attributes_section(evaluation: Evaluation, card: Card) -> str:
    """Confusion matrices and reliability diagrams, of what the model tells."""
    parts = []
    for name, field, quality in (
        ("Colour", "color", evaluation.color),
        ("Type", "type", evaluation.type),
    ):
        if quality is not None:
            parts.append(_confusion(name, quality))
            if quality.reliability is not None:
                parts.append(_reliability(name, quality, card.temperature[field]))
    if not parts:
        words = "The model tells neither colour nor type, or the queries have no labels of them."
        return section("attributes", "Colour and type", f"<p>{words}</p>")
    return section("attributes", "Colour and type", f'<div class="pair">{"".join(parts)}</div>')


def _confusion(name: str, quality: AttributeQuality) -> str:
    occurs = np.flatnonzero(quality.confusion.sum(0) + quality.confusion.sum(1))
    names = [quality.names[i] for i in occurs]
    counts = quality.confusion[np.ix_(occurs, occurs)]
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(1, keepdims=True)
    cells = [[str(n) if n else "" for n in row] for row in counts]
    titles = [
        [f"{a}, told {b}: {counts[i, j]} images" for j, b in enumerate(names)] for i, a in enumerate(names)
    ]
    table = matrix(f"Confusion of {name.lower()}", names, shares, cells, titles, tilted=True)
    wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
    i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
    words = (
        f"Rows: the label; columns: what the model says; images, shaded by their share of the row. "
        f"{percent(quality.accuracy)} % of {quality.num_images} are right, macro F1 "
        f"{percent(quality.macro_f1)} %."
    )
    if wrong[i, j]:
        words += f" Most often {text(names[i])} is taken for {text(names[j])} ({wrong[i, j]} images)."
    return figure(table, f"{name}: confusion", words)


def _reliability(name: str, quality: AttributeQuality, temperature: float) -> str:
    bins = quality.reliability
    assert bins is not None
    filled = bins.count > 0
    gap = float((bins.confidence[filled] * bins.count[filled]).sum() / bins.count.sum()) - quality.accuracy
    lean = "more sure than right" if gap > 0 else "more often right than sure"
    words = (
        "On the dashed line, a probability is what it says: of the predictions told with 80 %, 80 % "
        "are right. "
        f"Expected calibration error {percent(bins.expected_error)} %; on average the model is {lean} "
        f"({100 * abs(gap):.1f} points). Temperature {temperature:.3g}"
        + (", not calibrated." if temperature == 1.0 else ", from the card.")
        + " Larger dots stand for more images."
    )
    return figure(
        reliability_chart(bins.confidence, bins.accuracy, bins.count), f"{name}: reliability", words
    )
