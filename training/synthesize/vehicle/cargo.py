"""A truck's body (box, tarpaulin, flat bed or tank) and what lies on it, or on a pickup's bed."""

from dataclasses import dataclass

import numpy as np

from training.synthesize.renderer.mesh import box
from training.synthesize.vehicle.atlas import PartBuilder
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.style import Style

_GAP = 0.12
_TOP = 1.32
"""A box body may stand this many times as high as the cab."""


@dataclass(frozen=True)
class Cargo:
    """A truck's body: x from `front` to `rear`, `half` wide, heights of floor and top, metres.

    `kind` is box, tarpaulin, flatbed, tank or tipper; the first two are `tall`.
    """

    kind: str
    front: float
    rear: float
    half: float
    floor: float
    top: float

    @property
    def tall(self) -> bool:
        """Whether the body reaches over the cab's height rather than being a low bed."""
        return self.kind in ("box", "tarpaulin")

    @property
    def top_half(self) -> float:
        """Half of the width at the top; a tarpaulin's bows lean inwards."""
        return self.half - (0.12 if self.kind == "tarpaulin" else 0.0)


def cargo_ranges(shape: Shape) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Metric spans of the load's regions."""
    half, top = shape.width / 2 + 0.1, shape.height * _TOP + 0.1
    return {
        "load_side": ((shape.rear, shape.tail), (0.6, top)),
        "load_end": ((half, -half), (0.6, top)),
        "load_top": ((shape.rear, shape.tail), (-half, half)),
    }


def draw_cargo(rng: np.random.Generator, shape: Shape) -> Cargo:
    """Draw a truck's body."""
    kind = ("box", "tarpaulin", "flatbed", "tank", "tipper")[rng.choice(5, p=[0.38, 0.22, 0.2, 0.1, 0.1])]
    floor = shape.wheel_radius * 2 + 0.12
    tall = shape.height * float(rng.uniform(0.98, _TOP))
    low = floor + float(rng.uniform(0.35, 0.6))
    return Cargo(
        kind=kind,
        front=shape.tail - _GAP,
        rear=shape.rear,
        half=shape.width / 2 * float(rng.uniform(0.98, 1.06)),
        floor=floor,
        top=tall if kind in ("box", "tarpaulin") else low,
    )


def add_cargo(parts: PartBuilder, shape: Shape, style: Style, cargo: Cargo) -> None:
    """Add a truck's frame, body and load."""
    rng = np.random.default_rng([style.seed, 4])
    _frame(parts, shape, style, cargo, rng)
    _body(parts, cargo)
    if cargo.kind == "tank":
        half = cargo.half * 0.8
        low, high = (cargo.rear + 0.1, -half, cargo.top), (cargo.front - 0.15, half, cargo.top + 0.75)
        parts.box(low, high, "box", 0.35)
    elif not cargo.tall:
        _goods(parts, cargo, rng)


def _frame(parts: PartBuilder, shape: Shape, style: Style, cargo: Cargo, rng: np.random.Generator) -> None:
    """Chassis, side guards, rear bumper and lamps."""
    rear, floor, half = shape.rear, cargo.floor, cargo.half
    parts.box((rear + 0.05, -0.45, floor - 0.28), (shape.tail + 0.1, 0.45, floor + 0.01), "dark")
    guard = "trim" if rng.random() < 0.5 else "dark"
    start = shape.wheel_x[1] + shape.wheel_radius + 0.15
    stop = min(cargo.front, shape.wheel_x[0] - shape.wheel_radius - 0.2)
    lamp = "lamp" if style.tail_lamp % 2 else "accent"
    for side in (-1, 1):
        low, high = sorted((side * (half - 0.12), side * (half - 0.06)))
        if stop > start:
            parts.box((start, low, shape.clearance), (stop, high, floor - 0.1), guard)
        y = side * half * 0.75
        parts.box((rear - 0.02, y - 0.15, floor - 0.18), (rear + 0.06, y + 0.15, floor - 0.04), lamp)
    bumper = shape.clearance + 0.1
    parts.box((rear, -half * 0.95, bumper), (rear + 0.1, half * 0.95, bumper + 0.15), "accent")


