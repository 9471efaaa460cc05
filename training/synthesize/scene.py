"""One vehicle before one camera: the picture and where its keypoints are in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from training.synthesize.difficulty import Difficulty
from training.synthesize.renderer.camera import Crop
from training.synthesize.renderer.effects import Exposure, Grain, add_glow, add_rain, expose
from training.synthesize.renderer.keypoint_labels import label_keypoints
from training.synthesize.renderer.mesh import Mesh, Vehicle
from training.synthesize.renderer.render import Placed, render
from training.synthesize.renderer.shading import Light
from training.synthesize.renderer.shadow import cast_shadow
from training.synthesize.street.camera_site import CameraSite
from training.synthesize.street.ground import draw_environment, draw_surroundings
from training.synthesize.street.occluders import draw_occluder

_DAPPLE_METRES = 13.0
_FIRST_GEAR = 6.0
"""Metres to the camera that a vehicle's middle keeps at least, beside half of its length."""


@dataclass(frozen=True)
class View:
    """One finished picture.

    Attributes:
        picture: uint8 [H, W, 3] RGB, its long side as asked for.
        keypoints: float32 [36, 3]: x and y in pixels of the picture ((0, 0) is the first pixel's centre), and
            confidence.
    """

    picture: np.ndarray
    keypoints: np.ndarray


