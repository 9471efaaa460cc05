"""The section of the report on probabilities and verdicts of searches: promised against met."""

from training.evaluation.attributes import Reliability
from training.evaluation.promises import PROMISED, KeptPromises, by_size
from training.report.charts import reliability_chart
from training.report.markup import figure, percent, section, table, text
from zoo.card import Card


def sameness_section(kept: KeptPromises | None, card: Card, dataset: str) -> str:
    """Reliability of the probabilities, and false matches by size of gallery."""
    title = "Sure or not"
    if kept is None:
        words = (
            "The data set has too few vehicles to make searches up."
            if card.sameness
            else "The model has no sameness calibration, so that searches have no probabilities and no "
            "verdicts; <code>python -m training.calibrate --sameness --data-root DATA --weights "
            "WEIGHTS</code> makes one."
        )
        return section("sameness", title, f"<p>{words}</p>")
    figures = kept.quality.figures()
    lead = (
        f"{figures['searches']:,} searches in galleries of all sizes were made up of these pictures, a fifth "
        "of them for vehicles that the gallery does not have, and held to the model's sameness calibration. "
        f"F1 of <i>it is here, and it is this one</i>: {percent(figures['f1_match'])} % by the verdict "
        f"<i>match</i>, {percent(figures['f1_half'])} % where the first result is told with 50 % or more."
    )
    if (card.sameness.get("measured") or {}).get("dataset") == dataset:
        lead += f" The calibration was fitted on {text(dataset)} too, which flatters these figures."
    charts = _reliability("All results", kept.reliability) + _reliability("First results", kept.first)
    return section(
        "sameness",
        title,
        f'<p class="lead">{lead}</p><div class="pair">{charts}</div><h3>False matches</h3>{_table(kept)}'
        '<p class="lead">Share of searches for absent vehicles that end in <i>match</i>, in %, where so many '
        "are promised. In brackets where 95 % of the shares lie that other vehicles would have given "
        "(bootstrap over the vehicles that ask and those that are found).</p>",
    )


def _table(kept: KeptPromises) -> str:
    rows = [
        [
            f"{size:,}",
            *(f"{100 * e.met:.2f} [{100 * e.low:.2f}, {100 * e.high:.2f}]" for e in promises),
        ]
        for size, promises in by_size(kept.promises)
    ]
    return table(["images", *(f"promised {100 * share:g} %" for share in PROMISED)], rows, "False matches")


def _reliability(title: str, bins: Reliability) -> str:
    words = (
        "On the dashed line, a probability is what it says. "
        f"Expected calibration error {percent(bins.expected_error)} %. Larger dots stand for more results."
    )
    return figure(reliability_chart(bins.confidence, bins.accuracy, bins.count, "results"), title, words)
