"""The sections of the report on ranking: figures, curves, what is hard, cameras."""

import numpy as np

from training.evaluation.protocol import Embedded, Evaluation
from training.report.analysis import Analysis, Group, groups_by_class, groups_by_look_alike
from training.report.charts import cmc_chart, distance_chart, precision_chart
from training.report.markup import bars, figure, matrix, percent, plain_table, section, text

RANKS_SHOWN = 30
DISTANCE_BINS = 60


def summary(evaluation: Evaluation) -> str:
    """The main figures, as tiles."""
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
    return section("figures", "Figures", f'<dl class="tiles">{listed}</dl><p class="lead">{note}</p>')


def ranking_section(evaluation: Evaluation, analysis: Analysis) -> str:
    """CMC, average precision, distances, look-alikes."""
    ranking = evaluation.ranking
    precision = ranking.average_precision[~np.isnan(ranking.average_precision)]
    if not len(precision):
        return section("ranking", "Ranking", "<p>No query has a match in the gallery: nothing to rank.</p>")
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
        "have the closest doubles. A steep fall from bottom to top means that look-alikes are what costs "
        "precision, rather than views or light.",
    )
    body = f'<div class="pair">{curve}{spread}{distances}{look_alike}</div>'
    return section("ranking", "Ranking", body)


def groups_section(found: Embedded, evaluation: Evaluation) -> str:
    """mAP by colour and by type."""
    precision = evaluation.ranking.average_precision
    parts = []
    for name, labels in (
        ("colour", [record.color for record in found.query_records]),
        ("type", [record.type for record in found.query_records]),
    ):
        groups = sorted(groups_by_class(precision, labels), key=lambda g: g.precision)
        if groups:
            parts.append(figure(bars(groups), f"mAP by {name}", _hardest(groups, name)))
    if not parts:
        return section("groups", "What is hard", "<p>No query with a match has a colour or type label.</p>")
    return section("groups", "What is hard", f'<div class="pair">{"".join(parts)}</div>')


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


def cameras_section(analysis: Analysis) -> str:
    """mAP by camera pair."""
    pairs = analysis.camera_pairs
    judged = pairs.count > 0
    if len(pairs.cameras) < 2 or not judged.any():
        words = "No vehicle was seen by two cameras: no pair of cameras can be judged."
        return section("cameras", "Cameras", f"<p>{words}</p>")
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
    return section("cameras", "Cameras", figure(table, "mAP by camera pair", words))
