"""The page's own HTML: what the model sees in the query, and the ranked results."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from retrieval.clock import format_time
from retrieval.entries import Hit
from retrieval.searcher import Query

_SHOWN_CLASSES = 3
_SHORT_FORMS = {"suv": "SUV", "mpv": "MPV"}


def label(name: str) -> str:
    """A class name as people read it."""
    return _SHORT_FORMS.get(name, name)


def header(model: str, images: int, cameras: int) -> str:
    """The page's title and what is being searched."""
    return (
        '<header class="vr-header"><h1>Find this vehicle</h1>'
        f"<p>{images:,} images · {cameras} {'camera' if cameras == 1 else 'cameras'} · model "
        f"<b>{escape(model)}</b></p></header>"
    )


def prediction(query: Query) -> str:
    """The likeliest colours and types with bars."""
    return _bars("Colour", query.colors, swatches=True) + _bars("Type", query.types, swatches=False)


def _bars(title: str, chances: dict[str, float], swatches: bool) -> str:
    if not chances:
        return ""
    rows = "".join(
        f'<li class="vr-bar"><span class="vr-bar-name">{_swatch(name) if swatches else ""}'
        f"{escape(label(name))}</span>"
        f'<span class="vr-bar-track"><span style="width:{chance:.1%}"></span></span>'
        f'<span class="vr-bar-value">{_percent(chance)}</span></li>'
        for name, chance in list(chances.items())[:_SHOWN_CLASSES]
    )
    return f'<section class="vr-guess"><h2>{title}</h2><ul>{rows}</ul></section>'


def _percent(chance: float) -> str:
    return "&lt; 1%" if chance < 0.01 else f"{chance:.0%}"


def _swatch(color: str) -> str:
    return f'<i class="vr-swatch" data-color="{escape(color)}"></i>'


def results(hits: Sequence[Hit], camera_names: dict[int, str]) -> str:
    """The ranked results as cards."""
    cards = "".join(_card(rank, hit, camera_names) for rank, hit in enumerate(hits, 1))
    return f'<ol class="vr-results">{cards}</ol>'


def _card(rank: int, hit: Hit, camera_names: dict[int, str]) -> str:
    camera = "" if hit.camera is None else camera_names.get(hit.camera, f"camera {hit.camera}")
    time = "" if hit.time is None else format_time(hit.time)
    look = " ".join(label(part) for part in (hit.color, hit.type) if part)
    chips = _chip(f"{_swatch(hit.color) if hit.color else ''}{escape(look)}") if look else ""
    if hit.vehicle_id is not None:
        chips += _chip(f"vehicle {hit.vehicle_id}", "vr-vehicle")
    where = "".join(
        f'<span class="{kind}">{escape(text)}</span>'
        for kind, text in (("vr-camera", camera), ("vr-time", time))
        if text
    )
    return (
        f'<li class="vr-card" data-key="{escape(hit.key)}"><div class="vr-picture">'
        f'<img loading="lazy" src="api/images/{quote(hit.key)}" '
        f'alt="Result {rank}: {escape(look or hit.key)}">'
        f'<span class="vr-rank">{rank}</span></div>'
        f'<div class="vr-score" title="distance {hit.distance:.4g}">'
        f'<span class="vr-bar-track"><span style="width:{hit.score:.1%}"></span></span>'
        f"<b>{hit.score:.0%}</b></div>"
        f'<div class="vr-where">{where}</div><div class="vr-chips">{chips}</div>'
        f'<div class="vr-key" title="{escape(hit.key)}">{escape(hit.key)}</div></li>'
    )


def _chip(content: str, kind: str = "") -> str:
    return f'<span class="vr-chip {kind}">{content}</span>'


def summary(shown: int, filtered: bool) -> str:
    """One line above the results."""
    noun = "image" if shown == 1 else "images"
    meets = f" that {'meets' if shown == 1 else 'meet'} the filters" if filtered else ""
    return f'<p class="vr-summary"><b>{shown}</b> {noun}{meets}, nearest first</p>'


def notice(title: str, text: str, kind: str = "empty") -> str:
    """A panel in the place of results: `empty`, or `error` for something that went wrong."""
    role = "alert" if kind == "error" else "status"
    return (
        f'<div class="vr-notice vr-{kind}" role="{role}"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'
    )
