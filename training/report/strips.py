"""Ranked strips: a query, what was found for it, and the regions that made the two alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from training.datasets.records import Record
from training.evaluation.distances import Embeddings
from training.evaluation.protocol import Embedded, Evaluation
from training.report.analysis import column
from training.report.examples import Example, RankedImage, choose, look_up
from training.report.markup import percent, text
from training.report.pictures import heat, photo
from training.report.saliency import Regions
from zoo.card import Card

KINDS = {"worst": "Worst queries", "median": "Median queries", "best": "Best queries"}
RESULTS = 5
LARGE, SMALL = 190, 96
"""Longer sides of photographs, in pixels."""


@dataclass(frozen=True)
class Strips:
    """Attributes: `markup` of all strips; `style` holds the photographs that lie below the heat maps;
    `with_regions` tells whether there are any."""

    markup: str
    style: str
    with_regions: bool


def make_strips(
    found: Embedded, evaluation: Evaluation, regions: Regions | None, card: Card, per_kind: int = 3
) -> Strips:
    """Choose queries, rank for them, and draw.

    Raises:
        UserError: an image cannot be used.
    """
    chosen = choose(evaluation, column(found.query_records, "vehicle_id"), per_kind)
    picked = [query for queries in chosen.values() for query in queries]
    examples = {example.query: example for example in look_up(found, evaluation, picked, RESULTS)}
    pairs = [(example.query, result.index) for example in examples.values() for result in example.results]
    heats = _heats(found, pairs, regions)
    parts = []
    for kind, queries in chosen.items():
        if queries:
            drawn = (_strip(found, examples[query], heats, card) for query in queries)
            parts.append(f'<h3 class="kind">{KINDS[kind]}</h3>{"".join(drawn)}')
    return Strips("".join(parts), _backgrounds(found, pairs) if heats else "", bool(heats))


def _heats(
    found: Embedded, pairs: Sequence[tuple[int, int]], regions: Regions | None
) -> dict[tuple[int, int], tuple[str, str]]:
    """For each pair the heat maps of query and result; nothing for a network that cannot be looked into."""
    if regions is None or not pairs:
        return {}
    asked, known = (Embeddings(part.embedding, found.metric) for part in (found.query, found.gallery))
    mean = np.mean([known.rows(block).mean(0) for block in known.blocks()], axis=0)
    queries, results = (np.array(side) for side in zip(*pairs, strict=True))
    toward_result = regions.contributions(
        [found.query_records[i] for i in queries], (known.rows(results) - mean).astype(np.float32)
    )
    toward_query = regions.contributions(
        [found.gallery_records[i] for i in results], (asked.rows(queries) - mean).astype(np.float32)
    )
    if toward_result is None or toward_query is None:
        return {}
    return {pair: (heat(a), heat(b)) for pair, a, b in zip(pairs, toward_result, toward_query, strict=True)}


def _backgrounds(found: Embedded, pairs: Iterable[tuple[int, int]]) -> str:
    """Each photograph once, as a style, however many heat maps lie above it."""
    shown = {(f"q{q}", found.query_records[q]) for q, _ in pairs}
    shown |= {(f"g{g}", found.gallery_records[g]) for _, g in pairs}
    rules = (
        f".{name}{{background-image:url({photo(record.path, SMALL, 62).address})}}"
        for name, record in sorted(shown, key=lambda entry: entry[0])
    )
    return "".join(rules)


def _strip(
    found: Embedded, example: Example, heats: dict[tuple[int, int], tuple[str, str]], card: Card
) -> str:
    record = found.query_records[example.query]
    shot = photo(record.path, LARGE)
    tiles = [
        '<li><div class="frame">'
        f'<img src="{shot.address}" width="{shot.width}" height="{shot.height}" alt="the query">'
        '<span class="badge">query</span></div>'
        f'<p class="what">{_who(record)}<br><span>{_told(found, example.query, record, card)}</span></p></li>'
    ]
    last = 0
    for result in example.results:
        if result.rank > last + 1:
            tiles.append(f'<li class="gap">… {result.rank - last - 1} more …</li>')
        last = result.rank
        tiles.append(_tile(found, example.query, result, heats.get((example.query, result.index))))
    matches = "1 image" if example.num_matches == 1 else f"{example.num_matches} images"
    return (
        f'<article class="query"><h4>{text(record.path.name)}</h4>'
        f"<p>average precision {percent(example.average_precision)} %, first right result at rank "
        f"{example.first_right}, {matches} to be found</p>"
        '<ol class="strip" tabindex="0" aria-label="Results, best first">'
        f"{''.join(tiles)}</ol></article>"
    )


def _tile(found: Embedded, query: int, result: RankedImage, heats: tuple[str, str] | None) -> str:
    record = found.gallery_records[result.index]
    shot = photo(record.path, LARGE)
    kind, mark, word = ("right", "✓", "right") if result.right else ("wrong", "✗", "wrong")
    below = ""
    if heats is not None:
        below = (
            f'<div class="heat"><img class="q{query}" src="{heats[0]}" '
            f'alt="regions of the query that make it like rank {result.rank}">'
            f'<img class="g{result.index}" src="{heats[1]}" '
            f'alt="regions of rank {result.rank} that make it like the query"></div>'
        )
    return (
        f'<li class="{kind}" title="{text(record.path.name)}"><div class="frame">'
        f'<img src="{shot.address}" width="{shot.width}" height="{shot.height}" '
        f'alt="rank {result.rank}, {word}: vehicle {record.vehicle_id} at camera {record.camera_id}">'
        f'<span class="badge">{result.rank} {mark} {word}</span></div>{below}'
        f'<p class="what">{_who(record)}<br><span>distance {result.distance:.3g}</span></p></li>'
    )


def _who(record: Record) -> str:
    return f"vehicle {record.vehicle_id}<br>camera {record.camera_id}"


def _told(found: Embedded, query: int, record: Record, card: Card) -> str:
    """What the model says of the query's colour and type, and what is labelled where that differs."""
    words = []
    for probabilities, label, names in (
        (found.query.color_probs, record.color, card.colors),
        (found.query.type_probs, record.type, card.types),
    ):
        if probabilities is None:
            continue
        best = int(probabilities[query].argmax())
        labelled = "" if label in (names[best], "") else f" (is {label})"
        words.append(text(f"{names[best]} {100 * probabilities[query, best]:.0f} %{labelled}"))
    return "<br>".join(words)
