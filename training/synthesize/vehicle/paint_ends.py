"""Paint nose and tail: lamps, grille, badge, plate, bumpers."""

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas, Paint, Region
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import CHROME, DARK, WHITE, Style

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
    _grille(region, style, half, middle, low)
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


def _grille(region: Region, style: Style, half: float, middle: float, low: float) -> None:
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


def _headlamp(region: Region, style: Style, side: int, half: float, middle: float) -> None:
    size, kind = style.lamp_size, style.headlamp
    center = side * half * 0.76
    lamp = _SMOKED if kind == 3 else _LAMP
    wide, tall = half * 0.21 * size, 0.075 * size
    if kind == 0:
        region.ellipse((center, middle), (0.12 * size, 0.12 * size), DARK)
        region.ellipse((center, middle), (0.1 * size, 0.1 * size), lamp)
    elif kind == 1:
        rim = 0.018
        region.rectangle(
            (center - wide - rim, middle - tall - rim), (center + wide + rim, middle + tall + rim), DARK, 0.03
        )
        region.rectangle((center - wide, middle - tall), (center + wide, middle + tall), lamp, 0.02)
    else:
        tilt = 0.09 * style.lamp_tilt
        inner, outer = center - side * wide * 1.2, side * half * 1.05
        slim = 0.55 if kind == 4 else 1.0
        reach = tall * slim
        outline = [
            (inner, middle - reach - tilt * 0.4),
            (outer, middle - reach + tilt),
            (outer, middle + reach + tilt),
            (inner, middle + reach * 0.5),
        ]
        region.polygon(outline, DARK, 0.028)
        region.polygon(outline, lamp, 0.01)
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
