"""Look-alikes: a vehicle that differs from another in one small thing, as two of one make do on a street."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.style import CHROME, DARK, TINTS, Style, draw_plate

Change = Callable[[np.random.Generator, Style], dict[str, Any]]


def differ(style: Style, kind: str, rng: np.random.Generator) -> Style:
    """Another vehicle's look: another plate, and one of the small things that is not the same.

    Args:
        style: the first vehicle's.
        kind: its body type.
        rng: chooses.
    """
    changes = list(small_things(kind).values())
    change = changes[rng.integers(len(changes))]
    return dataclasses.replace(style, plate=draw_plate(rng), **change(rng, style))


def small_things(kind: str) -> dict[str, Change]:
    """What two vehicles of one make and body type differ in. Not every picture shows it."""
    things: dict[str, Change] = {
        "wheels": _wheels,
        "tail lamps": _tail_lamps,
        "front": _front,
        "glass": _glass,
        "trim": _trim,
    }
    if kind not in ("bus", "truck", "van"):
        things["roof"] = _roof
    return things


def _other(rng: np.random.Generator, count: int, than: int) -> int:
    """One of `count` drawings, and not that one."""
    return int((than + rng.integers(1, count)) % count)


def _wheels(rng: np.random.Generator, style: Style) -> dict[str, Any]:
    rims = [rim for rim in palette.RIMS if rim != style.rim[:3]]
    return {
        "wheel_design": _other(rng, 7, style.wheel_design),
        "rim": palette.opaque(rims[rng.integers(len(rims))], 120),
    }


def _tail_lamps(rng: np.random.Generator, style: Style) -> dict[str, Any]:
    return {"tail_lamp": _other(rng, 6, style.tail_lamp)}


def _front(rng: np.random.Generator, style: Style) -> dict[str, Any]:
    return {"headlamp": _other(rng, 5, style.headlamp), "grille": _other(rng, 6, style.grille)}


def _glass(rng: np.random.Generator, style: Style) -> dict[str, Any]:
    tints = [tint for tint in TINTS if tint != style.glass[:3]]
    glass = palette.opaque(tints[rng.integers(len(tints))], 255)
    return {"glass": glass, "rear_glass": glass}


def _trim(_: np.random.Generator, style: Style) -> dict[str, Any]:
    other = CHROME if style.trim == DARK else DARK
    return {"trim": other, **{part: other for part in ("frame", "handle") if getattr(style, part) != other}}


def _roof(_: np.random.Generator, style: Style) -> dict[str, Any]:
    # Rails come and go, or the window in the roof; whatever else a roof carries is not small.
    if style.roof_item in (0, 1):
        return {"roof_item": 1 - style.roof_item}
    return {"sunroof": 0 if style.sunroof else 1}
