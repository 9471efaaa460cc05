"""The ranked results as cards, what can be done with each of them, and the notices in their place."""

import json
from collections.abc import Collection, Mapping, Sequence
from html import escape
from urllib.parse import quote

from retrieval.gallery.clock import format_time
from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Camera, Result, format_probability
from retrieval.page.texts import Say
from retrieval.query.feedback import Feedback
from retrieval.results.downloads import FORMATS
from zoo.sameness import Verdict

_ICONS = {"yes": "✓", "no": "✕", "compare": "⇄", "similar": "⌕"}
_KEYS = {"yes": "y", "no": "n", "compare": "c", "similar": "s"}


def button(event: str, label: str, content: str = "", kind: str = "", **detail: object) -> str:
    """A button that has `actions.js` raise an event of its component, with a detail; none for no event."""
    key = f' aria-keyshortcuts="{_KEYS[kind]}"' if kind in _KEYS else ""
    pressed = ' aria-pressed="true"' if detail.pop("pressed", False) else ""
    raised = f' data-event="{event}" data-detail="{escape(json.dumps(detail))}"' if event else ""
    return (
        f'<button type="button" class="vr-button vr-{kind or event}"{raised} '
        f'aria-label="{escape(label)}" title="{escape(label)}"'
        f"{key}{pressed}>{content or escape(label)}</button>"
    )


def results(
    found: Sequence[Result], said: Feedback, made_of: Mapping[str, Sequence[PassCrop]], say: Say
) -> str:
    """The ranked results as cards; `made_of` are the images of those that are passes."""
    cards = "".join(
        _card(result, result.key in said.positive, made_of.get(result.key, ()), say) for result in found
    )
    return f'<ol class="vr-results">{cards}</ol>'


def _card(result: Result, is_marked: bool, crops: Sequence[PassCrop], say: Say) -> str:
    look = " ".join(say.label(part) for part in (result.color, result.type) if part)
    chips = _chip(f"{swatch(result.color) if result.color else ''}{escape(look)}") if look else ""
    if result.vehicle_id is not None:
        chips += _chip(escape(say("vehicle.id", id=result.vehicle_id)), "vr-vehicle")
    score = ""
    if result.probability is not None:
        score = (
            f'<div class="vr-score" title="{escape(say("distance", distance=f"{result.distance:.3g}"))}">'
            f'<span class="vr-bar-track"><span style="width:{result.probability:.1%}"></span></span>'
            f"<b>{escape(likeness(result, say))}</b></div>"
        )
    elif result.distance is not None:
        score = f'<div class="vr-score"><span>{escape(likeness(result, say))}</span></div>'
    yes = say("forget" if is_marked else "yes")
    actions = "".join(
        button(event, label, _ICONS[kind], kind, key=result.key, **detail)
        for kind, event, label, detail in (
            ("yes", "like", yes, {"verdict": "clear" if is_marked else "yes", "pressed": is_marked}),
            ("no", "like", say("no"), {"verdict": "no"}),
            ("compare", "select", say("compare"), {}),
            ("similar", "submit", say("similar"), {}),
        )
    )
    detail = escape(json.dumps({"key": result.key}))
    return (
        f'<li class="vr-card{" vr-is-marked" if is_marked else ""}" data-key="{escape(result.key)}" '
        f'tabindex="0" aria-label="{escape(describe(result, say))}">'
        f'<div class="vr-picture" data-event="select" data-detail="{detail}">'
        f'<img loading="lazy" src="{picture_address(result.key)}" alt="">'
        f'<span class="vr-rank">{result.rank}</span></div>{score}'
        f'<div class="vr-where">{where(result, say)}</div><div class="vr-chips">{chips}</div>'
        f'{pass_images(result.key, crops, say)}<div class="vr-actions">{actions}</div>'
        f'<div class="vr-key" title="{escape(result.key)}">{escape(result.key)}</div></li>'
    )


def pass_images(key: str, crops: Sequence[PassCrop], say: Say) -> str:
    """The images that a pass is made of, to unfold; empty where it is one image."""
    if len(crops) < 2:
        return ""
    pictures = "".join(
        f'<img loading="lazy" src="{picture_address(key)}?number={number}" alt="{number + 1}" '
        f'title="{escape(say("pass.image", time=_clock(crop, say), quality=f"{crop.quality:.2f}"))}">'
        for number, crop in enumerate(crops)
    )
    title = escape(say("pass.images", count=len(crops)))
    return f'<details class="vr-pass"><summary>{title}</summary><div>{pictures}</div></details>'


def _clock(crop: PassCrop, say: Say) -> str:
    return "" if crop.time is None else format_time(crop.time, say.zone)


def describe(result: Result, say: Say) -> str:
    """A result in one line of text."""
    look = " ".join(say.label(part) for part in (result.color, result.type) if part)
    parts = (say("result", rank=result.rank), likeness(result, say), camera(result, say), result.clock, look)
    return ", ".join(part for part in parts if part)


