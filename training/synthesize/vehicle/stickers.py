"""Stickers on flanks, tail, rear window and bonnet."""

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas, Region
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import DARK, WHITE, Style


def flank_heights(shape: Shape) -> tuple[float, float]:
    """The heights between which a flank is free of sill and window."""
    return shape.clearance + 0.2, float(shape.shoulder(0.3 * shape.front)) - 0.03


def paint_stickers(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    low, high = flank_heights(shape)
    for _ in range(int(rng.integers(1, 5))):
        size = float(rng.uniform(0.08, 0.2)) * (1.7 if shape.kind == "bus" else 1.0)
        x, z = (
            float(rng.uniform(shape.tail + 0.3, shape.front - 0.4)),
            float(rng.uniform(low + 0.08, high - 0.08)),
        )
        kind, paint = int(rng.integers(5)), palette.contrasting(rng, style.paint)
        for name in ("left", "right") if rng.random() < 0.6 else (("left", "right")[rng.integers(2)],):
            _sticker(atlas[name], kind, (x, min(z, high - size)), size, paint, style)
    for _ in range(int(rng.integers(0, 3))):
        place = (float(rng.uniform(-0.6, 0.6)), shape.profile_z[5] - float(rng.uniform(0.12, 0.4)))
        _sticker(
            atlas["rear"],
            int(rng.integers(5)),
            place,
            float(rng.uniform(0.06, 0.13)),
            palette.contrasting(rng, style.paint),
            style,
        )
    back = atlas["back"]
    if rng.random() < 0.45:
        near, far = sorted(back.b)
        s = near + (far - near) * float(rng.uniform(0.3, 0.75))
        _sticker(
            back,
            int(rng.integers(5)),
            (float(rng.uniform(-0.5, 0.5)), s),
            float(rng.uniform(0.08, 0.14)),
            palette.contrasting(rng, style.rear_glass),
            style,
        )
    if rng.random() < 0.3 and shape.profile_x[0] - shape.profile_x[1] > 0.3:
        hood = atlas["hood"]
        s = float(np.mean(hood.b))
        _sticker(
            hood,
            int(rng.integers(5)),
            (float(rng.uniform(-0.4, 0.4)), s),
            float(rng.uniform(0.12, 0.26)),
            palette.contrasting(rng, style.paint),
            style,
        )


def _sticker(
    region: Region,
    kind: int,
    place: tuple[float, float],
    size: float,
    paint: tuple[int, int, int, int],
    style: Style,
) -> None:
    a, b = place
    if kind == 0:
        region.ellipse(place, (size, size), paint)
    elif kind == 1:
        region.rectangle((a - size, b - size * 0.65), (a + size, b + size * 0.65), paint, 0.02)
        region.text(style.number[:2], place, size * 0.8, DARK if sum(paint[:3]) > 330 else WHITE)
    elif kind == 2:
        turn = np.arange(10) * np.pi / 5 + np.pi / 2
        radius = size * 1.15 * np.where(np.arange(10) % 2, 0.42, 1.0)
        region.polygon(np.stack([a + radius * np.cos(turn), b + radius * np.sin(turn)], 1), paint)
    elif kind == 3:
        region.polygon([(a - size, b - size * 0.8), (a + size, b - size * 0.8), (a, b + size)], paint)
    else:
        region.ellipse(place, (size, size), paint, size * 0.4)
