"""What is fixed to the shell: mirrors, rails, boxes, signs, spoilers, bars."""

import numpy as np

from .atlas import Atlas
from .mesh import MeshBuilder, box
from .shape import Shape
from .style import Style


def add_box(
    builder: MeshBuilder,
    atlas: Atlas,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    swatch: str,
    taper: float = 0.0,
    gloss: float = 0.6,
) -> None:
    """Add a plain box; `taper` draws its top edges in by that many metres."""
    quads = box(low, high)
    if taper:
        middle = (np.array(low) + np.array(high)) / 2
        inset = np.sign(middle - quads) * taper
        inset[..., 2] = 0
        quads = quads + inset * (quads[..., 2:] > middle[2])
    builder.add_quads(quads, atlas.swatch_uv(swatch, (6, 4)), None, gloss)


def add_parts(builder: MeshBuilder, shape: Shape, style: Style, atlas: Atlas) -> None:
    """Add everything that the style asks for."""
    _mirrors(builder, shape, atlas)
    _roof(builder, shape, style, atlas)
    if style.spoiler and shape.kind != "pickup":
        x, z = shape.profile_x[3], shape.profile_z[3] + shape.crown
        if shape.kind == "sedan":
            x, z = shape.tail + 0.2, shape.profile_z[5] + shape.crown + 0.1
            for side in (-1, 1):
                add_box(
                    builder,
                    atlas,
                    (x - 0.06, side * 0.5 - 0.03, z - 0.12),
                    (x + 0.02, side * 0.5 + 0.03, z),
                    "trim",
                )
        wide = float(shape.roof_edge(x)) * 0.92
        add_box(
            builder,
            atlas,
            (x - 0.24, -wide, z - 0.03),
            (x + 0.02, wide, z + 0.025),
            "accent" if style.number[0] in "13579" else "paint",
        )
    if shape.kind in ("suv", "pickup") and style.bumper == 2:
        x, wide = shape.front + 0.05, shape.width * 0.32
        swatch = "chrome" if style.trim[0] > 120 else "dark"
        for z in (shape.clearance + 0.2, shape.clearance + 0.42):
            add_box(builder, atlas, (x, -wide, z), (x + 0.06, wide, z + 0.06), swatch)
        for side in (-1, 1):
            add_box(
                builder,
                atlas,
                (x, side * wide - 0.03, shape.clearance + 0.1),
                (x + 0.06, side * wide + 0.03, shape.clearance + 0.52),
                swatch,
            )


def _mirrors(builder: MeshBuilder, shape: Shape, atlas: Atlas) -> None:
    heavy = shape.kind in ("bus", "truck")
    x = shape.profile_x[1] - (0.0 if heavy else 0.28)
    z = float(shape.shoulder(x)) + (0.55 if heavy else 0.09)
    y = float(shape.half_width(x, shape.shoulder(x))) if not heavy else float(shape.roof_edge(x)) * 1.0
    deep, wide, tall = (0.1, 0.22, 0.42) if heavy else (0.12, 0.2, 0.15)
    for side in (-1, 1):
        inner, outer = sorted((side * (y - 0.06), side * (y + wide)))
        add_box(
            builder,
            atlas,
            (x - deep, inner, z),
            (x + (0.25 if heavy else 0.03), outer, z + tall),
            "mirror",
            0.02,
        )


def _roof(builder: MeshBuilder, shape: Shape, style: Style, atlas: Atlas) -> None:
    front, rear = shape.profile_x[2], shape.profile_x[3]
    z = min(shape.profile_z[2:4]) + shape.crown * 0.5
    long, middle = front - rear, (front + rear) / 2
    wide = float(shape.roof_edge(middle))
    item = style.roof_item
    if shape.kind == "bus":
        if item in (3, 4):
            count = 1 + style.window_style % 2
            for k in range(count):
                x = front - long * (0.25 + 0.45 * k)
                add_box(builder, atlas, (x - 1.0, -0.75, z), (x + 0.9, 0.75, z + 0.24), "box", 0.15)
        return
    if item in (1, 2, 3, 5) and shape.kind not in ("truck",):
        swatch = "trim" if item != 3 else "dark"
        for side in (-1, 1):
            add_box(
                builder,
                atlas,
                (rear + 0.12 * long, side * wide * 0.86 - 0.025, z),
                (front - 0.08 * long, side * wide * 0.86 + 0.025, z + 0.075),
                swatch,
                0.01,
            )
        if item != 1:
            for share in (0.28, 0.75):
                x = rear + share * long
                add_box(
                    builder, atlas, (x - 0.03, -wide * 0.9, z + 0.06), (x + 0.03, wide * 0.9, z + 0.1), swatch
                )
    if item == 2:
        offset = 0.25 * wide * (style.window_style - 1.5)
        add_box(
            builder,
            atlas,
            (middle - 0.36 * long, offset - 0.36, z + 0.1),
            (middle + 0.42 * long, offset + 0.36, z + 0.1 + 0.28),
            "box",
            0.08,
        )
    elif item == 3:
        if shape.kind == "truck":
            add_box(
                builder, atlas, (rear, -wide * 0.9, z), (front - 0.15, wide * 0.9, z + 0.35), "paint", 0.12
            )
        else:
            add_box(
                builder,
                atlas,
                (rear + 0.2 * long, -wide * 0.75, z + 0.1),
                (front - 0.2 * long, wide * 0.75, z + 0.13),
                "dark",
            )
            add_box(
                builder,
                atlas,
                (middle - 0.3, -wide * 0.5, z + 0.13),
                (middle + 0.25, wide * 0.3, z + 0.3),
                "sack",
                0.06,
            )
    elif item == 4:
        x = front - 0.3 * long if shape.kind != "truck" else front - 0.25
        add_box(
            builder,
            atlas,
            (x - 0.12, -0.34, z),
            (x + 0.12, 0.34, z + 0.19),
            "lamp" if style.window_style < 2 else "box",
            0.04,
        )
    if item != 4 and style.window_style == 1:
        x = rear + 0.08 * long
        add_box(builder, atlas, (x, -0.02, z), (x + 0.16, 0.02, z + 0.12), "dark", 0.015)
