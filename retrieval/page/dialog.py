"""The comparison of the query with a result: pictures, regions, and what is known of both."""

import base64
import io
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import numpy as np
from PIL import Image

from retrieval.gallery.entries import Result
from retrieval.page.cards import button, camera, likeness, picture_address, where
from retrieval.page.panels import gap_text
from retrieval.page.texts import Say
from retrieval.query.feedback import Feedback
from retrieval.query.occlusion import ImageComparison
from retrieval.query.searcher import Query
from retrieval.results.trajectory import between

_HEAT_SIZE = 196
# Blue and orange are told apart by the colour-blind as well.
_ALIKE, _APART = (37, 99, 235), (234, 88, 12)


def comparison(
    query: Query | None,
    picture: str | None,
    result: Result,
    seen: Result | None,
    found: ImageComparison | str | None,
    neighbours: tuple[str, str],
    said: Feedback,
    scenes: Sequence[str],
    say: Say,
) -> str:
    """Query and result side by side, in a dialog.

    Args:
        query: what is searched with; None where there is nothing.
        picture: address of its picture.
        result: the other one.
        seen: the sighting that the result's place and time are held against: the query's own, else the marked
            one that is nearest in time; None where there is none.
        found: what makes them alike; None while it is being looked for, a sentence where it cannot be told.
        neighbours: keys of the results before and after, empty where there is none.
        said: what the user has marked.
        scenes: keys of the two, where their whole scene may be shown.
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
        for title, address, overlay in zip(titles, (picture, picture_address(result.key)), heats, strict=True)
        if address
    )
    instead = found if isinstance(found, str) else say("regions.wait") if picture else ""
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
    close = escape(say("close"))
    zoom = button("", say("zoom"), f"⤢ {escape(say('zoom'))}", "zoom")
    return (
        f'<dialog class="vr-dialog" aria-label="{escape(say("compare"))}" data-key="{escape(result.key)}" '
        f'data-step="{1 if found is None else 2}"><div class="vr-dialog-head">'
        f"<h2>{escape(say('compare'))}</h2>"
        f'<div class="vr-where">{where(result, say)}</div>'
        f"{zoom}"
        f'<button type="button" class="vr-button vr-close" aria-label="{close}" title="{close}">✕</button>'
        f"</div>"
        f'<div class="vr-pair">{pictures}</div>{_scenes(scenes, result, say)}'
        f"{_facts(query, result, seen, say)}"
        f'<div class="vr-legends">{legend}</div>'
        f'<div class="vr-dialog-actions">{actions}<span>{steps}</span></div></dialog>'
    )


def _scenes(keys: Sequence[str], result: Result, say: Say) -> str:
    """The whole scenes, which the browser fetches when somebody unfolds them."""
    figures = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<div class="vr-pair-picture"><img loading="lazy" src="api/scenes/{quote(key)}?frame=true" '
        f'alt="{escape(title)}"></div><p class="vr-gone">{escape(say("scene.gone"))}</p></figure>'
        for key in sorted(keys, key=lambda each: each == result.key)
        for title in (say("result", rank=result.rank) if key == result.key else say("query"),)
    )
    if not figures:
        return ""
    return (
        f'<details class="vr-scenes"><summary>{escape(say("scene.original"))}</summary>'
        f'<div class="vr-pair">{figures}</div></details>'
    )


def _facts(query: Query | None, result: Result, seen: Result | None, say: Say) -> str:
    """What is known of both sides, row by row, and what lies between the two sightings."""
    rows = [("", say("query") if query else "", say("result", rank=result.rank))]
    for name, chances in (("color", query.colors if query else {}), ("type", query.types if query else {})):
        value, chance = getattr(result, name), getattr(result, f"{name}_confidence")
        mine = " · ".join(f"{say.label(each)} {say.percent(p)}" for each, p in list(chances.items())[:2])
        other = "" if value is None else f"{say.label(value)} {say.percent(chance or 0)}"
        rows.append((say(name), mine, other))
    text = "".join(
        f"<tr>{_head(name)}<td>{escape(mine or '-')}</td><td>{escape(other or '-')}</td></tr>"
        for name, mine, other in rows
        if mine or other
    )
    between_them = ""
    if seen is not None and seen.key != result.key:
        told = say("gap.from", seen=describe_sighting(seen, say), gap=gap_text(between(seen, result), say))
        between_them = f'<p class="vr-gap">{escape(told)}</p>'
    return f'<div class="vr-facts"><table>{text}</table>{between_them}</div>'


def _head(name: str) -> str:
    return f'<th scope="row">{escape(name)}</th>' if name else "<td></td>"


def describe_sighting(result: Result, say: Say) -> str:
    """Camera and time in one line."""
    return ", ".join(part for part in (camera(result, say), result.clock) if part) or result.key


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
