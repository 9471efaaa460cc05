"""Paint what a viewer sees from before, behind and above: lamps, grille, plates, screens, roof, bonnet."""

import numpy as np

from . import palette
from .atlas import Atlas, Paint, Region
from .shape import Shape
from .style import CHROME, DARK, WHITE, Style

_LAMP: Paint = (232, 234, 238, 255)
_SMOKED: Paint = (58, 60, 66, 255)
_RED: Paint = (178, 16, 22, 255)
_AMBER: Paint = (236, 140, 30, 220)


def paint_front(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Nose: bumper, grille, headlamps, fog lamps, badge, plate."""
    region = atlas["front"]
    region.fill(style.paint)
    half = float(shape.half_width(shape.front, shape.profile_z[0] - 0.15))
    low, high = shape.clearance, shape.profile_z[0]
    heavy = shape.kind in ("bus", "truck")
    _bumper(region, shape, style, half)
    middle = high - 0.17 if not heavy else low + 0.46
    _grille(region, style, half, middle, low, high)
    for side in (-1, 1):
        _headlamp(region, style, side, half, middle)
        region.ellipse(
            (side * half * 0.78, low + 0.16), (0.07, 0.05), (210, 212, 216, 200) if style.bumper % 2 else DARK
        )
    badge = (0.0, middle + 0.02)
    region.ellipse(badge, (0.07, 0.06), CHROME)
    region.ellipse(badge, (0.045, 0.036), style.accent if style.grille % 2 else DARK)
    _plate(region, style, low + 0.2, heavy)


def _bumper(region: Region, shape: Shape, style: Style, half: float) -> None:
    low = shape.clearance
    if style.bumper in (1, 3) or style.lower_paint != style.paint:
        height = low + (0.34 if style.bumper == 3 else 0.2)
        region.rectangle(
            (-half - 0.3, 0),
            (half + 0.3, height),
            style.lower_paint if style.lower_paint != style.paint else (46, 46, 49, 20),
        )
    region.rectangle((-half * 0.62, low + 0.04), (half * 0.62, low + 0.12 + 0.04 * style.bumper), DARK, 0.03)
    region.rectangle((-half - 0.3, 0), (half + 0.3, low + 0.025), DARK)
    region.line([(-half, low + 0.36), (half, low + 0.36)], palette.shaded(style.paint, 0.75), 0.018)


def _grille(region: Region, style: Style, half: float, middle: float, low: float, high: float) -> None:
    wide, tall = half * 0.44 * style.grille_size, 0.085 * style.grille_size
    kind, paint = style.grille, style.grille_paint
    if kind == 0:
        region.rectangle((-wide, middle - tall), (wide, middle + tall), paint, 0.03)
    elif kind == 1:
        tall *= 1.8
        region.polygon(
            [
                (-wide * 0.6, middle - tall * 1.2),
                (wide * 0.6, middle - tall * 1.2),
                (wide, middle + 0.08),
                (-wide, middle + 0.08),
            ],
            paint,
            0.01,
        )
    elif kind == 2:
        for side in (-1, 1):
            region.ellipse((side * wide * 0.45, middle), (wide * 0.38, tall * 1.1), paint)
    elif kind == 3:
        region.polygon(
            [(0, middle - tall * 2.6), (wide * 1.1, middle + tall), (-wide * 1.1, middle + tall)], paint, 0.03
        )
    elif kind == 4:
        region.rectangle((-half * 0.95, middle - tall * 0.8), (half * 0.95, middle + tall * 0.8), paint)
    else:
        region.rectangle((-wide, max(low + 0.05, middle - 0.32)), (wide, middle - 0.05), paint, 0.05)
        region.line([(-wide * 0.8, middle + 0.03), (wide * 0.8, middle + 0.03)], CHROME, 0.03)
    if kind in (0, 1, 4):
        bar = CHROME if paint != CHROME else DARK
        for step in np.linspace(-0.7, 0.7, 3 + kind % 2):
            region.line(
                [(-wide * 0.85, middle + step * tall), (wide * 0.85, middle + step * tall)], bar, 0.02
            )
    del high


def _headlamp(region: Region, style: Style, side: int, half: float, middle: float) -> None:
    size, kind = style.lamp_size, style.headlamp
    center = side * half * 0.76
    lamp = _SMOKED if kind == 3 else _LAMP
    wide, tall = half * 0.21 * size, 0.075 * size
    if kind == 0:
        region.ellipse((center, middle), (0.12 * size, 0.12 * size), DARK)
        region.ellipse((center, middle), (0.1 * size, 0.1 * size), lamp)
    elif kind == 1:
        region.rectangle((center - wide, middle - tall), (center + wide, middle + tall), lamp, 0.02)
    else:
        tilt = 0.09 * style.lamp_tilt
        inner, outer = center - side * wide * 1.2, side * half * 1.05
        slim = 0.55 if kind == 4 else 1.0
        region.polygon(
            [(inner, middle - tall * slim - tilt * 0.4), (outer, middle - tall * slim + tilt), (outer, middle + tall * slim + tilt), (inner, middle + tall * slim * 0.5)],
            lamp, 0.01,
        )  # fmt: skip
    if kind != 4:
        region.ellipse(
            (center - side * 0.04, middle),
            (0.055 * size, 0.05 * size),
            (250, 250, 252, 255) if kind == 3 else (150, 156, 166, 255),
        )
    region.rectangle((side * half * 0.93 - 0.05, middle - tall), (side * half * 0.93 + 0.05, middle), _AMBER)


def _plate(region: Region, style: Style, z: float, heavy: bool) -> None:
    wide, tall = (0.25, 0.085) if heavy else (0.23, 0.075)
    region.rectangle((-wide - 0.015, z - tall - 0.015), (wide + 0.015, z + tall + 0.015), (90, 92, 95, 60))
    region.rectangle((-wide, z - tall), (wide, z + tall), style.plate_paint)
    region.text(style.plate, (0.0, z), tall * 1.05, style.plate_ink)


def paint_rear(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Tail: lamps, tailgate seam, handle bar, badge, plate, bumper."""
    region = atlas["rear"]
    region.fill(style.paint)
    low, high = shape.clearance, shape.profile_z[5]
    half = float(shape.half_width(shape.tail, high - 0.2))
    heavy = shape.kind in ("bus", "truck")
    _bumper(region, shape, style, half)
    region.line(
        [(-half * 0.72, high), (-half * 0.7, low + 0.38), (half * 0.7, low + 0.38), (half * 0.72, high)],
        palette.shaded(style.paint, 0.5, 40),
        0.018,
    )
    middle = high - 0.2 if not heavy else low + 0.5
    kind, size = style.tail_lamp, style.lamp_size
    for side in (-1, 1):
        edge = side * half
        if kind in (0, 2):
            region.rectangle(
                (edge - side * 0.17 * size, middle - 0.18), (edge + side * 0.1, middle + 0.14), _RED, 0.02
            )
            region.rectangle(
                (edge - side * 0.15 * size, middle - 0.1),
                (edge, middle - 0.03),
                (240, 236, 230, 255) if kind else _AMBER,
            )
        elif kind == 4:
            for step in (0, 1):
                region.ellipse(
                    (edge - side * (0.14 + 0.21 * step), middle),
                    (0.085 * size, 0.085 * size),
                    _RED if step == 0 else _AMBER,
                )
        elif kind == 5:
            region.polygon(
                [
                    (edge + side * 0.1, middle + 0.12),
                    (edge - side * 0.4 * size, middle + 0.1),
                    (edge - side * 0.2, middle - 0.06),
                    (edge + side * 0.1, middle - 0.14),
                ],
                _RED,
                0.01,
            )
        else:
            region.rectangle(
                (edge - side * 0.42 * size, middle - 0.06), (edge + side * 0.1, middle + 0.09), _RED, 0.02
            )
            region.rectangle(
                (edge - side * 0.3 * size, middle - 0.03), (edge - side * 0.18 * size, middle + 0.06), WHITE
            )
    if kind == 3:
        region.rectangle((-half * 0.7, middle - 0.02), (half * 0.7, middle + 0.06), _RED)
    elif style.bumper != 2:
        region.line([(-half * 0.4, middle - 0.06), (half * 0.4, middle - 0.06)], style.trim, 0.035)
    region.ellipse((0, middle + 0.06), (0.06, 0.05), CHROME)
    _plate(region, style, middle - 0.2 if style.bumper < 2 and not heavy else low + 0.24, heavy)
    region.text(style.number, (-half * 0.5, middle - 0.12), 0.06, CHROME)


def paint_tops(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Bonnet, windscreen, roof, rear window and deck."""
    hood, screen, roof, back, deck = (atlas[name] for name in ("hood", "screen", "roof", "back", "deck"))
    hood.fill(style.paint)
    deck.fill(style.paint if shape.kind != "pickup" else (52, 53, 56, 20))
    roof.fill(style.roof_paint)
    half = shape.width / 2
    if shape.profile_x[0] - shape.profile_x[1] > 0.3:
        seam = palette.shaded(style.paint, 0.6, 60)
        a0, a1 = hood.b
        for side in (-1, 1):
            hood.line([(side * half * 0.8, a1), (side * half * 0.62, a0 + 0.05)], seam, 0.016)
        hood.rectangle((-half, a1 - 0.06), (half, a1), DARK)
    heavy = shape.kind in ("bus", "truck")
    for region, glass, name in ((screen, style.glass, "screen"), (back, style.rear_glass, "back")):
        region.fill(style.roof_paint if name == "screen" else style.paint)
        near, far = sorted(region.b)
        z = np.interp([near, far], shape.arc(np.array(shape.profile_x)), np.arange(6))
        del z
        lower_arc = near if name == "screen" else far
        upper_arc = far if name == "screen" else near
        lower_x, upper_x = (
            (shape.profile_x[1], shape.profile_x[2])
            if name == "screen"
            else (shape.profile_x[4], shape.profile_x[3])
        )
        wide_low = float(shape.roof_edge(lower_x)) - 0.05
        wide_high = float(shape.roof_edge(upper_x)) - 0.05
        margin = (0.05 if name == "screen" else 0.08 + 0.05 * style.window_style) * np.sign(
            upper_arc - lower_arc
        )
        if name == "back" and shape.kind == "truck":
            continue
        shrink = 1.0 if name == "screen" else 0.93 - 0.04 * (style.window_style % 3)
        lower, upper = lower_arc + margin * 0.6, upper_arc - margin
        if heavy and name == "screen":
            upper = upper_arc - 0.42 * (shape.height - 2.0) if shape.kind == "bus" else upper_arc - 0.2
        outline = np.array(
            [
                (-wide_low * shrink, lower),
                (wide_low * shrink, lower),
                (wide_high * shrink, upper),
                (-wide_high * shrink, upper),
            ]
        )
        region.polygon(outline, DARK, 0.035)
        region.polygon(outline * (0.97, 1.0), glass, 0.0)
        if name == "screen":
            _behind_screen(region, style, outline)
            if shape.kind == "bus":
                sign = (upper + 0.06, upper_arc - 0.04)
                region.rectangle((-wide_high * 0.8, sign[0]), (wide_high * 0.8, sign[1]), DARK)
                region.text(
                    style.number + " " + style.word,
                    (0, sum(sign) / 2),
                    0.6 * (sign[1] - sign[0]),
                    (250, 190, 60, 60),
                )
        elif style.window_style % 2 and shape.kind != "bus":
            for step in (-1, 1):
                start = outline[:2].mean(0)
                region.line([start, start + (0.3 * step, 0.0)], DARK, 0.03)


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
