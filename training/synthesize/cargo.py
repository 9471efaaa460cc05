"""What trucks and pickups carry: boxes, tarpaulins, flat beds, tanks and what lies on them."""

from dataclasses import dataclass

import numpy as np

from . import palette
from .atlas import Atlas
from .mesh import MeshBuilder, box
from .parts import add_box
from .shape import Shape
from .style import DARK, WHITE, Style

_GAP = 0.12
_TOP = 1.32
"""A box body may stand this many times as high as the cab."""


@dataclass(frozen=True)
class Cargo:
    """A truck's body: from x `front` to `rear`, `half` wide, floor and top heights; `tall` where it is a box."""

    front: float
    rear: float
    half: float
    floor: float
    top: float
    tall: bool


def cargo_ranges(shape: Shape) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Metric spans of the load's regions."""
    half, top = shape.width / 2 + 0.1, shape.height * _TOP + 0.1
    return {
        "load_side": ((shape.rear, shape.tail), (0.6, top)),
        "load_end": ((half, -half), (0.6, top)),
        "load_top": ((shape.rear, shape.tail), (-half, half)),
    }


def add_cargo(builder: MeshBuilder, shape: Shape, style: Style, atlas: Atlas) -> Cargo | None:
    """Add a truck's body or a pickup's load; returns the truck's body, None for every other type."""
    rng = np.random.default_rng([style.seed, 2])
    if shape.kind == "pickup":
        _pickup_load(builder, shape, style, atlas, rng)
    if shape.kind != "truck":
        return None
    kind = int(rng.choice(5, p=[0.38, 0.22, 0.2, 0.1, 0.1]))
    floor = shape.wheel_radius * 2 + 0.12
    tall = kind in (0, 1)
    top = shape.height * float(rng.uniform(0.98, _TOP)) if tall else floor + float(rng.uniform(0.35, 0.6))
    cargo = Cargo(
        shape.tail - _GAP, shape.rear, shape.width / 2 * float(rng.uniform(0.98, 1.06)), floor, top, tall
    )
    add_box(
        builder,
        atlas,
        (shape.rear + 0.05, -0.45, floor - 0.28),
        (shape.tail + 0.1, 0.45, floor + 0.01),
        "dark",
    )
    for side in (-1, 1):
        low, high = sorted((side * (cargo.half - 0.12), side * (cargo.half - 0.06)))
        clear = shape.wheel_x[1] + shape.wheel_radius + 0.15
        if shape.wheel_x[0] - shape.wheel_radius - 0.2 > clear:
            add_box(
                builder,
                atlas,
                (clear, low, shape.clearance),
                (min(cargo.front, shape.wheel_x[0] - shape.wheel_radius - 0.2), high, floor - 0.1),
                "trim" if rng.random() < 0.5 else "dark",
            )
    add_box(
        builder,
        atlas,
        (shape.rear, -cargo.half * 0.95, shape.clearance + 0.1),
        (shape.rear + 0.1, cargo.half * 0.95, shape.clearance + 0.25),
        "accent",
    )
    for side in (-1, 1):
        add_box(
            builder,
            atlas,
            (shape.rear - 0.02, side * cargo.half * 0.75 - 0.15, floor - 0.18),
            (shape.rear + 0.06, side * cargo.half * 0.75 + 0.15, floor - 0.04),
            "lamp" if style.tail_lamp % 2 else "accent",
        )
    body = _body_paint(style, rng)
    _paint_load(atlas, cargo, style, body, kind, rng)
    _body(builder, atlas, cargo, taper=0.12 if kind == 1 else 0.0)
    if not tall:
        _goods(builder, atlas, cargo, kind, rng)
    return cargo


def _body_paint(style: Style, rng: np.random.Generator) -> tuple[int, int, int, int]:
    choices = (
        style.paint,
        palette.shaded(style.paint, 0.8),
        WHITE,
        (170, 172, 175, 60),
        style.accent,
        (90, 100, 80, 10),
        (60, 80, 130, 10),
    )
    return choices[rng.choice(7, p=[0.42, 0.2, 0.12, 0.08, 0.08, 0.05, 0.05])]


