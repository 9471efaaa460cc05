"""The page's HTML around the results: title, scene, predictions, what words meant, comparison, trajectory."""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from retrieval.gallery.entries import Box, Camera, Result
from retrieval.gallery.filters import Filters
from retrieval.page.cards import button, likeness, picture_address, swatch, where
from retrieval.page.texts import Say
from retrieval.query.feedback import Feedback
from retrieval.query.occlusion import ImageComparison
from retrieval.query.searcher import Query
from retrieval.query.words import Understood
from retrieval.results.trajectory_chart import trajectory_chart
from retrieval.results.trajectory_map import trajectory_map
from retrieval.sources.source import display_jpeg
from serving.encoders.image import InputImage

_SHOWN_CLASSES = 3
_SCENE_SIZE = 1280
_HEAT_SIZE = 196
# Blue and orange are told apart by the colour-blind as well.
_ALIKE, _APART = (37, 99, 235), (234, 88, 12)


def header(model: str, images: int, cameras: int, say: Say) -> str:
    """The page's title, what is being searched, and the keys."""
    holds = say("holds", images=f"{images:,}", cameras=cameras)
    keys = "".join(
        f"<li><kbd>{key}</kbd> {escape(say(f'keys.{name}'))}</li>"
        for key, name in (
            ("/", "words"),
            ("← → ↑ ↓", "move"),
            ("Y</kbd> <kbd>N", "yes"),
            ("C", "compare"),
            ("S", "similar"),
            ("Ctrl</kbd> <kbd>V", "paste"),
            ("Esc", "close"),
        )
    )
    return (
        f'<header class="vr-header"><h1>{escape(say("title"))}</h1>'
        f"<p>{escape(holds)} <b>{escape(model)}</b></p></header>"
        f'<details class="vr-keys"><summary>{escape(say("keys"))}</summary><ul>{keys}</ul></details>'
    )


def scene(image: InputImage, box: Box | None, say: Say) -> str:
    """The query image with a box to draw in it.

    Args:
        image: the whole picture.
        box: what is chosen of it.
    """
    height, width = image.size
    chosen = ""
    if box is not None:
        left, top, right, bottom = box
        chosen = (
            f' style="left:{left / width:.3%};top:{top / height:.3%};'
            f'width:{(right - left) / width:.3%};height:{(bottom - top) / height:.3%}"'
        )
    text = say("scene.box", box=",".join(f"{side:.0f}" for side in box)) if box else say("scene.hint")
    larger = button("", say("scene.large"), f"⤢ {escape(say('scene.large'))}", "large")
    whole = button("edit", say("scene.whole")) if box else ""
    return (
        f'<div class="vr-scene"><div class="vr-frame" tabindex="0" role="application" '
        f'aria-label="{escape(say("scene"))}"><img src="{data_uri(display_jpeg(image.pixels, _SCENE_SIZE))}" '
        f'alt="{escape(say("query"))}" draggable="false">'
        f'<div class="vr-box"{chosen}{"" if box else " hidden"}></div></div>'
        f"<p>{escape(text)}</p><div>{larger}{whole}{button('clear', say('scene.other'))}</div></div>"
    )


def examples(thumbnails: Sequence[bytes], say: Say) -> str:
    """Images to try, each of them a button."""
    if not thumbnails:
        return ""
    buttons = "".join(
        button(
            "select",
            say("example", number=number + 1),
            f'<img src="{data_uri(jpeg)}" alt="">',
            "example",
            example=number,
        )
        for number, jpeg in enumerate(thumbnails)
    )
    return f'<section class="vr-examples"><h2>{escape(say("examples"))}</h2><div>{buttons}</div></section>'


def gallery_scene(key: str, say: Say) -> str:
    """The gallery's image that is searched with."""
    return (
        f'<div class="vr-scene"><div class="vr-frame vr-fixed"><img src="{picture_address(key)}" '
        f'alt="{escape(say("query"))}"></div><p>{escape(say("scene.key"))}: <code>{escape(key)}</code></p>'
        f"<div>{button('clear', say('scene.other'))}</div></div>"
    )


def prediction(query: Query, filters: Filters, is_calibrated: bool, say: Say) -> str:
    """The likeliest colours and types with bars; each is a click away from being a filter."""
    bars = _bars("color", query.colors, filters.colors, say) + _bars("type", query.types, filters.types, say)
    note = say("predicted") + (f"; {say('calibrated')}" if is_calibrated else "")
    return f'<div class="vr-guesses">{bars}</div><p class="vr-note">{escape(note)}</p>' if bars else ""


def _bars(name: str, chances: dict[str, float], chosen: Collection[str], say: Say) -> str:
    if not chances:
        return ""
    rows = "".join(
        "<li>"
        + button(
            "select",
            f"{say(name)}: {say.label(value)}, {say.percent(chance)}",
            f'<span class="vr-bar-name">{swatch(value) if name == "color" else ""}'
            f"{escape(say.label(value))}</span>"
            f'<span class="vr-bar-track"><span style="width:{chance:.1%}"></span></span>'
            f'<span class="vr-bar-value">{escape(say.percent(chance))}</span>',
            "bar",
            condition=name,
            value=value,
            pressed=value in chosen,
        )
        + "</li>"
        for value, chance in list(chances.items())[:_SHOWN_CLASSES]
    )
    return f'<section class="vr-guess"><h2>{escape(say(name))}</h2><ul>{rows}</ul></section>'


