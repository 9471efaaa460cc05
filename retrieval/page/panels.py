"""The page's HTML around the results: title, scene, predictions, what words meant, comparison, trajectory."""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from html import escape

from retrieval.gallery.clock import format_time
from retrieval.gallery.entries import Box, Camera, Result
from retrieval.gallery.filters import Filters
from retrieval.page.cards import button, camera, likeness, picture_address, swatch
from retrieval.page.texts import Say
from retrieval.query.looks import Looks
from retrieval.query.searcher import Query
from retrieval.query.words import Understood
from retrieval.results.trajectory import Gap, Leg, between, between_cameras
from retrieval.results.trajectory_chart import trajectory_chart
from retrieval.results.trajectory_map import trajectory_map
from retrieval.sources.source import display_jpeg
from serving.encoders.image import InputImage

_SHOWN_CLASSES = 3
_SCENE_SIZE = 1280


def header(model: str, images: int, cameras: int, zone: str, say: Say) -> str:
    """The page's title, what is being searched, and the keys; `zone` is that of times, if they have one."""
    # `calendar.js` offers one where times are dates.
    calendar = f' data-calendar="{escape(say("calendar"))}"' if zone else ""
    zoned = f" · {escape(say('zone', zone=zone))}" if zone else ""
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
        f'<header class="vr-header"{calendar}><h1>{escape(say("title"))}</h1>'
        f"<p>{escape(holds)} <b>{escape(model)}</b>{zoned}</p></header>"
        f'<details class="vr-keys"><summary>{escape(say("keys"))}</summary><ul>{keys}</ul></details>'
    )


def scene(
    image: InputImage,
    box: Box | None,
    found: Sequence[Box],
    hours: str,
    others: Sequence[bytes],
    say: Say,
) -> str:
    """The query image with a box to draw in it.

    Args:
        image: the whole picture.
        box: what is chosen of it.
        found: vehicles in it to choose from.
        hours: after which the picture is forgotten.
        others: JPEGs of further images of the same vehicle.
        say: the page's language.
    """
    height, width = image.size
    chosen = "" if box is None else f' style="{_placed(box, width, height)}"'
    hint = say("scene.found", count=len(found)) if found else say("scene.hint")
    text = say("scene.box", box=",".join(f"{side:.0f}" for side in box)) if box else hint
    vehicles = "".join(
        f'<button type="button" class="vr-target" data-event="select" data-detail="{escape(detail)}" '
        f'aria-label="{escape(say("scene.vehicle", number=number))}" style="{_placed(each, width, height)}">'
        "</button>"
        for number, each in enumerate(found, 1)
        for left, top, right, bottom in [each]
        for detail in [json.dumps({"box": [left / width, top / height, right / width, bottom / height]})]
    )
    larger = button("", say("scene.large"), f"⤢ {escape(say('scene.large'))}", "large")
    whole = button("edit", say("scene.whole")) if box else ""
    return (
        f'<div class="vr-scene"><div class="vr-frame" tabindex="0" role="application" '
        f'aria-label="{escape(say("scene"))}"><img src="{data_uri(display_jpeg(image.pixels, _SCENE_SIZE))}" '
        f'alt="{escape(say("query"))}" draggable="false">'
        f'{vehicles}<div class="vr-box"{chosen}{"" if box else " hidden"}></div></div>'
        f'<p>{escape(text)}</p><small class="vr-forgotten">{escape(say("upload.kept", hours=hours))}</small>'
        f"{_others(others, say)}"
        f"<div>{larger}{whole}{_add(say)}{button('clear', say('scene.other'))}</div></div>"
    )


def _placed(box: Box, width: int, height: int) -> str:
    """The style that puts a box where it is in a picture of this size."""
    left, top, right, bottom = box
    return (
        f"left:{left / width:.3%};top:{top / height:.3%};"
        f"width:{(right - left) / width:.3%};height:{(bottom - top) / height:.3%}"
    )


def _others(pictures: Sequence[bytes], say: Say) -> str:
    """Further images of the vehicle, each to be looked at or taken away."""
    thumbs = "".join(
        f"<li>{button('apply', say('others.show', number=number + 2), _image(jpeg), 'other', number=number)}"
        f"{button('delete', say('others.drop', number=number + 2), '✕', 'drop', number=number)}</li>"
        for number, jpeg in enumerate(pictures)
    )
    if not thumbs:
        return ""
    return (
        f'<ul class="vr-others" aria-label="{escape(say("others", count=len(pictures) + 1))}">{thumbs}</ul>'
    )


def _image(jpeg: bytes) -> str:
    return f'<img src="{data_uri(jpeg)}" alt="">'


def _add(say: Say) -> str:
    """The button that lets further images be chosen; `scene.js` opens the field for them."""
    return button("", say("others.add"), f"+ {escape(say('others.add'))}", "add")


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