def _body(builder: MeshBuilder, atlas: Atlas, cargo: Cargo, taper: float) -> None:
    quads = box((cargo.rear, -cargo.half, cargo.floor), (cargo.front, cargo.half, cargo.top))
    if taper:
        quads[..., 1] *= np.where(quads[..., 2] > cargo.floor + 0.1, 1 - taper / cargo.half, 1.0)
    axes = ([1, 2], [1, 2], [0, 2], [0, 2], [0, 1], [0, 1])
    names = ("load_end", "load_end", "load_side", "load_side", "load_top", "load_top")
    for index, (quad, pick, name) in enumerate(zip(quads, axes, names, strict=True)):
        ab = quad[:, pick]
        if name == "load_side" and index == 2:
            # The left side is seen with the front at the viewer's left: mirror it, so that lettering reads.
            ab = ab * (-1, 1) + (cargo.front + cargo.rear, 0)
        if name == "load_end" and index == 0:
            ab = ab * (-1, 1)
        uv = atlas.swatch_uv("dark", (4,)) if index == 5 else atlas[name].uv(ab)
        builder.add_quads(quad[None], uv[None], None, 0.5)


def _paint_load(
    atlas: Atlas,
    cargo: Cargo,
    style: Style,
    body: tuple[int, int, int, int],
    kind: int,
    rng: np.random.Generator,
) -> None:
    side, end, top = atlas["load_side"], atlas["load_end"], atlas["load_top"]
    for region in (side, end, top):
        region.fill(body)
    ink = palette.contrasting(rng, body)
    second = palette.contrasting(rng, body, ink)
    tall, long = cargo.top - cargo.floor, cargo.front - cargo.rear
    seam = palette.shaded(body, 0.72)
    for x in np.arange(cargo.rear + 0.2, cargo.front, float(rng.choice([0.35, 0.6, 1.2]))):
        side.line([(x, cargo.floor), (x, cargo.top)], seam, 0.03)
    middle = (cargo.front + cargo.rear) / 2
    if cargo.tall:
        pattern = int(rng.integers(5))
        z = cargo.floor + tall * float(rng.uniform(0.25, 0.6))
        if pattern == 0:
            side.rectangle((cargo.rear, z - 0.12 * tall), (cargo.front, z + 0.12 * tall), ink)
            end.rectangle((-2, z - 0.12 * tall), (2, z + 0.12 * tall), ink)
        elif pattern == 1:
            side.polygon(
                [
                    (cargo.rear, cargo.floor),
                    (cargo.rear + long * 0.5, cargo.floor),
                    (cargo.rear + long * 0.8, cargo.top),
                    (cargo.rear, cargo.top),
                ],
                ink,
            )
        elif pattern == 2:
            side.ellipse((middle, cargo.floor + tall * 0.52), (tall * 0.32, tall * 0.32), ink)
            end.ellipse((0.0, cargo.floor + tall * 0.6), (tall * 0.22, tall * 0.22), ink)
        elif pattern == 3:
            side.rectangle(
                (cargo.rear + 0.1 * long, cargo.floor + 0.3 * tall),
                (cargo.rear + 0.45 * long, cargo.floor + 0.85 * tall),
                ink,
                0.05,
            )
            end.rectangle((-0.5, cargo.floor + 0.5 * tall), (0.5, cargo.floor + 0.8 * tall), ink)
        if rng.random() < 0.75:
            place = middle + float(rng.uniform(-0.12, 0.12)) * long
            side.text(
                style.word,
                (place, cargo.floor + tall * float(rng.uniform(0.45, 0.75))),
                tall * float(rng.uniform(0.16, 0.28)),
                second,
            )
        if rng.random() < 0.6:
            end.text(style.word, (0.0, cargo.floor + tall * 0.78), 0.2, second)
        end.line([(0, cargo.floor), (0, cargo.top)], DARK, 0.03)
        for y in (-0.5, 0.5):
            end.line([(y * cargo.half, cargo.floor), (y * cargo.half, cargo.top)], seam, 0.03)
        top.line([(cargo.rear, 0), (cargo.front, 0)], seam, 0.06)
    elif kind == 2:
        top.fill((110, 84, 56, 10))
    else:
        top.fill((92, 84, 74, 5))
    for region, a in ((side, (cargo.rear, cargo.front)), (end, (-cargo.half, cargo.half))):
        edge = DARK if rng.random() < 0.5 else palette.shaded(body, 0.6)
        region.rectangle((a[0], cargo.floor - 0.1), (a[1], cargo.floor + 0.07), edge)
        region.line([(a[0], cargo.top - 0.03), (a[1], cargo.top - 0.03)], edge, 0.06)


