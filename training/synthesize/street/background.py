"""The street around the vehicles: a ground seen from above, and what stands along the horizon."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

GROUND_METRES = 54.0
"""Side of the ground map: x from 0 to 54 m before the camera, y from 27 m right to 27 m left."""

GROUND_PIXELS = 768
BACKDROP_METRES = 14.0
"""Height of the backdrop above the ground."""

_ROWS, _COLUMNS = 112, 1024
_LANE_WIDTH = 3.5


@dataclass(frozen=True)
class Background:
    """One look of a street.

    Attributes:
        ground: albedo as sRGB, uint8 [G, G, 3]; row = x, column = y.
        backdrop: sRGB and opacity of the ring at `radius`, uint8 [rows, columns, 4]; row 0 is the top,
            columns go round from azimuth -pi to pi.
        radius: metres from the camera to the ring.
    """

    ground: np.ndarray
    backdrop: np.ndarray
    radius: float


def draw_background(lanes: list[tuple[float, float, float]], rng: np.random.Generator) -> Background:
    """Draw a street for lanes given as a point (x, y) on the ground and a heading in radians."""
    return Background(_draw_ground(lanes, rng), _draw_backdrop(rng), float(rng.uniform(24, 46)))


def _noise(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise [rows, columns] of standard deviation about 1 with features `cell` pixels wide."""
    small = rng.standard_normal((max(3, int(shape[0] / cell) + 2), max(3, int(shape[1] / cell) + 2)))
    return cv2.resize(small.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def _to_pixels(points: np.ndarray) -> np.ndarray:
    """Site coordinates [N, 2] to (column, row) of the ground map."""
    scale = GROUND_PIXELS / GROUND_METRES
    return np.stack([(points[:, 1] + GROUND_METRES / 2) * scale, points[:, 0] * scale], axis=1)


def _strip(
    point: np.ndarray, heading: float, inner: float, outer: float, start: float, end: float
) -> np.ndarray:
    """Corners of a strip beside a line, in pixels with 4 fractional bits, as cv2.fillPoly takes them."""
    along = np.array([np.cos(heading), np.sin(heading)])
    left = np.array([-along[1], along[0]])
    corners = [
        point + along * s + left * t for s, t in ((start, inner), (end, inner), (end, outer), (start, outer))
    ]
    return np.round(_to_pixels(np.asarray(corners)) * 16).astype(np.int32)


def _draw_ground(lanes: list[tuple[float, float, float]], rng: np.random.Generator) -> np.ndarray:
    """The map, uint8 [G, G, 3]; worked on as planes [3, G, G] of float32, which is faster."""
    shape = (GROUND_PIXELS, GROUND_PIXELS)
    x, y, heading = lanes[0]
    point = np.array([x, y])
    edges = _road_edges(lanes, rng)
    road = np.zeros(shape, np.uint8)
    cv2.fillPoly(road, [_strip(point, heading, edges[0] - 0.4, edges[1] + 0.4, -90, 90)], 255, cv2.LINE_AA, 4)
    if rng.random() < 0.35:
        across = heading + np.pi / 2 + rng.normal(0, 0.1)
        cv2.fillPoly(road, [_strip(point, across, -5, 5 + rng.uniform(0, 4), -90, 90)], 255, cv2.LINE_AA, 4)
    verge = [(96, 110, 62), (120, 112, 96), (138, 134, 128), (84, 98, 58)][int(rng.integers(4))]
    asphalt = rng.uniform(70, 125) * np.array([1, 1 + rng.normal(0, 0.015), 1 + rng.normal(0, 0.03)])
    slabs = 1 + np.float32(0.05) * _noise(shape, 2, rng)
    slabs[::11] *= 0.85
    slabs[:, ::11] *= 0.85
    ground = _planes(
        verge, 1 + np.float32(0.08) * _noise(shape, 30, rng) + np.float32(0.1) * _noise(shape, 2.5, rng)
    )
    tarmac = 1 + np.float32(0.04) * _noise(shape, 60, rng) + np.float32(0.05) * _noise(shape, 1.5, rng)
    _blend(
        ground, _planes((rng.uniform(120, 165),) * 3, slabs), cv2.dilate(road, np.ones((41, 41), np.uint8))
    )
    _blend(ground, np.float32(rng.uniform(140, 185)), cv2.dilate(road, np.ones((7, 7), np.uint8)))
    _blend(ground, _planes(asphalt, tarmac), road)
    wear = np.clip(0.75 + 0.25 * _noise(shape, 6, rng), 0.2, 1)
    color = (225, 225, 218) if rng.random() < 0.8 else (214, 178, 70)
    markings = _draw_markings(point, heading, edges, rng) * wear
    _blend(ground, np.asarray(color, np.float32)[:, None, None], markings)
    spots = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(4, 14))):
        centre = tuple(int(value) for value in rng.integers(0, GROUND_PIXELS, 2))
        axes = (int(rng.integers(2, 26)), int(rng.integers(2, 12)))
        cv2.ellipse(spots, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(60, 140)), -1)
    ground *= 1 - cv2.GaussianBlur(spots, (0, 0), 1.5).astype(np.float32) / 400
    return np.ascontiguousarray(np.clip(ground, 8, 245).astype(np.uint8).transpose(1, 2, 0))