def understood(found: Understood, say: Say) -> str:
    """What words were taken for, and which were not."""
    known = "".join(
        f'<span class="vr-chip"><q>{escape(phrase.text)}</q> {escape(_meaning(phrase.condition, say))} '
        f"<b>{escape(_value(phrase.condition, phrase.meaning, say))}</b></span>"
        for phrase in found.phrases
    )
    unknown = "".join(f'<span class="vr-chip vr-unknown">{escape(word)}</span>' for word in found.unknown)
    parts = ""
    if known:
        parts += f"<span>{escape(say('words.understood'))}</span>{known}"
    if unknown:
        parts += f"<span>{escape(say('words.unknown'))}</span>{unknown}"
    return f'<div class="vr-understood" role="status">{parts}</div>' if parts else ""


def _meaning(condition: str, say: Say) -> str:
    return say(condition if condition in ("color", "type", "camera") else f"condition.{condition}").lower()


def _value(condition: str, meaning: str, say: Say) -> str:
    if condition not in ("color", "type"):
        return meaning
    sign = "≠ " if meaning.startswith("not ") else ""
    return sign + ", ".join(say.label(name) for name in meaning.removeprefix("not ").split(", "))


def drawings(
    found: Sequence[Result],
    cameras: Sequence[Camera],
    marked: Collection[str],
    journeys: Mapping[str, str],
    say: Say,
) -> str:
    """The results as a trajectory on a map, and by camera and time."""
    if not found:
        return ""
    drawn = (
        trajectory_map(found, cameras, marked, say("map"), journeys) or f"<p>{escape(say('no.places'))}</p>"
    )
    chart = trajectory_chart(found, marked, say("chart"), journeys) or f"<p>{escape(say('no.times'))}</p>"
    return (
        f'<p class="vr-note">{escape(say("way"))}</p><div class="vr-drawings">'
        f"<figure><figcaption>{escape(say('map'))}</figcaption>{drawn}</figure>"
        f"<figure><figcaption>{escape(say('chart'))}</figcaption>{chart}</figure></div>"
    )


def comparison(
    query: str | None,
    result: Result,
    found: ImageComparison | str | None,
    neighbours: tuple[str, str],
    said: Feedback,
    say: Say,
) -> str:
    """Query and result side by side, in a dialog.

    Args:
        query: address of the query's picture; None where there is none.
        result: the other one.
        found: what makes them alike; None while it is being looked for, a sentence where it cannot be told.
        neighbours: keys of the results before and after, empty where there is none.
        said: what the user has marked.
    """
    heats = ("", "")
    if isinstance(found, ImageComparison):
        largest = max(float(np.abs(regions).max()) for regions in found.regions)
        heats = (heat(found.regions[0], largest, say), heat(found.regions[1], largest, say))
    titles = (
        say("query"),
        " · ".join(filter(None, (say("result", rank=result.rank), likeness(result, say)))),
    )
    pictures = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<div class="vr-pair-picture"><img src="{address}" alt="{escape(title)}">{overlay}</div></figure>'
        for title, address, overlay in zip(titles, (query, picture_address(result.key)), heats, strict=True)
        if address
    )
    instead = found if isinstance(found, str) else say("regions.wait") if query else ""
    legend = (
        f'<label><input type="checkbox" class="vr-heat-switch" checked> {escape(say("regions"))}</label>'
        f'<span class="vr-legend vr-alike">{escape(say("alike"))}</span>'
        f'<span class="vr-legend vr-apart">{escape(say("apart"))}</span>'
        f"<span>{escape(say('regions.how'))}</span>"
        if isinstance(found, ImageComparison)
        else f'<span role="status">{escape(instead)}</span>'
    )
    is_marked = result.key in said.positive
    steps = "".join(
        button("select", say(name), content, name, key=key) if key else ""
        for name, content, key in (("previous", "←", neighbours[0]), ("next", "→", neighbours[1]))
    )
    actions = (
        button(
            "like",
            say("yes"),
            f"✓ {escape(say('yes'))}",
            "yes",
            key=result.key,
            verdict="yes",
            pressed=is_marked,
        )
        + button("like", say("no"), f"✕ {escape(say('no'))}", "no", key=result.key, verdict="no")
        + button("submit", say("similar"), f"⌕ {escape(say('similar'))}", "similar", key=result.key)
    )
    return (
        f'<dialog class="vr-dialog" aria-label="{escape(say("compare"))}" data-key="{escape(result.key)}" '
        f'data-step="{1 if found is None else 2}"><div class="vr-dialog-head">'
        f"<h2>{escape(say('compare'))}</h2>"
        f'<div class="vr-where">{where(result, say)}</div>'
        f'<button type="button" class="vr-button vr-close" aria-label="{escape(say("close"))}">✕</button>'
        f"</div>"
        f'<div class="vr-pair">{pictures}</div><div class="vr-legends">{legend}</div>'
        f'<div class="vr-dialog-actions">{actions}<span>{steps}</span></div></dialog>'
    )


def heat(regions: np.ndarray, largest: float, say: Say) -> str:
    """Regions as an image to lay over the picture: blue makes alike, orange sets apart."""
    strength = np.clip(regions / (largest or 1.0), -1, 1)
    smooth = Image.fromarray(strength.astype(np.float32)).resize(
        (_HEAT_SIZE, _HEAT_SIZE), Image.Resampling.BICUBIC
    )
    values = np.clip(np.asarray(smooth), -1, 1)
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where(values[..., None] > 0, _ALIKE, _APART)
    pixels[..., 3] = np.round(190 * np.abs(values))
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG", optimize=True)
    address = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<img class="vr-heat" src="{address}" alt="{escape(say("regions"))}">'


def data_uri(jpeg: bytes) -> str:
    """A JPEG as an address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