def _goods(builder: MeshBuilder, atlas: Atlas, cargo: Cargo, kind: int, rng: np.random.Generator) -> None:
    """Crates, sacks or a tank on a flat bed."""
    x, end = cargo.rear + 0.1, cargo.front - 0.15
    swatches = ("wood", "sack", "box", "accent", "paint")
    if kind == 3:
        add_box(
            builder,
            atlas,
            (x, -cargo.half * 0.8, cargo.top),
            (end, cargo.half * 0.8, cargo.top + 0.75),
            "box",
            0.35,
        )
        return
    while x < end - 0.5:
        long, tall = float(rng.uniform(0.5, 1.3)), float(rng.uniform(0.15, 0.95))
        half = cargo.half * float(rng.uniform(0.5, 0.92))
        stop = min(x + long, end)
        add_box(
            builder,
            atlas,
            (x, -half, cargo.top - 0.01),
            (stop, half, cargo.top + tall),
            swatches[rng.integers(5)],
            0.05,
        )
        x = stop + float(rng.uniform(0.02, 0.5))


def _pickup_load(
    builder: MeshBuilder, shape: Shape, style: Style, atlas: Atlas, rng: np.random.Generator
) -> None:
    front, rear = shape.profile_x[4] - 0.08, shape.tail + 0.12
    rim = float(shape.shoulder((front + rear) / 2))
    floor, half = rim - shape.bed_depth, shape.width / 2 - 0.2
    kind = int(rng.choice(6, p=[0.2, 0.2, 0.16, 0.14, 0.16, 0.14]))
    if kind == 1:
        for _ in range(int(rng.integers(2, 5))):
            x, y = float(rng.uniform(rear, front - 0.5)), float(rng.uniform(-half, half - 0.5))
            tall = shape.bed_depth * float(rng.uniform(0.8, 2.0))
            swatch = ("wood", "sack", "accent", "box")[rng.integers(4)]
            add_box(
                builder,
                atlas,
                (x, y, floor),
                (min(x + 0.55, front), min(y + 0.6, half), floor + tall),
                swatch,
                0.03,
            )
    elif kind == 2:
        add_box(builder, atlas, (rear, -half - 0.1, rim + 0.01), (front, half + 0.1, rim + 0.05), "dark")
    elif kind == 3:
        top = shape.height - 0.06
        add_box(
            builder,
            atlas,
            (rear - 0.04, -half - 0.1, rim),
            (front + 0.02, half + 0.1, top),
            "paint" if rng.random() < 0.6 else "box",
            0.14,
        )
        add_box(
            builder,
            atlas,
            (rear + 0.2, -half - 0.06, rim + 0.12),
            (front - 0.2, half + 0.06, top - 0.12),
            "glass",
            0.06,
        )
    elif kind == 4:
        x = front - 0.1
        for side in (-1, 1):
            add_box(
                builder,
                atlas,
                (x - 0.06, side * half - 0.03, floor),
                (x, side * half + 0.03, shape.height + 0.06),
                "trim",
            )
        add_box(builder, atlas, (x - 0.06, -half, shape.height), (x, half, shape.height + 0.06), "trim")
    elif kind == 5:
        add_box(
            builder,
            atlas,
            (rear + 0.05, -half, floor),
            (front, half, rim + float(rng.uniform(0.05, 0.35))),
            "sack",
            0.2,
        )
    del style
