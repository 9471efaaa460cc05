"""Paint what a viewer sees from above: bonnet, windscreen and what is behind it, roof, rear window, deck."""

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas, Region
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import DARK, Style


def paint_tops(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Bonnet, windscreen, roof, rear window and deck."""
    hood = atlas["hood"]
    hood.fill(style.paint)
    atlas["deck"].fill(style.paint if shape.kind != "pickup" else (52, 53, 56, 20))
    atlas["roof"].fill(style.roof_paint)
    atlas["screen"].fill(style.roof_paint)
    atlas["back"].fill(style.paint)
    half = shape.width / 2
    if shape.profile_x[0] - shape.profile_x[1] > 0.3:
        seam = palette.shaded(style.paint, 0.6, 60)
        nose, cowl = hood.b
        for side in (-1, 1):
            hood.line([(side * half * 0.8, cowl), (side * half * 0.62, nose + 0.05)], seam, 0.016)
        hood.rectangle((-half, cowl - 0.06), (half, cowl), DARK)
    _windscreen(atlas["screen"], shape, style)
    if shape.kind != "truck":
        _rear_window(atlas["back"], shape, style)


def _pane(wide_low: float, low: float, wide_high: float, high: float) -> np.ndarray:
    return np.array([(-wide_low, low), (wide_low, low), (wide_high, high), (-wide_high, high)])


def _windscreen(region: Region, shape: Shape, style: Style) -> None:
    low, high = sorted(region.b)
    wide_low = float(shape.roof_edge(shape.profile_x[1])) - 0.05
    wide_high = float(shape.roof_edge(shape.profile_x[2])) - 0.05
    head = {"bus": 0.42 * (shape.height - 2.0), "truck": 0.2}.get(shape.kind, 0.05)
    outline = _pane(wide_low, low + 0.03, wide_high, high - head)
    region.polygon(outline, DARK, 0.035)
    region.polygon(outline * (0.97, 1.0), style.glass)
    _behind_screen(region, style, outline)
    if shape.kind == "bus":
        bottom, top = high - head + 0.06, high - 0.04
        region.rectangle((-wide_high * 0.8, bottom), (wide_high * 0.8, top), DARK)
        words = f"{style.number} {style.word}"
        region.text(
            words, (0.0, (bottom + top) / 2), 0.6 * (top - bottom), (250, 190, 60, 60), width=wide_high * 1.4
        )


def _rear_window(region: Region, shape: Shape, style: Style) -> None:
    """The rear window; a bus has it in the upper half only, and some have none."""
    # Arc length runs from the roof down to the window's base.
    high, low = sorted(region.b)
    shrink = 0.93 - 0.04 * (style.window_style % 3)
    wide_low = (float(shape.roof_edge(shape.profile_x[4])) - 0.05) * shrink
    wide_high = (float(shape.roof_edge(shape.profile_x[3])) - 0.05) * shrink
    margin = 0.08 + 0.05 * style.window_style
    foot, head = low - margin * 0.6, high + margin
    if shape.kind == "bus":
        if style.window_style == 0:
            seam = palette.shaded(style.paint, 0.6)
            for share in (0.3, 0.4, 0.5, 0.6):
                level = low + (high - low) * share
                region.line([(-wide_low * 0.6, level), (wide_low * 0.6, level)], seam, 0.05)
            return
        foot, head = low + (high - low) * 0.25, high + 0.38
    outline = _pane(wide_low, foot, wide_high, head)
    region.polygon(outline, DARK, 0.035)
    region.polygon(outline * (0.97, 1.0), style.rear_glass)
    if style.window_style % 2 and shape.kind != "bus":
        for side in (-1, 1):
            region.line([(0.0, foot), (0.3 * side, foot)], DARK, 0.03)


def _behind_screen(region: Region, style: Style, outline: np.ndarray) -> None:
    """Dash top, mirror, visor shades, seats' outlines, stickers: what one sees through a windscreen."""
    rng = np.random.default_rng([style.seed, 1])
    low, high = outline[0, 1], outline[2, 1]
    wide = float(outline[2, 0])
    tall = high - low
    seat = palette.shaded(style.glass, float(rng.uniform(1.4, 2.2)))
    for side in (-1, 1):
        region.ellipse((side * wide * 0.5, low + tall * 0.45), (wide * 0.2, tall * 0.26), seat)
    region.rectangle((-0.1, high - 0.13), (0.1, high - 0.07), DARK)
    dash = (palette.shaded(DARK, 2.0), style.accent, (190, 190, 180, 40), (120, 90, 60, 30))[
        rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])
    ]
    region.rectangle((-wide * 0.95, low), (wide * 0.95, low + tall * float(rng.uniform(0.05, 0.16))), dash)
    if rng.random() < 0.35:
        region.rectangle(
            (-wide, high - tall * 0.2),
            (wide, high),
            style.accent if rng.random() < 0.5 else (40, 60, 110, 200),
        )
    if rng.random() < 0.45:
        at = float(rng.uniform(-0.05, 0.05))
        hue = palette.contrasting(rng, style.glass)
        region.line([(at, high - 0.1), (at, high - 0.24)], hue, 0.02)
        region.ellipse((at, high - 0.3), (0.06, 0.08), hue)
    for _ in range(int(rng.integers(0, 3))):
        x = float(rng.uniform(-0.7, 0.7)) * wide
        region.rectangle(
            (x - 0.1, low + 0.02), (x + 0.1, low + 0.14), palette.contrasting(rng, style.glass), 0.03
        )
    count = int(rng.integers(1, 5))
    corner = 1 if rng.random() < 0.8 else -1
    for k in range(count):
        x, z = corner * (wide - 0.12 - 0.12 * (k % 2)), high - 0.1 - 0.13 * (k // 2)
        region.rectangle((x - 0.05, z - 0.05), (x + 0.05, z + 0.05), (228, 216, 120, 60))