def likeness(result: Result, say: Say) -> str:
    """The probability that it is the query's vehicle, else its distance; empty where neither is known."""
    if result.probability is not None:
        return format_probability(result.probability)
    return "" if result.distance is None else say("distance", distance=f"{result.distance:.3g}")


def verdict(found: Verdict | None, results: Sequence[Result], promised: float, say: Say) -> str:
    """What the search amounts to, and what is promised of it; where nothing can be told, why."""
    likeliest = max((r.probability for r in results if r.probability is not None), default=0.0)
    kind = "none" if found is None else found.replace(" ", "-")
    text = say(f"verdict.{kind}.text", chance=format_probability(likeliest), promised=f"{1 / promised:,.3g}")
    title = escape(say(f"verdict.{kind}"))
    return f'<div class="vr-verdict vr-verdict-{kind}" role="status"><b>{title}</b> {escape(text)}</div>'


def hidden(count: int, can_weigh: bool, say: Say) -> str:
    """How many likely images are hidden for their colour or type, and what shows them."""
    show = button("apply", say("weigh.instead")) if can_weigh else ""
    return f'<p class="vr-hidden" role="status">{escape(say("hidden", count=count))} {show}</p>'


def camera(result: Result, say: Say) -> str:
    """The name of the camera that has seen it; empty where that is unknown."""
    return "" if result.seen_by is None else camera_name(result.seen_by, say)


def camera_name(camera: Camera, say: Say) -> str:
    """The name; of a camera that nobody has named, its number in the page's language."""
    return camera.name if camera.is_named else say("camera.id", id=camera.id)


def where(result: Result, say: Say) -> str:
    """Camera and time."""
    return "".join(
        f'<span class="{kind}">{escape(text)}</span>'
        for kind, text in (("vr-camera", camera(result, say)), ("vr-time", result.clock))
        if text
    )


def picture_address(key: str) -> str:
    """Where the browser gets the picture of a key."""
    return f"api/images/{quote(key)}"


def swatch(color: str) -> str:
    """A dot in a colour's own colour."""
    return f'<i class="vr-swatch" data-color="{escape(color)}"></i>'


def _chip(content: str, kind: str = "") -> str:
    return f'<span class="vr-chip {kind}">{content}</span>'


def found(
    told: str,
    text: str,
    listed: Sequence[Result],
    said: Feedback,
    made_of: Mapping[str, Sequence[PassCrop]],
    has_more: bool,
    say: Say,
) -> str:
    """The answer to a search: what it amounts to, the results, what is marked, and the exports.

    The results come first for whoever goes by keyboard; the style sheet shows marks and exports above them.

    Args:
        told: the verdict and what else is to be said of the search.
        text: how many there are.
        listed: the results to show.
        said: what is marked.
        made_of: the images of those that are passes.
        has_more: whether there are more.
    """
    names = {name: say("export.html") if name == "html" else name.upper() for name in FORMATS}
    exports = button("", say("undo.what"), f"↶ {escape(say('undo'))}", "undo") + "".join(
        button("download", f"{say('export')}: {label}", escape(label), format=name)
        for name, label in names.items()
    )
    more = button("expand", say("more.results"), kind="more") if has_more else ""
    return (
        f'<div class="vr-found">{told}<p class="vr-summary">{escape(text)}</p>'
        f"{results(listed, said, made_of, say)}{more}"
        f'<div class="vr-exports" role="group" aria-label="{escape(say("export"))}">{exports}</div>'
        f"{_marks(said, say)}</div>"
    )


def _marks(said: Feedback, say: Say) -> str:
    if not said.positive and not said.negative:
        return ""
    groups = "".join(
        f'<span class="vr-marks-{kind}">{escape(say(f"marked.{kind}"))}:</span>{_thumbnails(keys, kind, say)}'
        for kind, keys in (("yes", said.positive), ("no", said.negative))
        if keys
    )
    return f'<div class="vr-marks">{groups}{button("clear", say("forget.all"))}</div>'


def _thumbnails(keys: Collection[str], kind: str, say: Say) -> str:
    return "".join(
        button(
            "like",
            f"{say('forget')}: {key}",
            f'<img src="{picture_address(key)}" alt="">',
            f"thumb-{kind}",
            key=key,
            verdict="clear",
        )
        for key in keys
    )


def notice(title: str, text: str, kind: str = "empty") -> str:
    """A panel in the place of results: `empty`, or `error` for something that went wrong."""
    role = "alert" if kind == "error" else "status"
    return (
        f'<div class="vr-notice vr-{kind}" role="{role}"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'
    )


def nothing_meets(without: Sequence[tuple[str, int]], say: Say) -> str:
    """The notice that no image meets the filters, with those to loosen.

    Args:
        without: a filter's name and how many images meet the others.
    """
    buttons = "".join(
        button("edit", say("loosen", filter=say(name), count=f"{count:,}"), kind="loosen", field=name)
        for name, count in without
    )
    text = say("none.loosen") if without else say("none.text")
    return (
        f'<div class="vr-notice vr-empty" role="status"><h2>{escape(say("none"))}</h2><p>{escape(text)}</p>'
        f"<div>{buttons}</div></div>"
    )
