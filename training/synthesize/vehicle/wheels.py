"""Wheels and the drawing on them."""

import numpy as np

from training.synthesize.renderer.mesh import MeshBuilder
from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import CHROME, DARK, Style

_SIDES = 16


def paint_wheel(atlas: Atlas, style: Style) -> None:
    """Draw tyre, rim and hub; the region spans -1..1, the tyre's radius is 1."""
    region = atlas["wheel"]
    region.fill((26, 26, 28, 10))
    size, rim, kind = style.rim_size, style.rim, style.wheel_design
    hole = (38, 38, 41, 20)
    region.ellipse((0, 0), (size, size), rim)
    if kind in (0, 1, 2):
        spokes = (5, 7, 10)[kind]
        region.ellipse((0, 0), (size * 0.88, size * 0.88), hole)
        width = (0.24, 0.15, 0.08)[kind]
        for turn in np.arange(spokes) * 2 * np.pi / spokes + 0.3:
            region.line([(0, 0), (np.cos(turn) * size * 0.92, np.sin(turn) * size * 0.92)], rim, width)
    elif kind in (3, 4):
        count = 6 if kind == 3 else 12
        radius = 0.13 if kind == 3 else 0.07
        for turn in np.arange(count) * 2 * np.pi / count:
            region.ellipse((np.cos(turn) * size * 0.66, np.sin(turn) * size * 0.66), (radius, radius), hole)
    elif kind == 5:
        region.ellipse((0, 0), (size * 0.8, size * 0.8), palette.shaded(rim, 0.6))
        region.ellipse((0, 0), (size * 0.55, size * 0.55), rim)
    else:
        region.ellipse((0, 0), (size * 0.86, size * 0.86), hole)
        for turn in np.arange(3) * 2 * np.pi / 3:
            tip = np.array([(np.cos(turn + d), np.sin(turn + d)) for d in (-0.32, 0.32)]) * size * 0.92
            region.polygon([(0, 0), tip[0], tip[1]], rim, 0.03)
    region.ellipse((0, 0), (0.13, 0.13), CHROME if kind % 2 else style.accent)
    region.ellipse((0, 0), (0.06, 0.06), DARK)


def add_wheels(builder: MeshBuilder, shape: Shape, atlas: Atlas) -> None:
    """Add the four wheels, cylinders a little inside the flanks."""
    radius = shape.wheel_radius
    turn = np.arange(_SIDES) * 2 * np.pi / _SIDES
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    width = radius * (0.75 if shape.kind in ("bus", "truck") else 0.66)
    for x in shape.wheel_x:
        flank = wheel_face(shape, x)
        for side in (1, -1):
            outer, inner = side * flank, side * (flank - width)
            rim = np.zeros((_SIDES, 3))
            rim[:, 0], rim[:, 2] = x + radius * ring[:, 0], radius + radius * ring[:, 1]
            after = np.roll(np.arange(_SIDES), -1)
            outside, inside = rim.copy(), rim.copy()
            outside[:, 1], inside[:, 1] = outer, inner
            tread = np.stack([outside, inside, inside[after], outside[after]], axis=1)
            normals = np.zeros_like(tread)
            normals[:, :, ::2] = np.stack([ring, ring, ring[after], ring[after]], axis=1)
            if side > 0:
                tread, normals = tread[:, ::-1], normals[:, ::-1]
            builder.add_quads(tread, atlas.swatch_uv("tyre", (_SIDES, 4)), normals, 0.05)
            center = np.array([x, 0.0, radius])
            for y, disc, outward in ((outer, outside, side), (inner, inside, -side)):
                hub = np.repeat((center + np.array([0.0, y, 0.0]))[None], _SIDES, axis=0)
                corners = np.stack([hub, disc[after], disc], axis=1)
                flat = (corners[:, :, [0, 2]] - center[[0, 2]]) / radius
                uv = (
                    atlas["wheel"].uv(flat * (side, 1))
                    if outward == side
                    else atlas.swatch_uv("dark", (_SIDES, 3))
                )
                order = [0, 1, 2] if outward > 0 else [0, 2, 1]
                builder.add(corners[:, order], uv[:, order], None, 0.5)


def wheel_face(shape: Shape, x: float) -> float:
    """The y of a wheel's outer face at x."""
    return float(shape.half_width(x, shape.wheel_radius + shape.arch)) - 0.025
