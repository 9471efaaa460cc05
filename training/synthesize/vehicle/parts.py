"""What is fixed to the shell: mirrors, rails, boxes, signs, spoilers, bars."""

from training.synthesize.vehicle.atlas import PartBuilder
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import Style


def add_parts(parts: PartBuilder, shape: Shape, style: Style) -> None:
    """Add everything that the style asks for."""
    _mirrors(parts, shape)
    if shape.kind == "bus":
        _air_conditioners(parts, shape, style)
    else:
        _rails(parts, shape, style)
        _roof_item(parts, shape, style)
    if style.spoiler and shape.kind != "pickup":
        _spoiler(parts, shape, style)
    if shape.kind in ("suv", "pickup") and style.bumper == 2:
        _bull_bar(parts, shape, style)


def _mirrors(parts: PartBuilder, shape: Shape) -> None:
    heavy = shape.kind in ("bus", "truck")
    x = shape.profile_x[1] - (0.0 if heavy else 0.28)
    waist = float(shape.shoulder(x))
    z = min(waist + 0.55, shape.height - 0.55) if heavy else waist + 0.09
    y = float(shape.roof_edge(x) if heavy else shape.half_width(x, waist))
    back, forth = (0.06, 0.08) if heavy else (0.12, 0.03)
    wide, tall = (0.22, 0.42) if heavy else (0.2, 0.15)
    for side in (-1, 1):
        inner, outer = sorted((side * (y - 0.06), side * (y + wide)))
        parts.box((x - back, inner, z), (x + forth, outer, z + tall), "mirror", 0.02)
        if heavy:
            # An arm back to the cab's pillar.
            low, high = sorted((side * (y - 0.12), side * (y + 0.04)))
            parts.box((x - 0.45, low, z + tall - 0.04), (x, high, z + tall), "dark")


def _roof_frame(shape: Shape) -> tuple[float, float, float, float]:
    """The roof's front and rear x, its half width in the middle and the height where parts stand."""
    front, rear = shape.profile_x[2], shape.profile_x[3]
    z = min(shape.profile_z[2:4]) + shape.crown * 0.5
    return front, rear, float(shape.roof_edge((front + rear) / 2)), z


def _air_conditioners(parts: PartBuilder, shape: Shape, style: Style) -> None:
    front, rear, _, z = _roof_frame(shape)
    if style.roof_item in (3, 4):
        for k in range(1 + style.window_style % 2):
            x = front - (front - rear) * (0.25 + 0.45 * k)
            parts.box((x - 1.0, -0.75, z), (x + 0.9, 0.75, z + 0.24), "box", 0.15)


def _rails(parts: PartBuilder, shape: Shape, style: Style) -> None:
    """Rails along the roof, and cross bars where they carry something."""
    if style.roof_item not in (1, 2, 3, 5) or shape.kind == "truck":
        return
    front, rear, wide, z = _roof_frame(shape)
    long = front - rear
    swatch = "dark" if style.roof_item == 3 else "trim"
    for side in (-1, 1):
        y = side * wide * 0.86
        parts.box(
            (rear + 0.12 * long, y - 0.025, z), (front - 0.08 * long, y + 0.025, z + 0.075), swatch, 0.01
        )
    if style.roof_item != 1:
        for share in (0.28, 0.75):
            x = rear + share * long
            parts.box((x - 0.03, -wide * 0.9, z + 0.06), (x + 0.03, wide * 0.9, z + 0.1), swatch)


def _roof_item(parts: PartBuilder, shape: Shape, style: Style) -> None:
    """Roof box, luggage rack (a truck's wind deflector), lamp sign or aerial."""
    front, rear, wide, z = _roof_frame(shape)
    long, middle = front - rear, (front + rear) / 2
    truck = shape.kind == "truck"
    if style.roof_item == 2 and not truck:
        y = 0.25 * wide * (style.window_style - 1.5)
        parts.box(
            (middle - 0.36 * long, y - 0.36, z + 0.1),
            (middle + 0.42 * long, y + 0.36, z + 0.38),
            "box",
            0.08,
        )
    elif style.roof_item == 3 and truck:
        parts.box((rear, -wide * 0.9, z), (front - 0.15, wide * 0.9, z + 0.35), "paint", 0.12)
    elif style.roof_item == 3:
        parts.box(
            (rear + 0.2 * long, -wide * 0.75, z + 0.1), (front - 0.2 * long, wide * 0.75, z + 0.13), "dark"
        )
        parts.box((middle - 0.3, -wide * 0.5, z + 0.13), (middle + 0.25, wide * 0.3, z + 0.3), "sack", 0.06)
    elif style.roof_item == 4:
        x = front - (0.25 if truck else 0.3 * long)
        swatch = "lamp" if style.window_style < 2 else "box"
        parts.box((x - 0.12, -0.34, z), (x + 0.12, 0.34, z + 0.19), swatch, 0.04)
    if style.roof_item != 4 and style.window_style == 1:
        x = rear + 0.08 * long
        parts.box((x, -0.02, z), (x + 0.16, 0.02, z + 0.12), "dark", 0.015)


def _spoiler(parts: PartBuilder, shape: Shape, style: Style) -> None:
    x, z = shape.profile_x[3], shape.profile_z[3] + shape.crown
    if shape.kind == "sedan":
        x, z = shape.tail + 0.2, shape.profile_z[5] + shape.crown + 0.1
        for y in (-0.5, 0.5):
            parts.box((x - 0.06, y - 0.03, z - 0.12), (x + 0.02, y + 0.03, z), "trim")
    wide = float(shape.roof_edge(x)) * 0.92
    swatch = "accent" if style.number[0] in "13579" else "paint"
    parts.box((x - 0.24, -wide, z - 0.03), (x + 0.02, wide, z + 0.025), swatch)


def _bull_bar(parts: PartBuilder, shape: Shape, style: Style) -> None:
    x, wide, low = shape.front + 0.05, shape.width * 0.32, shape.clearance
    swatch = "chrome" if style.trim[0] > 120 else "dark"
    for z in (low + 0.2, low + 0.42):
        parts.box((x, -wide, z), (x + 0.06, wide, z + 0.06), swatch)
    for y in (-wide, wide):
        parts.box((x, y - 0.03, low + 0.1), (x + 0.06, y + 0.03, low + 0.52), swatch)
