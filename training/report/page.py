"""The report's page, from an evaluation to one HTML file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.attributes import AttributeQuality
from training.evaluation import Embedded, Evaluation
from training.report.analysis import (
    Analysis,
    Group,
    analyse,
    column,
    groups_by_class,
    groups_by_look_alike,
)
from training.report.charts import cmc_chart, distance_chart, precision_chart, reliability_chart
from training.report.markup import bars, figure, matrix, percent, plain_table, text
from training.report.regions import Regions
from training.report.strips import Strips, make_strips
from zoo.card import Card
from zoo.files import write_text
from zoo.labels import COLORS, TYPES

STYLE_SHEET = Path(__file__).parent / "page.css"
RANKS_SHOWN = 30
DISTANCE_BINS = 60


@dataclass(frozen=True)
class Subject:
    """What is reported on: the data set's name, the model's card, the device, and the command that did it."""

    dataset: str
    card: Card
    device: str
    command: str


def write_report(
    path: Path, found: Embedded, evaluation: Evaluation, regions: Regions | None, subject: Subject
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the HTML file.
        found: embeddings and probabilities, with the records that they are of.
        evaluation: of them.
        regions: for the heat maps; None leaves them out.
        subject: what is reported on.

    Raises:
        UserError: an image cannot be used, or the file not be written.
    """
    analysis = analyse(found)
    strips = make_strips(found, evaluation, regions, subject.card)
    sections = [
        _summary(evaluation),
        _ranking(evaluation, analysis),
        _groups(found, evaluation),
        _cameras(analysis),
        _attributes(evaluation, subject.card),
        _strips(strips),
    ]
    title = f"{subject.card.name} on {subject.dataset}"
    links = {
        "figures": "Figures",
        "ranking": "Ranking",
        "groups": "What is hard",
        "cameras": "Cameras",
        "attributes": "Colour and type",
        "strips": "Queries",
    }
    write_text(
        path,
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title>"
        f"<style>{STYLE_SHEET.read_text(encoding='utf-8')}{strips.style}</style></head><body>"
        f'{_header(evaluation, subject)}<nav aria-label="Sections">'
        + "".join(f'<a href="#{name}">{words}</a>' for name, words in links.items())
        + f"</nav></header><main>{''.join(sections)}</main>{_footer(subject)}</body></html>\n",
    )


def _header(evaluation: Evaluation, subject: Subject) -> str:
    card = subject.card
    facts = {
        "input": f"{card.input_size[0]}x{card.input_size[1]}",
        "embedding": f"{card.outputs['embedding']}, {card.metric}",
        "trained by recipe": card.recipe or "-",
        "weights": f"sha256 {card.weights_sha256[:12]}" if card.weights_sha256 else "-",
        "licence": card.licence or "-",
        "device": subject.device,
    }
    listed = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in facts.items())
    return (
        f"<header><h1>{text(card.name)} on {text(subject.dataset)}</h1>"
        f'<p class="lead">Vehicle re-identification: {evaluation.ranking.num_queries:,} queries in '
        f"{evaluation.num_gallery:,} gallery images, by VeRi's protocol.</p>"
        f'<dl class="facts">{listed}</dl>'
    )


def _footer(subject: Subject) -> str:
    return (
        "<footer><p>Gallery images of the query's own vehicle at its own camera are left out of "
        "every ranking "
        "and of every figure here. mAP: mean over queries of the mean precision at their matches. mINP: mean "
        "of the share of matches among the results up to the last match. Macro F1: mean over the classes. "
        f"ECE: expected calibration error, 15 bins.</p><p>Made by "
        f"<code>{text(subject.command)}</code></p></footer>"
    )


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}" aria-label="{text(title)}"><h2>{text(title)}</h2>{body}</section>'


