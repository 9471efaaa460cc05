"""The page's map to choose on: cameras as buttons, and a circle around a place."""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from html import escape

from retrieval.gallery.entries import Camera
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.page.cards import button, camera_name
from retrieval.page.texts import Say
from retrieval.results.ground import Ground

_NAME = 18
"""Letters of a camera's name that are shown."""
_APART = 90, 14
"""Names nearer than this, across and along, would cover each other: the first one stays."""


def ground_of(cameras: Collection[Camera]) -> Ground | None:
    """The map of those cameras that have a place; None where none has."""
    places = [camera.place for camera in cameras if camera.place is not None]
    return Ground.around(places) if places else None


def circle_at(ground: Ground, x: float, y: float, radius: float) -> Near:
    """The circle that somebody has drawn, its place to a metre or so and its radius to two digits.

    Raises:
        UserError: it is none.
    """
    latitude, longitude = ground.place(x, y)
    near = Near(round(latitude, 5), round(longitude, 5), float(f"{radius / ground.metre:.2g}"))
    near.check()
    return near


def place_map(cameras: Sequence[Camera], filters: Filters, say: Say) -> str:
    """The map with what is chosen on it; empty where no camera has a place.

    `place.js` draws the circle, in the units of the drawing, which `circle_at` reads.
    """
    ground = ground_of(cameras)
    if ground is None:
        return ""
    near, hint = filters.near, say("place.how")
    radius = ground.bar * ground.metre
    told = []
    circle = '<circle class="vr-circle" hidden/>'
    if near is not None:
        x, y = ground.at(near.latitude, near.longitude)
        radius = near.radius * ground.metre
        circle = f'<circle class="vr-circle" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        place = f"{near.latitude:g}, {near.longitude:g}"
        told.append(say("place.near", metres=f"{near.radius:g}", place=place))
    if filters.cameras:
        names = {camera.id: camera_name(camera, say) for camera in cameras}
        chosen = ", ".join(names.get(each, say("camera.id", id=each)) for each in filters.cameras)
        told.append(f"{say('camera')}: {chosen}")
    clear = button("clear", say("place.clear")) if told else ""
    smaller = button("", say("place.smaller"), "\N{MINUS SIGN}", "smaller")
    larger = button("", say("place.larger"), "+", "larger")
    return (
        f'<details class="vr-place-map"><summary>{escape(say("place.choose"))}</summary>'
        f'<div class="vr-ground" tabindex="0" role="application" aria-label="{escape(hint)}" '
        f'data-radius="{radius:.1f}"><svg class="vr-drawing" viewBox="{ground.view_box}" role="group" '
        f'aria-label="{escape(say("map"))}">{ground.scale()}{circle}'
        f"{_picks(ground, cameras, filters.cameras, say)}</svg></div>"
        f'<p role="status">{escape(" · ".join(told) or say("place.none"))}</p>'
        f'<p class="vr-note">{escape(hint)}</p>'
        f"<div>{smaller}{larger}{clear}</div></details>"
    )


def _picks(ground: Ground, cameras: Sequence[Camera], chosen: Collection[int], say: Say) -> str:
    """The cameras; those of one spot are one button, which has their names where there is room."""
    spots: dict[tuple[float, float], list[Camera]] = defaultdict(list)
    for camera in cameras:
        if camera.place is not None:
            spots[ground.at(*camera.place)].append(camera)
    dots, named = [], list[tuple[float, float]]()
    for (x, y), here in spots.items():
        ids = [camera.id for camera in here]
        detail = escape(json.dumps({"cameras": ids}))
        name = escape(", ".join(camera_name(camera, say) for camera in here))
        text = ""
        if not any(abs(x - left) < _APART[0] and abs(y - top) < _APART[1] for left, top in named):
            named.append((x, y))
            short = escape(camera_name(here[0], say)[:_NAME] + (" …" if len(here) > 1 else ""))
            text = f'<text class="vr-place" x="{x:.1f}" y="{y + 24:.1f}">{short}</text>'
        dots.append(
            f'<g class="vr-dot vr-pick" data-event="select" data-detail="{detail}" '
            f'data-camera="{ids[0]}" tabindex="0" role="button" '
            f'aria-pressed="{str(set(ids) <= set(chosen)).lower()}" aria-label="{name}"><title>{name}</title>'
            f'<circle class="vr-reach" cx="{x:.1f}" cy="{y:.1f}" r="18"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8"/>{text}</g>'
        )
    return "".join(dots)