def gallery_scene(key: str, others: Sequence[bytes], say: Say) -> str:
    """The gallery's image that is searched with, and JPEGs of further images of the same vehicle."""
    return (
        f'<div class="vr-scene"><div class="vr-frame vr-fixed"><img src="{picture_address(key)}" '
        f'alt="{escape(say("query"))}"></div><p>{escape(say("scene.key"))}: <code>{escape(key)}</code></p>'
        f"{_others(others, say)}<div>{_add(say)}{button('clear', say('scene.other'))}</div></div>"
    )


def prediction(
    query: Query,
    filters: Filters,
    looks: Looks | None,
    can_weigh: Mapping[str, bool],
    is_calibrated: bool,
    say: Say,
) -> str:
    """The likeliest colours and types with bars; each is a click away from weighing, or from being a filter.

    Args:
        query: what the model says.
        filters: that hide other colours and types.
        looks: that weigh in the order.
        can_weigh: whether a `color` or `type` can.
        is_calibrated: whether the probabilities are.
        say: the page's language.
    """
    weighed = looks or Looks()
    bars = "".join(
        _bars(name, chances, hard, soft, can_weigh[name], say)
        for name, chances, hard, soft in (
            ("color", query.colors, filters.colors, weighed.colors),
            ("type", query.types, filters.types, weighed.types),
        )
        if chances
    )
    told = say("weigh.told") if looks else say("predicted.weigh" if any(can_weigh.values()) else "predicted")
    note = told + (f" {say('calibrated')}" if is_calibrated else "")
    return f'<div class="vr-guesses">{bars}</div><p class="vr-note">{escape(note)}</p>' if bars else ""


def _bars(
    name: str,
    chances: dict[str, float],
    hard: Collection[str],
    soft: Collection[str],
    can_weigh: bool,
    say: Say,
) -> str:
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
            pressed=value in hard or value in soft,
        )
        + "</li>"
        for value, chance in list(chances.items())[:_SHOWN_CLASSES]
    )
    change = ""
    if (hard and can_weigh) or soft:
        does, other = ("hides", "weigh.only") if hard else ("weighs", "weigh.hide")
        change = (
            f'<p class="vr-weigh"><span>{escape(say(f"weigh.{does}"))}</span> '
            f"{button('edit', say(other), kind='how', condition=name)}</p>"
        )
    return f'<section class="vr-guess"><h2>{escape(say(name))}</h2><ul>{rows}</ul>{change}</section>'


def address(query: str, say: Say) -> str:
    """The address of a search, a link to share."""
    return f'<p class="vr-address"><a href="./{escape(query)}">{escape(say("address"))}</a></p>'


def not_understood(found: Understood, say: Say) -> list[str]:
    """What nothing was made of; of a camera that the gallery does not have, that."""
    numbers = {str(camera) for camera in found.unknown_cameras}
    cameras = [say("camera.unknown", id=camera) for camera in found.unknown_cameras[:5]]
    return [word for word in found.unknown if word not in numbers] + cameras


def understood(found: Understood, say: Say) -> str:
    """What words were taken for, and which were not."""
    known = "".join(
        f'<span class="vr-chip"><q>{escape(phrase.text)}</q> {escape(_meaning(phrase.condition, say))} '
        f"<b>{escape(_value(phrase.condition, phrase.meaning, say))}</b></span>"
        for phrase in found.phrases
    )
    unknown = "".join(
        f'<span class="vr-chip vr-unknown">{escape(word)}</span>' for word in not_understood(found, say)
    )
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


def legs(joined: Sequence[Leg], say: Say) -> str:
    """What the line joins, leg by leg: how sure both ends are, and what lies between them."""
    rows = "".join(
        f"<li>{_end(leg[0], say)} → {_end(leg[1], say)} <b>{escape(gap_text(between(*leg), say))}</b></li>"
        for leg in between_cameras(joined)
    )
    return f'<section class="vr-legs"><h2>{escape(say("legs"))}</h2><ol>{rows}</ol></section>' if rows else ""


def _end(result: Result, say: Say) -> str:
    parts = (camera(result, say), result.clock, likeness(result, say) or say("likeness.none"))
    return escape(" · ".join(part for part in parts if part))


def gap_text(gap: Gap, say: Say) -> str:
    """Time, distance and speed between two sightings, as far as they are known."""
    parts = []
    if gap.seconds is not None:
        parts.append(say("gap.time", time=format_time(abs(gap.seconds))))
    if gap.metres is not None:
        parts.append(say("gap.metres", metres=f"{gap.metres:,.0f}"))
    if gap.speed is not None:
        parts.append(
            say("gap.impossible") if gap.is_impossible else say("gap.speed", speed=f"{gap.speed:.0f}")
        )
    return ", ".join(parts) or say("gap.unknown")


def data_uri(jpeg: bytes) -> str:
    """A JPEG as an address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