def _summary(evaluation: Evaluation) -> str:
    ranking = evaluation.ranking
    tiles = {
        "mAP": (ranking.mean_average_precision, ""),
        "mINP": (ranking.mean_inverse_negative_penalty, ""),
        **{f"Rank-{k}": (ranking.rank(k), "") for k in (1, 5, 10)},
    }
    for name, quality in (("colour", evaluation.color), ("type", evaluation.type)):
        if quality is not None:
            tiles[name] = (quality.accuracy, f"macro F1 {percent(quality.macro_f1)}")
    listed = "".join(
        f"<div><dt>{text(name)}</dt><dd>{percent(value)}"
        + (f'<span class="small">{text(small)}</span>' if small else "")
        + "</dd></div>"
        for name, (value, small) in tiles.items()
    )
    note = "All in percent."
    if ranking.num_without_match:
        note += (
            f" {ranking.num_without_match} of the {ranking.num_queries} queries have no match in the gallery "
            "and are left out."
        )
    return _section("figures", "Figures", f'<dl class="tiles">{listed}</dl><p class="lead">{note}</p>')


def _ranking(evaluation: Evaluation, analysis: Analysis) -> str:
    ranking = evaluation.ranking
    precision = ranking.average_precision[~np.isnan(ranking.average_precision)]
    if not len(precision):
        return _section("ranking", "Ranking", "<p>No query has a match in the gallery: nothing to rank.</p>")
    cmc = [ranking.rank(k) for k in range(1, min(RANKS_SHOWN, max(2, evaluation.num_gallery)) + 1)]
    missing = next((k for k, value in enumerate(cmc, 1) if value == 1.0), None)
    end = (
        f"every query has one by rank {missing}"
        if missing
        else f"{percent(1 - cmc[-1])} % have none by rank {len(cmc)}"
    )
    curve = figure(
        cmc_chart(cmc),
        "Cumulative match characteristic",
        f"{percent(cmc[0])} % of the queries have a right result in first place, and {end}."
        + plain_table(("rank", "queries, %"), [(k, f"{100 * v:.2f}") for k, v in enumerate(cmc, 1)]),
    )
    poor = int((precision < 0.5).sum())
    spread = figure(
        precision_chart(precision),
        "Average precision of the queries",
        f"The median query reaches {percent(float(np.median(precision)))} %; {poor} of {len(precision)} stay "
        "below 50 %. Where the mean is pulled down by a tail, the tail is shown below, among the worst.",
    )
    fine = analysis.distances
    threshold, error = fine.equal_error()
    counted = fine.coarse(DISTANCE_BINS)
    distances = figure(
        distance_chart(counted.edges, counted.same, counted.different, threshold),
        "Distances of same and different vehicles",
        f"{int(fine.same.sum()):,} pairs of one vehicle at two cameras, {int(fine.different.sum()):,} of two "
        "vehicles; each curve has the same area. The less they overlap, the better one threshold "
        "separates them."
        + (
            f" At {threshold:.3g} (dashed) either error is {100 * error:.2f} %: where to start from "
            f"for an alarm."
            if not np.isnan(error)
            else ""
        ),
    )
    look_alike = figure(
        bars(groups_by_look_alike(ranking.average_precision, analysis.nearest_other)),
        "mAP by the distance to the nearest look-alike",
        "Queries in fifths, by the distance to the nearest gallery image of another vehicle; those "
        "in the first row "
        "have the closest doubles. A steep fall from bottom to top means that look-alikes, not views "
        "or light, "
        "as what costs precision.",
    )
    body = f'<div class="pair">{curve}{spread}{distances}{look_alike}</div>'
    return _section("ranking", "Ranking", body)


def _groups(found: Embedded, evaluation: Evaluation) -> str:
    precision = evaluation.ranking.average_precision
    parts = []
    for name, field, names in (
        ("colour", "color", COLORS),
        ("type", "type", TYPES),
    ):
        groups = sorted(
            groups_by_class(precision, column(found.query_records, field), names), key=lambda g: g.precision
        )
        if groups:
            parts.append(figure(bars(groups), f"mAP by {name}", _hardest(groups, name)))
    if not parts:
        return _section("groups", "What is hard", "<p>No query with a match has a colour or type label.</p>")
    return _section("groups", "What is hard", f'<div class="pair">{"".join(parts)}</div>')


