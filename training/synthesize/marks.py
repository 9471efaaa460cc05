"""Individual marks: stripes, stickers, lettering, odd panels, scratches, dents and dirt."""

import numpy as np

from . import palette
from .atlas import Atlas, Region
from .paint_side import door_edges
from .shape import Shape
from .style import DARK, WHITE, Style


def paint_marks(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Draw one vehicle's own marks over its painted body."""
    rng = np.random.default_rng([style.seed, 3])
    _long_stripe(atlas, shape, style, rng)
    _flank_mark(atlas, shape, style, rng)
    _odd_panel(atlas, shape, style, rng)
    _stickers(atlas, shape, style, rng)
    _roof(atlas, shape, style, rng)
    _wear(atlas, shape, rng)


def _flank(shape: Shape) -> tuple[float, float]:
    """The heights between which a flank is free of sill and window."""
    low = shape.clearance + 0.2
    return low, float(shape.shoulder(0.3 * shape.front)) - 0.03


def _long_stripe(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    """Stripes from nose to tail over bonnet, roof and deck."""
    odds = 0.12 if shape.kind in ("bus", "truck") else 0.26
    if rng.random() > odds:
        return
    wide = float(rng.uniform(0.1, 0.22))
    centers = ([0.0], [-0.22, 0.22], [float(rng.uniform(0.25, 0.5))], [-0.5, 0.5])[rng.integers(4)]
    names = ["front", "hood", "roof", "deck", "rear"]
    if rng.random() < 0.35:
        names = ["hood", "front"]
    for name in names:
        if name == "deck" and shape.kind == "pickup":
            continue
        region = atlas[name]
        for y in centers:
            if name == "roof":
                region.line([(region.a[0], y), (region.a[1], y)], style.accent, wide)
            else:
                high = max(region.b)
                low = min(region.b) if name not in ("front", "rear") else high - 0.22
                region.line([(y, low), (y, high)], style.accent, wide)


def _flank_mark(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    """The one large drawing on both flanks, continued round the ends where it is a band."""
    kind = int(rng.choice(9, p=[0.2, 0.15, 0.1, 0.11, 0.1, 0.1, 0.09, 0.08, 0.07]))
    low, high = _flank(shape)
    at = low + (high - low) * float(rng.uniform(0.2, 0.85))
    wide = float(rng.uniform(0.06, 0.2)) * (1.6 if shape.kind == "bus" else 1.0)
    start, stop = shape.front, shape.tail
    spot = (start * float(rng.uniform(-0.3, 0.3)), (low + high) / 2)
    tall = min(high - low, 0.5) * float(rng.uniform(0.45, 0.75))
    shift = float(rng.uniform(0.4, 1.0))
    for name in ("left", "right"):
        region = atlas[name]
        if kind == 1:
            region.line([(start, at), (stop, at)], style.accent, wide)
            if style.number[0] in "2468":
                region.line([(start, at - wide), (stop, at - wide)], style.accent2, wide * 0.4)
        elif kind == 2:
            x = np.linspace(start, stop, 24)
            z = low + (high - low) * (
                0.5 + 0.38 * np.sin(x * 2 * np.pi * shift / (start - stop) + style.seed % 7)
            )
            region.line(np.stack([x, z], 1), style.accent, wide)
        elif kind == 3:
            x = spot[0]
            for k in range(1 + style.seed % 3):
                region.polygon(
                    [
                        (x - k * 0.5, low),
                        (x - k * 0.5 + 0.26, low),
                        (x - k * 0.5 + 0.62, high),
                        (x - k * 0.5 + 0.36, high),
                    ],
                    style.accent if k != 1 else style.accent2,
                )
        elif kind == 4:
            region.text(style.word, spot, tall * 0.8, style.accent, 0.2)
        elif kind == 5:
            region.ellipse(spot, (tall * 0.75, tall * 0.75), WHITE if style.accent != WHITE else DARK)
            region.text(style.number, spot, tall * 0.6, style.accent, 0.2)
        elif kind == 6:
            step = wide * 0.9
            for k, x in enumerate(np.arange(stop + 0.3, start - 0.4, step)):
                z = at + (step / 2 if k % 2 else -step / 2)
                region.rectangle((x, z - step / 2), (x + step, z + step / 2), style.accent)
        elif kind == 7:
            region.polygon(
                [
                    (stop, low - 0.1),
                    (stop, high),
                    (stop + shift * 1.4, high),
                    (stop + shift * 0.6, low - 0.1),
                ],
                style.accent,
            )
        elif kind == 8:
            region.polygon(
                [(start, low - 0.1), (start, high - 0.12), (start - shift * 1.6, at)], style.accent
            )
    if kind in (1, 6):
        for name in ("front", "rear"):
            half = shape.width
            atlas[name].line([(-half, at), (half, at)], style.accent, wide * 0.7)
    if kind in (4, 5):
        atlas["rear"].text(
            style.word if kind == 4 else style.number,
            (0.0, shape.profile_z[5] - 0.13),
            0.1,
            style.accent,
            0.2,
        )


def _odd_panel(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    """A door, bonnet or bumper of another shade: primer, a spare part, black foil."""
    which = int(rng.choice(6, p=[0.58, 0.12, 0.12, 0.06, 0.06, 0.06]))
    shades = ((44, 44, 46, 10), (150, 146, 140, 10), palette.shaded(style.paint, 0.72), style.accent)
    paint = shades[rng.integers(4)]
    if which == 1 and shape.kind != "bus":
        edges = door_edges(shape, style)
        k = int(rng.integers(len(edges) - 1))
        name = ("left", "right")[rng.integers(2)]
        a, b = sorted((edges[k], edges[k + 1]))
        atlas[name].rectangle(
            (a, shape.clearance + 0.12), (b, min(_flank(shape)[1], 9.0) - 0.06), paint, 0.03
        )
    elif which == 2:
        hood = atlas["hood"]
        hood.rectangle((-shape.width * 0.36, min(hood.b)), (shape.width * 0.36, max(hood.b) - 0.06), paint)
    elif which in (3, 4):
        atlas["front" if which == 3 else "rear"].rectangle(
            (-2, shape.clearance), (2, shape.clearance + 0.13), paint
        )
    elif which == 5:
        region, side = atlas[("left", "right")[rng.integers(2)]], rng.choice([-1, 1])
        x = shape.front - 0.35 if side > 0 else shape.tail + 0.35
        region.rectangle((x - 0.35, shape.clearance + 0.35), (x + 0.35, _flank(shape)[1] - 0.12), paint, 0.05)


def _stickers(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    low, high = _flank(shape)
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


def _roof(atlas: Atlas, shape: Shape, style: Style, rng: np.random.Generator) -> None:
    roof = atlas["roof"]
    front, rear = min(roof.a), max(roof.a)
    long, half = rear - front, float(shape.roof_edge(shape.profile_x[2])) * 0.62
    if shape.kind in ("bus", "truck", "van"):
        for x in np.linspace(front, rear, 7)[1:-1]:
            roof.line([(x, -half), (x, half)], palette.shaded(style.roof_paint, 0.8), 0.03)
        if rng.random() < 0.4:
            roof.text(
                style.number,
                ((front + rear) / 2, 0.0),
                half * 0.7,
                palette.contrasting(rng, style.roof_paint),
            )
    elif style.sunroof:
        stop = front + long * (0.42 if style.sunroof == 1 else 0.85)
        roof.rectangle((front + 0.1 * long, -half), (stop, half), (16, 18, 22, 255), 0.04)


def _wear(atlas: Atlas, shape: Shape, rng: np.random.Generator) -> None:
    """Dust from below, scratches and dents."""
    dust = np.array([(126, 112, 92), (96, 90, 84), (150, 140, 122)][rng.integers(3)], dtype=np.float32)
    amount = float(rng.choice([0.0, 0.15, 0.35, 0.6])) * float(rng.uniform(0.6, 1.0))
    for name in ("left", "right", "front", "rear"):
        region = atlas[name]
        if amount > 0:
            rows = np.linspace(max(region.b), min(region.b), region.rect[3], dtype=np.float32)
            alpha = amount * np.clip((shape.clearance + 0.5 - rows) / 0.5, 0, 1)[:, None, None]
            canvas = region.canvas.astype(np.float32)
            canvas[..., :3] += (dust - canvas[..., :3]) * alpha
            canvas[..., 3:] *= 1 - alpha
            region.canvas[:] = canvas.astype(np.uint8)
        low, high = _flank(shape)
        for _ in range(int(rng.poisson(0.7))):
            a = float(rng.uniform(min(region.a) + 0.3, max(region.a) - 0.3))
            b = float(rng.uniform(low, high))
            paint = ((225, 225, 222, 20), (60, 58, 56, 20))[rng.integers(2)]
            region.line(
                [(a, b), (a + float(rng.uniform(0.1, 0.6)), b + float(rng.uniform(-0.06, 0.06)))],
                paint,
                0.015,
            )
        if rng.random() < 0.15:
            a, b = float(rng.uniform(min(region.a) + 0.5, max(region.a) - 0.5)), float(rng.uniform(low, high))
            region.ellipse((a, b), (0.12, 0.08), (70, 62, 58, 20))
