"""Individual marks: stripes, stickers, lettering, odd panels, scratches, dents and dirt."""

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas
from training.synthesize.vehicle.flank_marks import paint_flank_mark
from training.synthesize.vehicle.paint_side import door_edges
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.stickers import flank_heights, paint_stickers
from training.synthesize.vehicle.style import Style


def paint_marks(atlas: Atlas, shape: Shape, style: Style) -> None:
    """Draw one vehicle's own marks over its painted body."""
    rng = np.random.default_rng([style.seed, 3])
    for draw in (_long_stripe, paint_flank_mark, _odd_panel, paint_stickers):
        if rng.random() < style.loudness:
            draw(atlas, shape, style, rng)
    _roof(atlas, shape, style, rng)
    _wear(atlas, shape, rng)


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
        atlas[name].rectangle((a, shape.clearance + 0.12), (b, flank_heights(shape)[1] - 0.06), paint, 0.03)
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
        region.rectangle(
            (x - 0.35, shape.clearance + 0.35), (x + 0.35, flank_heights(shape)[1] - 0.12), paint, 0.05
        )


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
        low, high = flank_heights(shape)
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
