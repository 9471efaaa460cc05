"""The page's HTML of a vehicle's way: map, times, speeds, candidates, and what a person says of a link."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from retrieval.gallery.entries import Camera, format_probability
from retrieval.journeys.journey import Candidate, Step
from retrieval.page.cards import button, picture_address, where
from retrieval.page.texts import Say
from retrieval.results.trajectory_map import trajectory_map


def way(steps: Sequence[Step], cameras: Sequence[Camera], may_mark: bool, say: Say) -> str:
    """The journey of a result, step by step; empty where there is none.

    Args:
        steps: of the journey.
        cameras: for the map.
        may_mark: whether links can be confirmed and cut; `journey.js` asks for that over REST.
        say: the page's language.
    """
    if not steps:
        return ""
    title = escape(say("journey"))
    shown = [replace(step.images[0], rank=number) for number, step in enumerate(steps, 1)]
    drawn = trajectory_map(shown, cameras, [result.key for result in shown], say("journey"))
    figure = f"<figure>{drawn}</figure>" if drawn else ""
    rows = "".join(_step(step, may_mark, say) for step in steps)
    return (
        f'<section class="vr-journey" data-failed="{escape(say("journey.failed"))}"><h2>{title}</h2>'
        f'{figure}<ol>{rows}</ol><p class="vr-said" role="status"></p></section>'
    )


def take_back(key: str, later: str, say: Say) -> str:
    """What takes back the cut that was just made; empty where none was."""
    if not later:
        return ""
    detail = {"earlier": key, "later": later, "verdict": "none"}
    text = escape(say("journey.was.cut"))
    undo = button("link", say("journey.undo"), kind="link", **detail)
    return f'<p class="vr-note vr-undo" role="status">{text} {undo}</p>'


def _step(step: Step, may_mark: bool, say: Say) -> str:
    key = step.images[0].key
    others = "".join(_candidate(key, each, may_mark, say) for each in step.candidates)
    if others:
        title = escape(say("journey.others", count=len(step.candidates)))
        others = f"<details><summary>{title}</summary><ul>{others}</ul></details>"
    return (
        f'<li><img src="{picture_address(key)}" alt="{escape(key)}" loading="lazy">'
        f"<div>{where(step.images[0], say)}</div><p>{escape(_joined(step, say))}</p>"
        f"{_marks(key, step, say) if may_mark else ''}{others}</li>"
    )


def _joined(step: Step, say: Say) -> str:
    """How a step is joined to the next one; empty for the last."""
    if step.link is None:
        return ""
    is_confirmed = step.link.mark == "confirmed"
    told = say("journey.confirmed") if is_confirmed else format_probability(step.link.certainty or 0)
    parts = ["↓ " + told]
    if step.gap is not None:
        parts.append(say("journey.gap", seconds=f"{step.gap:,.0f}"))
    if step.speed is not None:
        parts.append(f"{step.metres:,.0f} m, {step.speed:.0f} km/h")
    return " · ".join(parts)


def _marks(key: str, step: Step, say: Say) -> str:
    """The buttons that confirm and cut the link to the next step."""
    if step.link is None:
        return ""
    is_confirmed = step.link.mark == "confirmed"
    confirm = _mark(key, step.link.later, "none" if is_confirmed else "confirmed", say, pressed=is_confirmed)
    return f'<div class="vr-link-marks">{confirm}{_mark(key, step.link.later, "cut", say)}</div>'


def _mark(key: str, later: str, verdict: str, say: Say, pressed: bool = False) -> str:
    label = say("journey.cut") if verdict == "cut" else say("journey.confirm")
    icon = "✂" if verdict == "cut" else "✓"
    detail = {"earlier": key, "later": later, "verdict": verdict}
    return button("link", label, f"{icon} {escape(label)}", "link", pressed=pressed, **detail)


def _candidate(key: str, each: Candidate, may_mark: bool, say: Say) -> str:
    chance = format_probability(each.link.certainty or 0)
    mark = _mark(key, each.result.key, "confirmed", say) if may_mark else ""
    return (
        f'<li><img src="{picture_address(each.result.key)}" alt="{escape(each.result.key)}" loading="lazy">'
        f"<div>{where(each.result, say)}</div><p>{chance}</p>{mark}</li>"
    )
