"""The README's table of models, made of their cards alone, so that the two cannot disagree."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.errors import UserError
from zoo.files import write_text
from zoo.registry import MEASURED, list_models

BEGIN = "<!-- zoo table: written by `python -m zoo table --write README.md` -->"
END = "<!-- end of the zoo table -->"

_HEAD = (
    "model",
    "input",
    "embedding",
    "parameters",
    "MACs at its input / at 256",
    "CPU ms an image at its input / at 256",
    "mAP / Rank-1",
    "colour / type",
    "weights",
)


def render_table() -> str:
    """Write the table of the shipped models and of those that were only measured, in Markdown."""
    rows = [_row(card, "shipped") for card in list_models()]
    rows += [_row(card, "train it") for card in list_models(MEASURED)]
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD)), *map(_line, rows)]
    cards = (*list_models(), *list_models(MEASURED))
    return "\n".join([*lines, "", *_footnotes(cards)])


def write_table(path: Path) -> bool:
    """Put the table between its two marks; tell whether the file changed.

    Raises:
        UserError: the file cannot be read, or lacks the two marks in lines of their own.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); name the README") from error
    lines = text.splitlines()
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise UserError(f"{path}: lacks the lines `{BEGIN}` and `{END}`, between which the table goes")
    before, after = lines[: lines.index(BEGIN) + 1], lines[lines.index(END) :]
    new = "\n".join([*before, "", render_table(), "", *after]) + "\n"
    if new != text:
        write_text(path, new)
    return new != text


def _row(card: Card, weights: str) -> list[str]:
    height, width = card.input_size
    pose = "".join(f" + {name}" for name in card.pose_inputs)
    measured = card.metrics[0] if card.metrics else {}
    own, square = _cost(card, card.input_size), _cost(card, (256, 256))
    return [
        f"`{card.name}`",
        f"{height}x{width} RGB{pose}",
        f"{card.outputs['embedding']}, {card.metric}",
        f"{card.parameters / 1e6:.2f} M" if card.parameters else "",
        _pair(_macs(own), _macs(square)),
        _pair(_latency(own), _latency(square)),
        _pair(_percent(measured, "mAP"), _percent(measured, "rank1")),
        _pair(_percent(measured, "color_accuracy"), _percent(measured, "type_accuracy")),
        weights,
    ]


def _cost(card: Card, size: tuple[int, int]) -> dict[str, Any]:
    return next((cost for cost in card.costs if tuple(cost["size"]) == tuple(size)), {})


def _macs(cost: dict[str, Any]) -> str:
    return f"{cost['macs'] / 1e9:.2f} G" if cost else ""


def _latency(cost: dict[str, Any]) -> str:
    alone = [entry for entry in cost.get("latency", ()) if (entry["threads"], entry["batch"]) == (1, 1)]
    return f"{alone[0]['median_ms']:.0f}" if alone else ""


def _percent(measured: dict[str, Any], key: str) -> str:
    return f"{100 * measured[key]:.2f}" if measured.get(key) is not None else ""


def _pair(first: str, second: str) -> str:
    return f"{first or '-'} / {second or '-'}" if first or second else ""


def _footnotes(cards: Iterable[Card]) -> list[str]:
    cards = list(cards)
    devices = sorted({cost["device"] for card in cards for cost in card.costs if cost.get("latency")})
    notes = ["1 MAC is 2 FLOPs; heads included, the training classifier left out."]
    if devices:
        notes.append(f"Latency: onnxruntime, batch 1, one thread, median, on {'; '.join(devices)}.")
    for card in cards:
        if card.metrics:
            measured = card.metrics[0]
            budget = f", {measured['budget']}" if "budget" in measured else ""
            notes.append(f"`{card.name}` was measured on `{measured.get('dataset', '?')}`{budget}.")
    return [" ".join(notes)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
