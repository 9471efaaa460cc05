"""Paint shades of the ten colour classes, and colours for trim and marks."""

import numpy as np

from training.synthesize.vehicle.atlas import Paint
from zoo.labels import COLORS

_SHADES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "yellow": ((238, 190, 18), (250, 212, 62), (224, 178, 8), (246, 222, 96)),
    "orange": ((236, 108, 18), (248, 134, 40), (214, 88, 24), (240, 120, 62)),
    "green": ((28, 108, 58), (72, 150, 78), (20, 78, 58), (128, 172, 84), (60, 140, 120)),
    "gray": ((108, 110, 114), (140, 142, 146), (84, 88, 94), (168, 170, 172), (120, 124, 120)),
    "red": ((170, 18, 24), (204, 34, 34), (128, 14, 26), (188, 28, 58), (214, 52, 44)),
    "blue": ((24, 58, 140), (40, 96, 186), (18, 38, 98), (84, 142, 204), (30, 80, 120)),
    "white": ((236, 237, 239), (246, 244, 236), (222, 226, 231), (240, 236, 226)),
    "golden": ((190, 164, 112), (206, 182, 132), (176, 150, 94), (198, 170, 128)),
    "brown": ((96, 62, 42), (74, 50, 38), (122, 82, 56), (88, 54, 50)),
    "black": ((22, 22, 24), (36, 36, 41), (15, 17, 26), (30, 26, 24)),
}

ACCENTS: tuple[tuple[int, int, int], ...] = (
    (200, 26, 30), (240, 240, 240), (18, 18, 20), (245, 200, 30), (28, 70, 170), (240, 120, 20),
    (30, 130, 60), (120, 200, 230), (230, 80, 140), (110, 50, 140), (150, 155, 160), (20, 150, 160),
    (150, 215, 60), (96, 58, 34),
)  # fmt: skip
"""Colours of stickers, stripes and loads."""

RIMS: tuple[tuple[int, int, int], ...] = (
    (196, 198, 202), (196, 198, 202), (150, 152, 156), (96, 98, 104), (34, 34, 36), (34, 34, 36),
    (238, 238, 238), (186, 150, 70), (170, 24, 26), (224, 226, 230),
)  # fmt: skip


def paint_shade(rng: np.random.Generator, color: int) -> Paint:
    """A paint of a colour class: a mixture of two of its shades with a little of its own."""
    shades = np.array(_SHADES[COLORS[color]], dtype=float)
    first, second = shades[rng.integers(len(shades), size=2)]
    mixed = first + (second - first) * rng.random() + rng.normal(0, 3.5, 3)
    return opaque(mixed, int(rng.integers(130, 215)))


def contrasting(rng: np.random.Generator, *backgrounds: Paint) -> Paint:
    """An accent colour that stands out from every background."""
    order = rng.permutation(len(ACCENTS))
    distance = [
        min(float(np.abs(np.array(ACCENTS[k]) - np.array(ground[:3])).sum()) for ground in backgrounds)
        for k in order
    ]
    fits = [k for k, d in zip(order, distance, strict=True) if d > 170]
    return opaque(np.array(ACCENTS[fits[0] if fits else order[int(np.argmax(distance))]]), 90)


def opaque(rgb: np.ndarray | tuple[int, int, int], gloss: int) -> Paint:
    """A paint from any RGB, rounded into 0..255."""
    red, green, blue = np.clip(np.round(np.asarray(rgb, dtype=float)), 0, 255).astype(int).tolist()
    return red, green, blue, gloss


def shaded(paint: Paint, factor: float, gloss: int | None = None) -> Paint:
    """The same paint, darker (factor < 1) or lighter."""
    return opaque(np.array(paint[:3]) * factor, paint[3] if gloss is None else gloss)


def mixed(paint: Paint, other: Paint, share: float) -> Paint:
    """`share` of the other paint in the first."""
    blend = np.array(paint) * (1 - share) + np.array(other) * share
    return opaque(blend[:3], int(blend[3]))
