"""What makes one vehicle this one: every choice of trim, lamps, wheels, windows and marks."""

from dataclasses import dataclass

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Paint
from training.synthesize.vehicle.shape import Shape

DARK: Paint = (24, 24, 26, 30)
CHROME: Paint = (206, 208, 212, 220)
WHITE: Paint = (240, 240, 240, 60)
PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
WORDS = (
    "TAXI", "EXPRESS", "CITY", "FRESH", "RAPID", "24H", "LOGIX", "NORD", "SUN", "KARGO", "AQUA", "METRO",
    "STAR", "BAO", "XIN", "HUA", "DELTA", "POST", "RENT", "ECO", "TURBO", "SPORT", "4x4", "GT", "88", "07",
    "K9", "ZOO",
)  # fmt: skip
TINTS = ((26, 30, 34), (18, 19, 22), (38, 52, 50), (36, 44, 58), (58, 64, 66), (50, 42, 36), (70, 84, 84))
"""Of glass."""


@dataclass(frozen=True)
class Style:
    """One vehicle's own look: paints, small ints that choose among drawings, and sizes as factors."""

    paint: Paint
    roof_paint: Paint
    lower_paint: Paint
    trim: Paint
    frame: Paint
    handle: Paint
    mirror: Paint
    accent: Paint
    accent2: Paint
    glass: Paint
    rear_glass: Paint
    rim: Paint
    wheel_design: int
    rim_size: float
    headlamp: int
    lamp_size: float
    lamp_tilt: float
    tail_lamp: int
    grille: int
    grille_size: float
    grille_paint: Paint
    bumper: int
    plate: str
    plate_paint: Paint
    plate_ink: Paint
    window_style: int
    kick: float
    pillar_paint: Paint
    cladding: float
    roof_item: int
    roof_item_paint: Paint
    sunroof: int
    spoiler: int
    word: str
    number: str
    seed: int
    """For marks, which draw their own details."""
    loudness: float
    """Share of loud marks that are kept, 0..1."""


def draw_style(rng: np.random.Generator, shape: Shape, color: int, loudness: float = 1.0) -> Style:
    """Draw one vehicle's look within what its body type allows.

    `loudness` is the share of loud choices (a roof, sill or mirrors of another colour, large drawings) kept.
    """
    kind = shape.kind
    heavy = kind in ("bus", "truck")
    paint = palette.paint_shade(rng, color)
    accent = palette.contrasting(rng, paint)
    accent2 = palette.contrasting(rng, paint, accent)
    trim = (DARK, CHROME, palette.shaded(paint, 0.55))[rng.choice(3, p=[0.45, 0.35, 0.2])]
    roofs = (paint, DARK, accent, WHITE)
    roof_paint = roofs[rng.choice(4, p=[0.9, 0.0, 0.06, 0.04] if heavy else [0.72, 0.12, 0.10, 0.06])]
    quiet_roof, quiet_sill, quiet_mirror = (rng.random(3) >= loudness).tolist()
    lowers = (paint, (44, 44, 47, 20), accent, palette.shaded(paint, 0.5))
    odds = {"suv": [0.3, 0.45, 0.12, 0.13], "bus": [0.3, 0.1, 0.45, 0.15]}.get(kind, [0.62, 0.16, 0.12, 0.10])
    glass = palette.opaque(TINTS[rng.integers(len(TINTS))], 255)
    rear_glass = glass if rng.random() < 0.55 else palette.opaque((12, 12, 14), 255)
    plate = draw_plate(rng)
    plates = (
        ((28, 62, 150, 60), WHITE),
        ((236, 190, 40, 60), DARK),
        ((120, 200, 130, 60), DARK),
        (WHITE, DARK),
    )
    plate_paint, plate_ink = plates[
        rng.choice(4, p=[0.2, 0.7, 0.0, 0.1] if heavy else [0.68, 0.08, 0.14, 0.1])
    ]
    roof_odds = {
        "sedan": [0.60, 0.05, 0.05, 0.05, 0.15, 0.10], "bus": [0.25, 0.0, 0.0, 0.35, 0.4, 0.0],
        "truck": [0.4, 0.1, 0.0, 0.2, 0.3, 0.0], "suv": [0.2, 0.42, 0.16, 0.1, 0.04, 0.08],
        "pickup": [0.4, 0.25, 0.1, 0.1, 0.05, 0.1],
    }.get(kind, [0.38, 0.26, 0.12, 0.08, 0.08, 0.08])  # fmt: skip
    return Style(
        paint=paint,
        roof_paint=paint if quiet_roof else roof_paint,
        lower_paint=paint if quiet_sill else lowers[rng.choice(4, p=odds)],
        trim=trim,
        frame=(DARK, CHROME, paint)[rng.choice(3, p=[0.45, 0.35, 0.2])],
        handle=(paint, CHROME, DARK)[rng.choice(3, p=[0.3, 0.4, 0.3])],
        mirror=paint
        if quiet_mirror
        else (paint, DARK, CHROME, accent)[rng.choice(4, p=[0.45, 0.3, 0.1, 0.15])],
        accent=accent,
        accent2=accent2,
        glass=glass,
        rear_glass=rear_glass,
        rim=palette.opaque(palette.RIMS[rng.integers(len(palette.RIMS))], 120),
        wheel_design=int(rng.integers(7)),
        rim_size=float(rng.uniform(0.6, 0.8)),
        headlamp=int(rng.integers(5)),
        lamp_size=float(rng.uniform(0.75, 1.3)),
        lamp_tilt=float(rng.uniform(-0.2, 1.0)),
        tail_lamp=int(rng.integers(6)),
        grille=int(rng.integers(6)),
        grille_size=float(rng.uniform(0.7, 1.25)),
        grille_paint=(DARK, DARK, CHROME, palette.shaded(paint, 0.6), (70, 72, 75, 90))[rng.integers(5)],
        bumper=int(rng.integers(4)),
        plate=plate,
        plate_paint=plate_paint,
        plate_ink=plate_ink,
        window_style=int(rng.integers(4)),
        kick=float(rng.choice([0.0, 0.06, 0.12, 0.18])),
        pillar_paint=DARK if rng.random() < 0.6 else paint,
        cladding=float(rng.uniform(0.18, 0.34)),
        roof_item=int(rng.choice(6, p=roof_odds)),
        roof_item_paint=(DARK, WHITE, accent, (150, 152, 156, 80))[rng.integers(4)],
        sunroof=int(rng.choice(3, p=[0.6, 0.25, 0.15])),
        spoiler=int(rng.random() < (0.0 if heavy else 0.28)),
        word=WORDS[rng.integers(1 if heavy else 0, len(WORDS))],
        number=str(rng.integers(1, 999)),
        seed=int(rng.integers(2**31)),
        loudness=loudness,
    )


def draw_plate(rng: np.random.Generator) -> str:
    """Six letters and digits."""
    return "".join(PLATE_LETTERS[k] for k in rng.integers(0, len(PLATE_LETTERS), 6))