def _body(parts: PartBuilder, cargo: Cargo) -> None:
    quads = box((cargo.rear, -cargo.half, cargo.floor), (cargo.front, cargo.half, cargo.top))
    quads[..., 1] *= np.where(quads[..., 2] > cargo.floor + 0.1, cargo.top_half / cargo.half, 1.0)
    # In the order of mesh.box, with a sign that mirrors the drawing where it is seen from
    # the other side.
    faces = (
        ("load_end", [1, 2], -1), ("load_end", [1, 2], 1), ("load_side", [0, 2], -1),
        ("load_side", [0, 2], 1), ("load_top", [0, 1], 1),
    )  # fmt: skip
    for quad, (name, axes, sign) in zip(quads[:5], faces, strict=True):
        across = quad[:, axes]
        if sign < 0:
            across = across * (-1, 1) + (cargo.front + cargo.rear if name == "load_side" else 0.0, 0.0)
        parts.builder.add_quads(quad[None], parts.atlas[name].uv(across)[None], None, 0.5)
    parts.builder.add_quads(quads[5:], parts.atlas.swatch_uv("dark", (1, 4)), None, 0.1)


def _goods(parts: PartBuilder, cargo: Cargo, rng: np.random.Generator) -> None:
    """Crates and sacks, one behind the other."""
    x, end = cargo.rear + 0.1, cargo.front - 0.15
    swatches = ("wood", "sack", "box", "accent", "paint")
    while x < end - 0.5:
        stop = min(x + float(rng.uniform(0.5, 1.3)), end)
        half, tall = cargo.half * float(rng.uniform(0.5, 0.92)), float(rng.uniform(0.15, 0.95))
        swatch = swatches[rng.integers(len(swatches))]
        parts.box((x, -half, cargo.top - 0.01), (stop, half, cargo.top + tall), swatch, 0.05)
        x = stop + float(rng.uniform(0.02, 0.5))


def add_pickup_load(parts: PartBuilder, shape: Shape, rng: np.random.Generator) -> None:
    """Draw and add one of: nothing, boxes, a lid, a hard top, a roll bar, a heap under a sheet."""
    front, rear = shape.profile_x[4] - 0.08, shape.tail + 0.12
    rim = float(shape.shoulder((front + rear) / 2))
    floor, half = rim - shape.bed_depth, shape.width / 2 - 0.2
    kind = int(rng.choice(6, p=[0.2, 0.2, 0.16, 0.14, 0.16, 0.14]))
    if kind == 1:
        for _ in range(int(rng.integers(2, 5))):
            x, y = float(rng.uniform(rear, front - 0.5)), float(rng.uniform(-half, half - 0.5))
            tall = shape.bed_depth * float(rng.uniform(0.8, 2.0))
            swatch = ("wood", "sack", "accent", "box")[rng.integers(4)]
            parts.box(
                (x, y, floor),
                (min(x + 0.55, front), min(y + 0.6, half), floor + tall),
                swatch,
                0.03,
            )
    elif kind == 2:
        parts.box((rear, -half - 0.1, rim + 0.01), (front, half + 0.1, rim + 0.05), "dark")
    elif kind == 3:
        top = shape.height - 0.06
        parts.box(
            (rear - 0.04, -half - 0.1, rim),
            (front + 0.02, half + 0.1, top),
            "paint" if rng.random() < 0.6 else "box",
            0.14,
        )
        parts.box(
            (rear + 0.2, -half - 0.06, rim + 0.12),
            (front - 0.2, half + 0.06, top - 0.12),
            "glass",
            0.06,
        )
    elif kind == 4:
        x = front - 0.1
        for side in (-1, 1):
            parts.box(
                (x - 0.06, side * half - 0.03, floor),
                (x, side * half + 0.03, shape.height + 0.06),
                "trim",
            )
        parts.box((x - 0.06, -half, shape.height), (x, half, shape.height + 0.06), "trim")
    elif kind == 5:
        parts.box(
            (rear + 0.05, -half, floor),
            (front, half, rim + float(rng.uniform(0.05, 0.35))),
            "sack",
            0.2,
        )
