"""The one large drawing that a vehicle may carry on both flanks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.synthesize.vehicle.atlas import Atlas, Region
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.stickers import flank_heights
from training.synthesize.vehicle.style import DARK, WHITE, Style


@dataclass(frozen=True)
class _Layout:
    """Where on the flank: x from `start` (nose) to `stop`, z from `low` to `high`; the rest varies it."""

    start: float
    stop: float
    low: float
    high: float
    level: float
    width: float
    spot: tuple[float, float]
    tall: float
    reach: float


def _band(region: Region, style: Style, at: _Layout) -> None:
    region.line([(at.start, at.level), (at.stop, at.level)], style.accent, at.width)
    if style.number[0] in "2468":
        level = at.level - at.width
        region.line([(at.start, level), (at.stop, level)], style.accent2, at.width * 0.4)


def _wave(region: Region, style: Style, at: _Layout) -> None:
    x = np.linspace(at.start, at.stop, 24)
    turns = x * 2 * np.pi * at.reach / (at.start - at.stop) + style.seed % 7
    z = at.low + (at.high - at.low) * (0.5 + 0.38 * np.sin(turns))
    region.line(np.stack([x, z], 1), style.accent, at.width)


def _slashes(region: Region, style: Style, at: _Layout) -> None:
    for k in range(1 + style.seed % 3):
        foot = at.spot[0] - k * 0.5
        head = foot + 0.36
        outline = [(foot, at.low), (foot + 0.26, at.low), (head + 0.26, at.high), (head, at.high)]
        region.polygon(outline, style.accent2 if k == 1 else style.accent)


def _word(region: Region, style: Style, at: _Layout) -> None:
    region.text(style.word, at.spot, at.tall * 0.8, style.accent, 0.2)


def _number(region: Region, style: Style, at: _Layout) -> None:
    radius = at.tall * 0.75
    region.ellipse(at.spot, (radius, radius), WHITE if style.accent != WHITE else DARK)
    region.text(style.number, at.spot, at.tall * 0.6, style.accent, 0.2)


def _checkers(region: Region, style: Style, at: _Layout) -> None:
    step = at.width * 0.9
    for k, x in enumerate(np.arange(at.stop + 0.3, at.start - 0.4, step).tolist()):
        z = at.level + (step / 2 if k % 2 else -step / 2)
        region.rectangle((x, z - step / 2), (x + step, z + step / 2), style.accent)


def _tail_field(region: Region, style: Style, at: _Layout) -> None:
    low, foot, head = at.low - 0.1, at.stop + at.reach * 0.6, at.stop + at.reach * 1.4
    region.polygon([(at.stop, low), (at.stop, at.high), (head, at.high), (foot, low)], style.accent)


def _nose_arrow(region: Region, style: Style, at: _Layout) -> None:
    tip = (at.start - at.reach * 1.6, at.level)
    region.polygon([(at.start, at.low - 0.1), (at.start, at.high - 0.12), tip], style.accent)


_Drawing = Callable[[Region, Style, _Layout], None]
_DRAWINGS: tuple[_Drawing | None, ...] = (
    None, _band, _wave, _slashes, _word, _number, _checkers, _tail_field, _nose_arrow,
)  # fmt: skip
_ODDS = (0.20, 0.15, 0.10, 0.11, 0.10, 0.10, 0.09, 0.08, 0.07)


def paint_flank_mark(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    """Draw it on both flanks; a band goes on round nose and tail, lettering is repeated on the tail."""
    drawing = _DRAWINGS[rng.choice(len(_DRAWINGS), p=_ODDS)]
    low, high = flank_heights(shape)
    at = _Layout(
        start=shape.front,
        stop=shape.tail,
        low=low,
        high=high,
        level=low + (high - low) * float(rng.uniform(0.2, 0.85)),
        width=float(rng.uniform(0.06, 0.2)) * (1.6 if shape.kind == "bus" else 1.0),
        spot=(shape.front * float(rng.uniform(-0.3, 0.3)), (low + high) / 2),
        tall=min(high - low, 0.5) * float(rng.uniform(0.45, 0.75)),
        reach=float(rng.uniform(0.4, 1.0)),
    )
    if drawing is None:
        return
    for name in ("left", "right"):
        drawing(atlas[name], style, at)
    if drawing in (_band, _checkers):
        for name in ("front", "rear"):
            ends = [(-shape.width, at.level), (shape.width, at.level)]
            atlas[name].line(ends, style.accent, at.width * 0.7)
    elif drawing in (_word, _number):
        words = style.word if drawing is _word else style.number
        atlas["rear"].text(words, (0.0, shape.profile_z[5] - 0.13), 0.1, style.accent, 0.2)
