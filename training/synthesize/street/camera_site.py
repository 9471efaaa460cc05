"""A camera's fixed place: how it stands, which lanes it watches, its weather, sensor and street."""

from dataclasses import dataclass

import cv2
import numpy as np

from training.synthesize.difficulty import Difficulty
from training.synthesize.randomness import stream
from training.synthesize.renderer.camera import Camera
from training.synthesize.renderer.effects import Sensor
from training.synthesize.street.background import Background, draw_background
from training.synthesize.street.weather import Weather, draw_weather

LOOKS = 2
"""Backgrounds a camera has: the same street on another day."""


@dataclass(frozen=True)
class Lane:
    """A stretch of road that vehicles pass on.

    Attributes:
        x: metres before the camera of the lane's middle.
        y: metres to the camera's left.
        heading: radians from the camera's axis, anticlockwise from above; pi is towards the camera.
        curvature: 1 / metres; above zero it bends to the left.
    """

    x: float
    y: float
    heading: float
    curvature: float

    def at(self, distance: float) -> tuple[float, float, float]:
        """Place (x, y) and heading `distance` metres past the lane's middle."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        aside = 0.5 * self.curvature * distance**2
        x = self.x + cos * distance - sin * aside
        y = self.y + sin * distance + cos * aside
        return float(x), float(y), float(self.heading + self.curvature * distance)


@dataclass(frozen=True)
class CameraSite:
    """Everything about one camera that no vehicle changes.

    Attributes:
        camera_id: 1, 2, ...
        dapple: float32 [S, S], share of the sun that trees let through.
    """

    camera_id: int
    camera: Camera
    lanes: tuple[Lane, ...]
    weather: Weather
    sensor: Sensor
    backgrounds: tuple[Background, ...]
    dapple: np.ndarray


def draw_camera_site(seed: int, camera_id: int, difficulty: Difficulty) -> CameraSite:
    """Draw camera `camera_id`; depends on nothing but the arguments."""
    rng = stream(seed, "site", camera_id)
    height = rng.uniform(*difficulty.camera_height)
    distance = rng.uniform(9, 15)
    camera = Camera(
        height=height,
        pitch=float(np.arctan2(height - 0.8, distance)),
        roll=float(np.radians(rng.normal(0, 1.2))),
        focal=rng.uniform(1300, 2400),
        distortion=rng.uniform(-0.16, 0.02),
    )
    lanes = _draw_lanes(distance, difficulty, camera_id, rng)
    weather = draw_weather(difficulty.weather, rng)
    warm, tint = rng.normal(0, difficulty.white_balance), rng.normal(0, difficulty.white_balance * 0.35)
    sensor = Sensor(
        gains=np.exp([warm, tint, -warm]).astype(np.float32),
        # Cut at the tails: a camera that shows nothing but white would have been mended.
        stops=float(np.clip(rng.normal(), -1.5, 1.5) * difficulty.exposure),
        gamma=rng.uniform(*difficulty.gamma),
        saturation=rng.uniform(*difficulty.saturation),
        blur=rng.uniform(*difficulty.blur),
        noise=rng.uniform(*difficulty.noise) * weather.noise,
        jpeg=int(rng.integers(difficulty.jpeg[0], difficulty.jpeg[1] + 1)),
    )
    dapple = _draw_dapple(rng) if rng.random() < difficulty.dapple else np.ones((2, 2), np.float32)
    street = [(lane.x, lane.y, lane.heading) for lane in lanes]
    backgrounds = tuple(
        draw_background(street, stream(seed, "street", camera_id, look)) for look in range(LOOKS)
    )
    return CameraSite(camera_id, camera, lanes, weather, sensor, backgrounds, dapple)


def _draw_lanes(
    distance: float, difficulty: Difficulty, camera_id: int, rng: np.random.Generator
) -> tuple[Lane, ...]:
    """One lane that gives the camera its view, and beside it another of the same direction."""
    # Golden-ratio steps spread fronts, sides and rears evenly over the cameras, however few there are.
    draw = (camera_id * 0.618034) % 1
    side = float(rng.choice([-1, 1]))
    if draw < difficulty.rear_share:
        heading = side * np.radians(rng.uniform(14, 42))
    elif draw < difficulty.rear_share + difficulty.side_share:
        heading = side * np.radians(rng.uniform(60, 115))
    else:
        heading = np.pi - side * np.radians(rng.uniform(14, 45))
    y = rng.normal(0, 0.8)
    curvature = rng.normal(0, 0.006)
    first = Lane(distance, y, float(heading), curvature)
    # The further of the two neighbouring lanes, so that no vehicle comes too near.
    left = np.array([-np.sin(heading), np.cos(heading)]) * 3.5
    away = left if left[0] > 0 else -left
    second = Lane(distance + float(away[0]), y + float(away[1]), float(heading), curvature)
    return first, second


def _draw_dapple(rng: np.random.Generator) -> np.ndarray:
    """Soft-edged leaf shadows with a trunk or wires across, as a tile."""
    size = 128
    waves = np.zeros((size, size), np.float32)
    for cells, weight in ((4, 1.0), (9, 0.8), (21, 0.6)):
        small = rng.standard_normal((cells, cells)).astype(np.float32)
        tile = cv2.resize(np.tile(small, (3, 3)), (size * 3, size * 3), interpolation=cv2.INTER_CUBIC)
        waves += weight * tile[size : 2 * size, size : 2 * size]
    leaves = 1 / (1 + np.exp(-(waves + rng.uniform(0.0, 1.0)) * 6))
    return (0.2 + 0.8 * leaves).astype(np.float32)