def _hardest(groups: list[Group], name: str) -> str:
    worst, best = groups[0], groups[-1]
    words = f"By the query's labelled {name}, hardest first."
    if len(groups) > 1:
        words += (
            f" {text(worst.name).capitalize()} vehicles are found worst ({percent(worst.precision)} %), "
            f"{text(best.name)} ones best ({percent(best.precision)} %)."
        )
    if min(group.count for group in groups) < 10:
        words += " Rows of fewer than ten queries say little."
    return words


def _cameras(analysis: Analysis) -> str:
    pairs = analysis.camera_pairs
    judged = pairs.count > 0
    if len(pairs.cameras) < 2 or not judged.any():
        words = "No vehicle was seen by two cameras: no pair of cameras can be judged."
        return _section("cameras", "Cameras", f"<p>{words}</p>")
    names = [str(camera) for camera in pairs.cameras]
    cells = [
        [f"{100 * v:.0f}" if n else "" for v, n in zip(*row, strict=True)]
        for row in zip(pairs.precision, pairs.count, strict=True)
    ]
    titles = [
        [
            f"camera {a} to {b}: "
            + (
                f"mAP {100 * pairs.precision[i, j]:.1f} %, {pairs.count[i, j]} queries"
                if judged[i, j]
                else "no query"
            )
            for j, b in enumerate(names)
        ]
        for i, a in enumerate(names)
    ]
    # Dark is bad: what has to be found in the matrix are the pairs that fail.
    table = matrix("mAP by camera pair", names, 1 - pairs.precision, cells, titles)
    few = min(5, int(pairs.count.max()))
    enough = pairs.count >= few
    worst = np.where(enough, pairs.precision, np.inf)
    i, j = np.unravel_index(int(worst.argmin()), worst.shape)
    words = (
        "Rows: the query's camera. Columns: the camera whose images alone are searched. mAP in "
        "percent, the darker "
        f"the worse; empty where no query has a match. The hardest pair with {few} queries or more is "
        f"camera {names[i]} to camera {names[j]} ({percent(float(pairs.precision[i, j]))} %, "
        f"{pairs.count[i, j]} queries). A dark row points at a camera's queries, a dark column at its "
        f"gallery images."
    )
    if pairs.num_left_out:
        words += f" The {len(names)} cameras with the most queries; {pairs.num_left_out} are left out."
    return _section("cameras", "Cameras", figure(table, "mAP by camera pair", words))


def _attributes(evaluation: Evaluation, card: Card) -> str:
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
        return _section("attributes", "Colour and type", f"<p>{words}</p>")
    return _section("attributes", "Colour and type", f'<div class="pair">{"".join(parts)}</div>')


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


def _strips(strips: Strips) -> str:
    if not strips.markup:
        return _section("strips", "Queries", "<p>No query has a match in the gallery.</p>")
    key = (
        "<li><i></i>✓ right: the query's vehicle at another camera</li>"
        '<li><i class="no"></i>✗ wrong: another vehicle</li>'
    )
    words = (
        "Each row is a query and its nearest gallery images. Where no result shown is right, the first right "
        "one comes last."
    )
    if strips.with_regions:
        key += '<li><i class="hot"></i>regions that made the two alike</li>'
        words += (
            " Below each result, query (left) and result (right) with the regions that made them "
            "more alike than "
            "any two vehicles are: each position's share in the similarity, through the pooling, of "
            "the network "
            "linearised where it stands. The strongest position of each picture is brightest, so "
            "colours compare "
            "within a picture, not between pictures; and a map is as coarse as the network's last maps."
        )
    else:
        words += " This network does not say where its last maps are, so there are no heat maps."
    return _section(
        "strips", "Queries", f'<p class="lead">{words}</p><ul class="key">{key}</ul>{strips.markup}'
    )
