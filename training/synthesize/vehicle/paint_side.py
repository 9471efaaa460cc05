"""Paint the flanks: windows, doors, cladding, arches, handles, lamps that reach round the corner."""

from itertools import pairwise

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas, Region
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import DARK, Style


def window_limits(shape: Shape) -> tuple[float, float]:
    """The x where the side glass begins (front) and ends (rear)."""
    _, cowl, roof_front, roof_rear, base, tail = shape.profile_x
    ends = {"sedan": 0.55, "hatchback": 0.35, "pickup": 0.1, "truck": 0.3}
    rear = roof_rear + ends.get(shape.kind, 0.2) * (base - roof_rear)
    if shape.kind in ("van", "bus", "suv", "estate", "mpv"):
        rear = max(rear, tail + 0.14)
    return cowl - 0.16 * (cowl - roof_front), rear


def pane(
    shape: Shape, start: float, end: float, low: float, high: float, kick: float = 0.0
) -> np.ndarray | None:
    """Outline [N, 2] of a side window between two x, kept within the greenhouse; None where none fits.

    low and high: margins to the waist and to the roof's edge, metres; kick: rise of the rear lower corner.
    """
    x = np.linspace(start, end, 9)
    top = shape.top(x)
    upper = top - 0.085 - high
    lower = shape.shoulder(x) + 0.03 + low + kick * np.clip((np.linspace(0, 1, 9) - 0.55) / 0.45, 0, 1)
    fits = upper - lower > 0.05
    if fits.sum() < 2:
        return None
    return np.concatenate([np.stack([x, lower], 1)[fits], np.stack([x, upper], 1)[fits][::-1]])


def splits(shape: Shape, style: Style) -> list[float]:
    """Fractions of the greenhouse's length where pillars stand."""
    variant = style.window_style
    layouts = {
        "sedan": [[0.52], [0.5, 0.86], [0.54, 0.9], [0.1, 0.52]],
        "hatchback": [[0.5], [0.62], [0.5, 0.84], [0.12, 0.54]],
        "suv": [[0.38, 0.7], [0.36, 0.74], [0.42, 0.8], [0.36, 0.66]],
        "estate": [[0.37, 0.7], [0.36, 0.72], [0.38, 0.68], [0.1, 0.4, 0.72]],
        "mpv": [[0.13, 0.42, 0.72], [0.36, 0.68], [0.16, 0.44, 0.7], [0.38, 0.74]],
        "van": [[0.3, 0.62], [0.28, 0.5, 0.75], [0.34], [0.3, 0.65]],
        "pickup": [[0.54], [0.5], [0.58], [0.52]]
        if shape.profile_x[4] - shape.tail < 1.8
        else [[], [0.7], [], []],
        "truck": [[], [0.75], [], [0.7]],
        "bus": [np.linspace(0, 1, n + 1)[1:-1].tolist() for n in (5, 6, 8, 4)],
    }
    return layouts[shape.kind][variant]


