"""What lies on, covers or stands over a pickup's bed."""

import numpy as np

from training.synthesize.vehicle.kit import Kit
from training.synthesize.vehicle.shape import Shape


def add_pickup_load(kit: Kit, shape: Shape, rng: np.random.Generator) -> None:
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
            kit.box(
                (x, y, floor),
                (min(x + 0.55, front), min(y + 0.6, half), floor + tall),
                swatch,
                0.03,
            )
    elif kind == 2:
        kit.box((rear, -half - 0.1, rim + 0.01), (front, half + 0.1, rim + 0.05), "dark")
    elif kind == 3:
        top = shape.height - 0.06
        kit.box(
            (rear - 0.04, -half - 0.1, rim),
            (front + 0.02, half + 0.1, top),
            "paint" if rng.random() < 0.6 else "box",
            0.14,
        )
        kit.box(
            (rear + 0.2, -half - 0.06, rim + 0.12),
            (front - 0.2, half + 0.06, top - 0.12),
            "glass",
            0.06,
        )
    elif kind == 4:
        x = front - 0.1
        for side in (-1, 1):
            kit.box(
                (x - 0.06, side * half - 0.03, floor),
                (x, side * half + 0.03, shape.height + 0.06),
                "trim",
            )
        kit.box((x - 0.06, -half, shape.height), (x, half, shape.height + 0.06), "trim")
    elif kind == 5:
        kit.box(
            (rear + 0.05, -half, floor),
            (front, half, rim + float(rng.uniform(0.05, 0.35))),
            "sack",
            0.2,
        )