def _road_edges(lanes: list[tuple[float, float, float]], rng: np.random.Generator) -> tuple[float, float]:
    """Metres from the first lane's middle to the road's right edge (below zero) and left edge."""
    x, y, heading = lanes[0]
    aside = [np.cos(heading) * (v - y) - np.sin(heading) * (u - x) for u, v, _ in lanes]
    right = min(aside) - _LANE_WIDTH * (0.5 + int(rng.integers(0, 2)))
    left = max(aside) + _LANE_WIDTH * (0.5 + int(rng.integers(0, 3)))
    return float(right), float(left)


def _draw_markings(
    point: np.ndarray, heading: float, edges: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Edge lines, dashes between lanes, and now and then a crossing, uint8 [G, G]."""
    right, left = edges
    paint = np.zeros((GROUND_PIXELS, GROUND_PIXELS), np.uint8)
    for edge in edges:
        cv2.fillPoly(paint, [_strip(point, heading, edge - 0.08, edge + 0.08, -90, 90)], 255, cv2.LINE_AA, 4)
    for divider in np.arange(right + _LANE_WIDTH, left - 0.1, _LANE_WIDTH):
        phase = rng.uniform(0, 6)
        for dash in np.arange(-48, 48, 6.0):
            strip = _strip(point, heading, divider - 0.08, divider + 0.08, dash + phase, dash + phase + 2.8)
            cv2.fillPoly(paint, [strip], 255, cv2.LINE_AA, 4)
    if rng.random() < 0.4:
        place = rng.uniform(5, 11) * rng.choice([-1, 1])
        for stripe in np.arange(right, left, 0.9):
            strip = _strip(point, heading, stripe, stripe + 0.45, place - 1.5, place + 1.5)
            cv2.fillPoly(paint, [strip], 255, cv2.LINE_AA, 4)
    return paint


def _planes(color: Sequence[float] | np.ndarray, shade: np.ndarray) -> np.ndarray:
    """A colour, brighter and darker by `shade` [G, G], as float32 [3, G, G]."""
    return np.asarray(color, np.float32)[:, None, None] * shade.astype(np.float32)


def _blend(ground: np.ndarray, layer: np.ndarray | np.float32, cover: np.ndarray) -> None:
    """Lay `layer` over `ground` [3, G, G] in place, as opaque as `cover` [G, G] of 0..255."""
    share = cover.astype(np.float32) / 255
    # Plane by plane, because what lies between then stays in the processor's cache.
    for index, color in enumerate(np.broadcast_to(layer, ground.shape)):
        ground[index] += (color - ground[index]) * share


def _draw_backdrop(rng: np.random.Generator) -> np.ndarray:
    ring = np.zeros((_ROWS, _COLUMNS, 4), np.uint8)
    per_metre = _ROWS / BACKDROP_METRES
    column = 0
    while column < _COLUMNS:
        wide = int(rng.integers(40, 150))
        top = _ROWS - int(rng.uniform(4, 15) * per_metre)
        if rng.random() < 0.65:
            facade = rng.uniform(60, 190) * np.array([1, 1 + rng.normal(0, 0.05), 1 + rng.normal(0, 0.1)])
            ring[max(top, 0) :, column : column + wide, :3] = np.clip(facade, 20, 235)
            ring[max(top, 0) :, column : column + wide, 3] = 255
            pane = np.clip(facade * rng.uniform(0.3, 0.6), 10, 235)
            pitch_x, pitch_y = int(rng.integers(8, 18)), int(rng.integers(16, 26))
            for left in range(column + 3, column + wide - 6, pitch_x):
                for upper in range(max(top, 0) + 6, _ROWS - 10, pitch_y):
                    ring[upper : upper + pitch_y // 2, left : left + pitch_x // 2, :3] = pane
        column += wide + int(rng.integers(0, 40))
    for _ in range(int(rng.integers(10, 40))):
        green = np.array([rng.uniform(40, 80), rng.uniform(65, 110), rng.uniform(30, 55)])
        middle, size = int(rng.integers(0, _COLUMNS)), int(rng.integers(10, 40))
        height = _ROWS - int(rng.uniform(2.5, 8) * per_metre)
        leaf = [int(value) for value in green]
        cv2.rectangle(ring, (middle - 1, height), (middle + 1, _ROWS), (62, 52, 44, 255), -1)
        for _ in range(9):
            shade = rng.uniform(0.7, 1.25)
            blob = (int(middle + rng.normal(0, size * 0.4)), int(height + rng.normal(0, size * 0.4)))
            tone = [int(value * shade) for value in leaf]
            cv2.ellipse(ring, blob, (max(2, size // 2), max(2, size // 2)), 0, 0, 360, (*tone, 255), -1)
    hedge = rng.uniform(0.6, 2.2) * (1 + 0.15 * _noise((1, _COLUMNS), 20, rng)[0])
    color = [(70, 88, 52), (150, 146, 138), (110, 108, 106)][int(rng.integers(3))]
    rows = np.arange(_ROWS)[:, None]
    low = rows > _ROWS - hedge * per_metre
    ring[low] = (*color, 255)
    grain = 1 + 0.07 * _noise((_ROWS, _COLUMNS), 2, rng)[..., None]
    ring[..., :3] = np.clip(ring[..., :3] * grain, 0, 255)
    return cv2.GaussianBlur(ring, (0, 0), 0.8)