def paint_sides(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Paint both flanks."""
    for name in ("left", "right"):
        region = atlas[name]
        region.fill(style.paint)
        _lower(region, shape, style)
        _windows(region, shape, style)
        if shape.kind == "bus":
            _bus_doors(region, shape, style, right=name == "right")
        else:
            _doors(region, shape, style)
        _corner_lamps(region, shape, style)


def _lower(region: Region, shape: Shape, style: Style) -> None:
    """Roof band, sill or cladding, dark edges of the arches."""
    top = shape.height + 0.1
    cowl, base = shape.profile_x[1], shape.profile_x[4]
    x = np.linspace(cowl, base, 24)
    band = np.stack([x, np.maximum(shape.top(x) - 0.085, shape.shoulder(x) + 0.02)], 1)
    region.polygon(np.concatenate([band, [(base, top), (cowl, top)]]), style.roof_paint)
    sill = shape.clearance + style.cladding * (1.3 if shape.kind == "bus" else 0.8)
    region.rectangle((shape.tail - 0.2, 0.0), (shape.front + 0.2, sill), style.lower_paint)
    for wheel in shape.wheel_x:
        center = (wheel, shape.wheel_radius)
        if style.lower_paint != style.paint:
            region.ellipse(center, (shape.arch + 0.07, shape.arch + 0.07), style.lower_paint)
        region.ellipse(center, (shape.arch + 0.015, shape.arch + 0.015), DARK)
    region.rectangle(
        (shape.tail - 0.2, 0.0), (shape.front + 0.2, shape.clearance + 0.03), palette.shaded(DARK, 1.2)
    )


def _windows(region: Region, shape: Shape, style: Style) -> None:
    start, end = window_limits(shape)
    bus, van = shape.kind == "bus", shape.kind == "van"
    high = 0.28 if bus else 0.06 if van else 0.0
    low = 0.10 if bus and style.window_style % 2 else 0.0
    edges = [0.0, *splits(shape, style), 1.0]
    whole = pane(shape, start, end, low, high, style.kick if not bus else 0.0)
    blind = van and style.window_style == 2
    if whole is not None and not blind:
        region.polygon(whole, style.pillar_paint, 0.02)
        if style.frame != style.pillar_paint:
            region.line(whole, style.frame, 0.035, closed=True)
    gap = 0.045 if bus else 0.035
    for index, (first, last) in enumerate(pairwise(edges)):
        if blind and index > 0:
            break
        is_last = index == len(edges) - 2
        kick = style.kick if is_last and not bus else 0.0
        outline = pane(
            shape,
            start + (end - start) * first - (gap if index else 0.02),
            start + (end - start) * last + (gap if not is_last else 0.03),
            low + 0.025,
            high + 0.02,
            kick,
        )
        if outline is not None:
            glass = style.glass if index == 0 or (bus and not style.spoiler) else style.rear_glass
            region.polygon(outline, glass, 0.012)
            # A pale wedge: the far windows seen through the glass.
            middle = outline.mean(axis=0)
            inner = middle + (outline - middle) * (0.72, 0.55) + (0, 0.02)
            region.polygon(inner, palette.shaded(glass, 1.35))


def door_edges(shape: Shape, style: Style) -> list[float]:
    """The x of the vertical door seams."""
    start, end = window_limits(shape)
    cowl = shape.profile_x[1]
    pillars = [start + (end - start) * f for f in splits(shape, style) if f > 0.2]
    first = min(cowl - 0.02, shape.wheel_x[0] - shape.arch - 0.06)
    if shape.kind == "truck":
        return [shape.front - 0.22, shape.tail + 0.25]
    if shape.kind == "pickup":
        return [first, *pillars[:1], shape.profile_x[4] + 0.04]
    rear = max(shape.wheel_x[1] + shape.arch * 0.75, (pillars[1] if len(pillars) > 1 else end))
    return [first, *pillars[:1], rear]


def _doors(region: Region, shape: Shape, style: Style) -> None:
    seam = palette.shaded(style.paint, 0.45 if sum(style.paint[:3]) > 150 else 2.2, 60)
    edges = door_edges(shape, style)
    floor = shape.clearance + 0.12
    for x in edges:
        region.line([(x, floor), (x, float(shape.shoulder(x)))], seam, 0.016)
    region.line([(edges[0], floor), (edges[-1], floor)], seam, 0.016)
    for x in edges[1:]:
        z = float(shape.shoulder(x)) - 0.13
        region.rectangle((x + 0.06, z - 0.02), (x + 0.24, z + 0.018), style.handle, 0.015)
    if style.bumper == 1:
        z = shape.clearance + 0.34
        region.line([(edges[0], z), (edges[-1], z)], style.trim, 0.05)
    crease = float(shape.shoulder(0.0)) - 0.2
    region.line(
        [(shape.front - 0.5, crease - 0.03), (shape.tail + 0.3, crease)],
        palette.shaded(style.paint, 0.86),
        0.02,
    )


def _bus_doors(region: Region, shape: Shape, style: Style, right: bool) -> None:
    seam = palette.shaded(style.paint, 0.5, 60)
    if right:
        doors = [shape.front - 0.95, (shape.wheel_x[0] + shape.wheel_x[1]) / 2 + 0.5]
        for x in doors[: 1 + style.window_style % 2]:
            region.rectangle(
                (x - 0.5, shape.clearance + 0.05), (x + 0.5, shape.height - 0.4), style.pillar_paint, 0.04
            )
            for side in (-0.24, 0.24):
                region.rectangle(
                    (x + side - 0.2, shape.clearance + 0.15),
                    (x + side + 0.2, shape.height - 0.5),
                    style.glass,
                    0.04,
                )
    hatch = np.arange(shape.wheel_x[1] + 0.8, shape.wheel_x[0] - 0.8, 1.0)
    for x in hatch:
        region.line([(x, shape.clearance + 0.08), (x, shape.clearance + 0.6)], seam, 0.02)


def _corner_lamps(region: Region, shape: Shape, style: Style) -> None:
    nose, tail = shape.profile_z[0], shape.profile_z[5]
    heavy = shape.kind in ("bus", "truck")
    lamp = (232, 234, 236, 255)
    if not heavy:
        z = nose - 0.14
        reach = 0.16 + 0.2 * max(style.lamp_tilt, 0)
        outline = [
            (shape.front + 0.1, z - 0.07),
            (shape.front - 0.1, z - 0.05),
            (shape.front - reach, z + 0.05),
            (shape.front + 0.1, z + 0.05),
        ]
        region.polygon(outline, DARK, 0.02)
        region.polygon(outline, lamp if style.headlamp != 3 else (60, 62, 66, 255))
        low, high = (tail - 0.26, tail - 0.08) if style.tail_lamp % 2 else (tail - 0.36, tail - 0.05)
        region.polygon(
            [
                (shape.tail - 0.1, low),
                (shape.tail + 0.1, low),
                (shape.tail + 0.08 + 0.16 * style.lamp_size, high),
                (shape.tail - 0.1, high),
            ],
            (176, 18, 22, 255),
        )
    z = shape.clearance + 0.36 if not heavy else shape.clearance + 0.42
    region.rectangle((shape.front - 0.32, z - 0.02), (shape.front - 0.22, z + 0.03), (236, 140, 30, 200))
