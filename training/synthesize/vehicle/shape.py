"""A vehicle's proportions: the curves that its surface is lofted from."""

from dataclasses import dataclass

import numpy as np

from zoo.labels import TYPES

# Ranges per type, metres: length, width, height, ground clearance, wheel radius, front and rear overhang of
# the wheel centres, bonnet length, run of the windscreen, distance of the roof's rear edge and of the rear
# window's base from the rear end, bonnet's height at the nose, cowl height, deck height at the tail.
_FIELDS = (
    "length width height clearance wheel front_overhang rear_overhang hood screen"
    " roof_rear rear_base nose cowl deck"
)
_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "sedan": (
        (4.3, 5.0), (1.72, 1.88), (1.41, 1.51), (0.17, 0.22), (0.30, 0.345), (0.80, 0.95), (0.92, 1.12),
        (1.10, 1.36), (0.70, 0.95), (0.92, 1.15), (0.34, 0.62), (0.68, 0.78), (0.92, 0.99), (0.95, 1.08),
    ),
    "suv": (
        (4.2, 4.95), (1.80, 1.96), (1.62, 1.82), (0.22, 0.30), (0.35, 0.40), (0.80, 0.92), (0.78, 0.95),
        (0.98, 1.22), (0.58, 0.82), (0.26, 0.62), (0.05, 0.16), (0.88, 1.02), (1.06, 1.18), (0.98, 1.10),
    ),
    "van": (
        (3.8, 5.1), (1.62, 1.90), (1.84, 2.12), (0.20, 0.26), (0.28, 0.33), (0.62, 0.90), (0.75, 0.95),
        (0.40, 0.80), (0.55, 0.80), (0.08, 0.18), (0.02, 0.05), (0.82, 0.98), (1.04, 1.16), (0.98, 1.10),
    ),
    "hatchback": (
        (3.6, 4.25), (1.66, 1.80), (1.44, 1.56), (0.17, 0.21), (0.28, 0.33), (0.72, 0.85), (0.58, 0.78),
        (0.85, 1.05), (0.66, 0.85), (0.40, 0.68), (0.06, 0.15), (0.70, 0.80), (0.94, 1.01), (0.92, 1.02),
    ),
    "mpv": (
        (4.4, 4.95), (1.78, 1.92), (1.62, 1.78), (0.18, 0.23), (0.31, 0.35), (0.85, 0.98), (0.85, 1.00),
        (0.78, 0.96), (0.90, 1.12), (0.22, 0.42), (0.05, 0.12), (0.80, 0.90), (1.00, 1.08), (0.95, 1.06),
    ),
    "pickup": (
        (4.9, 5.4), (1.78, 1.94), (1.68, 1.84), (0.26, 0.34), (0.36, 0.40), (0.85, 0.95), (1.10, 1.25),
        (1.10, 1.30), (0.60, 0.78), (1.66, 2.30), (0.0, 0.0), (0.96, 1.06), (1.12, 1.20), (1.06, 1.14),
    ),
    "bus": (
        (7.2, 11.8), (2.35, 2.55), (2.85, 3.30), (0.28, 0.36), (0.44, 0.50), (1.90, 2.50), (2.10, 2.80),
        (0.03, 0.08), (0.12, 0.45), (0.10, 0.28), (0.03, 0.06), (0.98, 1.20), (1.04, 1.26), (1.20, 1.55),
    ),
    "truck": (
        (5.3, 8.2), (1.95, 2.45), (2.16, 2.70), (0.38, 0.50), (0.38, 0.48), (0.85, 1.20), (1.05, 1.70),
        (0.05, 0.16), (0.22, 0.48), (0.0, 0.0), (0.0, 0.0), (1.10, 1.34), (1.20, 1.44), (1.20, 1.40),
    ),
    "estate": (
        (4.45, 4.95), (1.74, 1.87), (1.45, 1.54), (0.17, 0.21), (0.30, 0.34), (0.82, 0.94), (0.90, 1.06),
        (1.10, 1.34), (0.70, 0.92), (0.34, 0.64), (0.08, 0.20), (0.70, 0.79), (0.93, 1.00), (0.95, 1.05),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The curves of one body. All x are in vehicle coordinates, all lengths in metres.

    The shell runs from `front` to `tail`; for a truck that is the cab, and `rear` is the load's rear end.
    `profile_x` and `profile_z` trace the top of the middle: nose, cowl, roof front, roof rear, rear
    base, tail.
    """

    kind: str
    length: float
    width: float
    height: float
    clearance: float
    wheel_radius: float
    wheel_x: tuple[float, float]
    arch: float
    front: float
    rear: float
    tail: float
    profile_x: tuple[float, float, float, float, float, float]
    profile_z: tuple[float, float, float, float, float, float]
    roof_width: float
    nose_taper: float
    tail_taper: float
    corner: float
    lean: tuple[float, float]
    crown: float
    bed_depth: float

    def top(self, x: np.ndarray | float) -> np.ndarray:
        """Height of the middle's top at x."""
        return np.interp(-np.asarray(x), -np.array(self.profile_x), self.profile_z)

    def shoulder(self, x: np.ndarray | float) -> np.ndarray:
        """Height of the edge between flank and bonnet, side windows or deck."""
        _, cowl, _, _, base, tail = self.profile_x
        nose_z, cowl_z, _, _, base_z, tail_z = self.profile_z
        knots = [self.front, cowl, base, min(tail, base - 1e-6)]
        drop = 0.045
        heights = [nose_z - drop, cowl_z - 0.03, base_z - 0.03, tail_z - drop]
        return np.interp(-np.asarray(x), -np.array(knots), heights)

    def bottom(self, x: np.ndarray | float) -> np.ndarray:
        """Height of the lower edge: the clearance, lifted over the wheels by round arches."""
        x = np.asarray(x, dtype=float)
        lowest = np.full_like(x, self.clearance)
        for wheel in self.wheel_x:
            distance = np.abs(x - wheel) / self.arch
            lift = self.wheel_radius + self.arch * np.sqrt(np.maximum(1 - distance**2, 0))
            lowest = np.where(distance < 0.9999, np.maximum(lift, lowest), lowest)
        return lowest

    def half_width(self, x: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
        """Half of the width of the flank at (x, z), below the shoulder."""
        x, z = np.asarray(x, dtype=float), np.asarray(z, dtype=float)
        to_front, to_tail = self.front - x, x - self.tail
        plan = 1 - self.nose_taper * np.clip(1 - to_front / self.corner, 0, 1) ** 2.2
        plan = plan - self.tail_taper * np.clip(1 - to_tail / self.corner, 0, 1) ** 2.2
        if self.kind in ("bus", "truck"):
            section = np.interp(z, (self.clearance, 0.7, self.height), (0.97, 1.0, 1.0))
        else:
            waist = self.profile_z[1]
            heights = (self.clearance, self.clearance + 0.16, waist * 0.62, waist * 0.78, waist * 1.02)
            section = np.interp(z, heights, (0.92, 0.975, 1.0, 0.992, 0.945))
        return 0.5 * self.width * plan * section

    def roof_edge(self, x: np.ndarray | float) -> np.ndarray:
        """Half width where side window (or flank) meets roof, bonnet, windscreen or deck at x."""
        shoulder = self.shoulder(x)
        base = self.half_width(x, shoulder) * 0.955
        rise = np.clip((self.top(x) - shoulder - 0.05) / (self.height - self.profile_z[1]), 0, 1)
        return base + (self.roof_width * base / (0.5 * self.width * 0.9) - base) * rise

    def arc(self, x: np.ndarray | float) -> np.ndarray:
        """Length along the top's middle from the nose to x."""
        steps = np.hypot(np.diff(self.profile_x), np.diff(self.profile_z))
        return np.interp(-np.asarray(x), -np.array(self.profile_x), np.r_[0, np.cumsum(steps)])


def draw_shape(rng: np.random.Generator, type_index: int) -> Shape:
    """Draw the proportions of one vehicle of a type (0-based index into `zoo.labels.TYPES`)."""
    kind = TYPES[type_index]
    low, high = np.array(_RANGES[kind]).T
    draw = dict(zip(_FIELDS.split(), (low + (high - low) * rng.random(len(low))).tolist(), strict=True))
    front, rear = draw["length"] / 2, -draw["length"] / 2
    tail = rear
    if kind == "truck":
        tail = front - rng.uniform(1.65, 2.25)
        draw["roof_rear"] = rng.uniform(0.03, 0.15)
        draw["rear_base"] = 0.01
    elif kind == "pickup":
        draw["roof_rear"] = rng.choice([rng.uniform(1.62, 1.78), rng.uniform(2.05, 2.3)])
        draw["rear_base"] = draw["roof_rear"] - rng.uniform(0.08, 0.22)
    profile_x = (
        front,
        front - draw["hood"],
        front - draw["hood"] - draw["screen"],
        tail + draw["roof_rear"],
        tail + draw["rear_base"],
        tail - 1e-4,
    )
    roof = draw["height"]
    roof_fall = {"sedan": 0.05, "hatchback": 0.06, "suv": 0.05, "estate": 0.05}.get(kind, 0.015)
    base_z = draw["deck"] + {"sedan": 0.02, "pickup": 0.02}.get(kind, 0.04)
    profile_z = (
        draw["nose"],
        draw["cowl"],
        roof - 0.02,
        roof - roof_fall * rng.uniform(0.4, 1.3),
        base_z,
        draw["deck"],
    )
    heavy = kind in ("bus", "truck")
    boxy = heavy or kind == "van"
    inset = rng.uniform(0.0, 0.04) if heavy else rng.uniform(0.05, 0.12) if boxy else rng.uniform(0.14, 0.24)
    return Shape(
        kind=kind,
        length=draw["length"],
        width=draw["width"],
        height=roof,
        clearance=draw["clearance"],
        wheel_radius=draw["wheel"],
        wheel_x=(front - draw["front_overhang"], rear + draw["rear_overhang"]),
        arch=draw["wheel"] * rng.uniform(1.12, 1.24),
        front=front,
        rear=rear,
        tail=tail,
        profile_x=profile_x,
        profile_z=profile_z,
        roof_width=0.5 * draw["width"] * 0.9 - inset,
        nose_taper=rng.uniform(0.02, 0.07) if heavy else rng.uniform(0.08, 0.18),
        tail_taper=rng.uniform(0.0, 0.03) if heavy else rng.uniform(0.03, 0.07 if boxy else 0.14),
        corner=0.35 if heavy else rng.uniform(0.5, 0.8),
        lean=(rng.uniform(0.01, 0.05), rng.uniform(0.0, 0.03))
        if boxy
        else (rng.uniform(0.04, 0.14), rng.uniform(0.02, 0.10)),
        crown=rng.uniform(0.02, 0.05),
        bed_depth=rng.uniform(0.32, 0.42) if kind == "pickup" else 0.0,
    )
