"""What is painted on a truck's body: panels, fields of colour, lettering, the enlarged plate number."""

import numpy as np

from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas, Paint
from training.synthesize.vehicle.cargo import Cargo
from training.synthesize.vehicle.style import DARK, WHITE, Style


def paint_livery(atlas: Atlas, style: Style, cargo: Cargo) -> None:
    """Paint the sides, ends and top of the body behind the cab."""
    rng = np.random.default_rng([style.seed, 2])
    body = _body_paint(style, rng)
    ink = palette.contrasting(rng, body)
    lettering = palette.contrasting(rng, body, ink)
    side, end, top = atlas["load_side"], atlas["load_end"], atlas["load_top"]
    side.fill(body)
    end.fill(body)
    top.fill({"flatbed": (110, 84, 56, 10), "tipper": (92, 84, 74, 5)}.get(cargo.kind, body))
    seam = palette.shaded(body, 0.72)
    for x in np.arange(cargo.rear + 0.2, cargo.front, float(rng.choice([0.35, 0.6, 1.2]))).tolist():
        side.line([(x, cargo.floor), (x, cargo.top)], seam, 0.03)
    if cargo.tall:
        _field(atlas, cargo, int(rng.integers(5)) if rng.random() < style.loudness else 4, ink, rng)
        _words(atlas, style, cargo, lettering, rng)
        for share in (-0.5, 0.0, 0.5):
            y = share * cargo.half
            end.line([(y, cargo.floor), (y, cargo.top)], seam if share else DARK, 0.03)
        top.line([(cargo.rear, 0.0), (cargo.front, 0.0)], seam, 0.06)
    edge = DARK if rng.random() < 0.5 else palette.shaded(body, 0.6)
    for region, start, stop in ((side, cargo.rear, cargo.front), (end, -cargo.half, cargo.half)):
        region.rectangle((start, cargo.floor - 0.1), (stop, cargo.floor + 0.07), edge)
        region.line([(start, cargo.top - 0.03), (stop, cargo.top - 0.03)], edge, 0.06)
    end.text(style.plate, (0.0, cargo.floor + 0.2), 0.14, DARK if sum(body[:3]) > 300 else WHITE)


def _body_paint(style: Style, rng: np.random.Generator) -> Paint:
    """Mostly the cab's colour, so that the vehicle's colour stays what it is called."""
    other = (WHITE, (170, 172, 175, 60), (120, 124, 128, 60), (90, 100, 80, 10), (60, 80, 130, 10))
    draw = rng.random()
    if draw < 0.45:
        return style.paint
    if draw < 0.70:
        return palette.shaded(style.paint, 0.8)
    return other[rng.integers(len(other))]


def _field(atlas: Atlas, cargo: Cargo, pattern: int, ink: Paint, rng: np.random.Generator) -> None:
    """One large field of colour, repeated on the tail."""
    side, end = atlas["load_side"], atlas["load_end"]
    floor, top, rear = cargo.floor, cargo.top, cargo.rear
    tall, long = top - floor, cargo.front - rear
    level = floor + tall * float(rng.uniform(0.25, 0.6))
    if pattern == 0:
        side.rectangle((rear, level - 0.12 * tall), (cargo.front, level + 0.12 * tall), ink)
        end.rectangle((-2.0, level - 0.12 * tall), (2.0, level + 0.12 * tall), ink)
    elif pattern == 1:
        foot, head = rear + long * 0.5, rear + long * 0.8
        side.polygon([(rear, floor), (foot, floor), (head, top), (rear, top)], ink)
        end.polygon([(-2.0, floor), (2.0, floor), (-2.0, top)], ink)
    elif pattern == 2:
        side.ellipse((rear + long / 2, floor + tall * 0.52), (tall * 0.32, tall * 0.32), ink)
        end.ellipse((0.0, floor + tall * 0.6), (tall * 0.22, tall * 0.22), ink)
    elif pattern == 3:
        low, high = (rear + 0.1 * long, floor + 0.3 * tall), (rear + 0.45 * long, floor + 0.85 * tall)
        side.rectangle(low, high, ink, 0.05)
        end.rectangle((-0.5, floor + 0.5 * tall), (0.5, floor + 0.8 * tall), ink)


def _words(atlas: Atlas, style: Style, cargo: Cargo, paint: Paint, rng: np.random.Generator) -> None:
    tall = cargo.top - cargo.floor
    if rng.random() < 0.75:
        x = (cargo.front + cargo.rear) / 2 + float(rng.uniform(-0.12, 0.12)) * (cargo.front - cargo.rear)
        z = cargo.floor + tall * float(rng.uniform(0.45, 0.75))
        atlas["load_side"].text(style.word, (x, z), tall * float(rng.uniform(0.16, 0.28)), paint)
    if rng.random() < 0.6:
        atlas["load_end"].text(style.word, (0.0, cargo.floor + tall * 0.78), 0.2, paint)