class Stage:
    """A camera's street, ready to photograph vehicles.

    Args:
        site: the camera.
        difficulty: strengths of what differs between pictures.
        size: long side of the pictures in pixels.
        traffic: give the meshes of other vehicles; each is drawn when a picture shows it.
    """

    def __init__(
        self, site: CameraSite, difficulty: Difficulty, size: int, traffic: Sequence[Callable[[], Mesh]]
    ) -> None:
        self._site = site
        self._difficulty = difficulty
        self._size = size
        self._traffic = traffic
        self._grain = Grain(size)
        self._environments = [draw_environment(look, site.weather) for look in site.backgrounds]

    def photograph(
        self, vehicle: Vehicle, lane: int, along: float, look: int, rng: np.random.Generator
    ) -> View:
        """Draw `vehicle` on lane number `lane`, `along` metres past the lane's middle.

        Args:
            look: which of the site's backgrounds.
            rng: everything else that differs between pictures.
        """
        site, strength = self._site, self._difficulty
        main = self._place(vehicle, lane, along, rng)
        crop, native = self._crop(main, rng)
        objects = [main, *self._neighbours(main, vehicle, lane, along, crop, rng)]
        weather = site.weather
        cloud = rng.uniform(0.6, 1.0) if weather.name == "clear" else 1.0
        ground = site.backgrounds[look].ground[::32, ::32].mean(axis=(0, 1)) / 255
        roll = rng.integers(0, site.dapple.shape[0], 2)
        light = Light(
            sun=weather.sun,
            sun_color=weather.sun_color * np.float32(cloud),
            sky_color=weather.sky_color,
            ground_color=((weather.sky_color + weather.sun_color * weather.sun[2]) * ground**2.2).astype(
                np.float32
            ),
            environment=self._environments[look],
            dapple=np.roll(site.dapple, roll, axis=(0, 1)),
            dapple_metres=_DAPPLE_METRES,
        )
        canvas = render(objects, site.camera, native, light)
        shadow = cast_shadow(objects, weather.sun)
        street = draw_surroundings(site.camera, native, site.backgrounds[look], weather, light, shadow)
        clear = np.exp(-weather.haze * float(np.hypot(main.x, main.y)))
        cover = canvas.coverage[..., None]
        picture = street * (1 - cover) + canvas.color * clear + weather.horizon * ((1 - clear) * cover)
        if weather.name in ("night", "dusk"):
            self._lamps(picture, main, vehicle, native)
        hidden = np.zeros(cover.shape[:2], bool)
        if rng.random() < strength.occluder:
            daylight = light.sky_color + 0.35 * light.sun_color
            hidden = draw_occluder(picture, daylight, strength.occluder_share * rng.uniform(0.4, 1), rng)
        if weather.name == "rain":
            add_rain(picture, int(rng.integers(10, 50)), rng)
        exposure = self._exposure(main, native, rng)
        shown = expose(picture.astype(np.float32), site.sensor, exposure, weather.gain, self._grain)
        if shown.shape[:2] != (crop.height, crop.width):
            shown = cv2.resize(shown, (crop.width, crop.height), interpolation=cv2.INTER_CUBIC)
        keypoints = label_keypoints(vehicle, main, site.camera, native, canvas, hidden, rng)
        # From the outer corner of the first pixel to its centre, which labels call (0, 0).
        keypoints[:, :2] = keypoints[:, :2] * (crop.width / native.width, crop.height / native.height) - 0.5
        return View(shown, keypoints)

    def _place(self, vehicle: Vehicle, lane: int, along: float, rng: np.random.Generator) -> Placed:
        x, y, heading = self._site.lanes[lane].at(along)
        jitter = np.radians(rng.normal(0, self._difficulty.heading_jitter))
        # Long vehicles stand further away, as a detector would only report them where they fit the frame.
        away = max(0.0, _FIRST_GEAR + 0.55 * vehicle.size[0] - float(np.hypot(x, y)))
        away += 0.35 * max(0.0, vehicle.size[0] - 5)
        return Placed(vehicle.mesh, x + away, y, heading + float(jitter))

    def _crop(self, main: Placed, rng: np.random.Generator) -> tuple[Crop, Crop]:
        """The written crop, and the same box as large as the camera resolves it."""
        strength = self._difficulty
        pixels, _ = self._site.camera.project(main.to_site(main.mesh.vertices))
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        extent = high - low
        margins = rng.uniform(*strength.margin, 4)
        if rng.random() < strength.cut:
            margins[rng.integers(4)] = -rng.uniform(*strength.cut_share)
        low = low - margins[:2] * extent
        high = high + margins[2:] * extent
        scale = self._size / float((high - low).max())
        width, height = (int(v) for v in np.maximum(16, np.round((high - low) * scale)))
        crop = Crop(float(low[0]), float(low[1]), scale, min(width, self._size), min(height, self._size))
        share = rng.uniform(*strength.resolution)
        return crop, crop.resized(max(24, round(self._size * share)))

    def _neighbours(
        self, main: Placed, vehicle: Vehicle, lane: int, along: float, crop: Crop, rng: np.random.Generator
    ) -> list[Placed]:
        """At most one other vehicle, that hides no more of the first than the difficulty allows."""
        if not self._traffic or rng.random() >= self._difficulty.neighbour:
            return []
        mesh = self._traffic[int(rng.integers(len(self._traffic)))]()
        gap = vehicle.size[0] / 2 + float(np.ptp(mesh.vertices[:, 0])) / 2
        side = float(rng.choice([-3.5, 0.0, 3.5]))
        ahead = float(rng.choice([-1, 1])) * (gap + rng.uniform(1.5, 6)) if side == 0 else rng.uniform(-8, 8)
        cos, sin = np.cos(main.heading), np.sin(main.heading)
        other = Placed(
            mesh,
            main.x + cos * ahead - sin * side,
            main.y + sin * ahead + cos * side,
            main.heading + rng.normal(0, 0.05),
        )
        if np.hypot(other.x, other.y) < 5.5 or other.x < 3:
            return []
        if np.hypot(other.x, other.y) < np.hypot(main.x, main.y):
            pixels, _ = self._site.camera.project(other.to_site(mesh.vertices))
            box = crop.from_frame(pixels)
            size = (crop.width, crop.height)
            overlap = np.clip(box.max(axis=0), 0, size) - np.clip(box.min(axis=0), 0, size)
            if overlap[0] * overlap[1] > self._difficulty.occluder_share * crop.width * crop.height:
                return []
        return [other]

    def _lamps(self, picture: np.ndarray, main: Placed, vehicle: Vehicle, crop: Crop) -> None:
        """Head and tail lamps, where they look at the camera."""
        length, width, _ = vehicle.size
        toward = -(main.x * np.cos(main.heading) + main.y * np.sin(main.heading)) / np.hypot(main.x, main.y)
        front = toward > 0
        end = length / 2 if front else -length / 2
        places = np.array([[end, side * width * 0.38, 0.7] for side in (-1, 1)])
        pixels, depth = self._site.camera.project(main.to_site(places))
        radius = 0.11 * self._site.camera.focal / float(depth.mean()) * crop.scale
        night = 1.0 if self._site.weather.name == "night" else 0.5
        color = np.array([0.9, 0.85, 0.7] if front else [0.5, 0.03, 0.02], np.float32)
        gain = self._site.weather.gain
        add_glow(
            picture, crop.from_frame(pixels), color * np.float32(abs(toward) * night * 1.5 / gain), radius
        )

    def _exposure(self, main: Placed, crop: Crop, rng: np.random.Generator) -> Exposure:
        strength = self._difficulty
        ahead = np.array([[0, 0, 0.8], [0.5, 0, 0.8]])
        pixels, _ = self._site.camera.project(main.to_site(ahead))
        direction = np.diff(crop.from_frame(pixels), axis=0)[0]
        direction /= max(float(np.hypot(*direction)), 1e-6)
        length = rng.uniform(0, strength.motion) * max(crop.width, crop.height) / 256
        warm = rng.normal(0, strength.white_balance * 0.35)
        return Exposure(
            stops=float(rng.normal(0, strength.image_exposure)),
            gains=np.exp([warm, 0, -warm]).astype(np.float32),
            motion=(float(direction[0] * length), float(direction[1] * length)),
            seed=int(rng.integers(1 << 40)),
        )
