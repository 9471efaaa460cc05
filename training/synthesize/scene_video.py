"""A camera's whole view of its street, frame by frame, with the boxes of what passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.synthesize.randomness import stream
from training.synthesize.renderer.camera import FRAME_WIDTH, Camera, Crop
from training.synthesize.renderer.effects import Exposure, Grain, expose
from training.synthesize.renderer.mesh import Mesh
from training.synthesize.renderer.render import Placed, cover, render
from training.synthesize.renderer.shading import SAMPLES, Light
from training.synthesize.renderer.shadow import GroundShadow, cast_shadow
from training.synthesize.street.camera_site import CameraSite
from training.synthesize.street.ground import draw_environment, draw_surroundings
from training.synthesize.street.traffic import Passage

WIDTH, HEIGHT = 640, 360
_DAPPLE_METRES = 13.0
_WIDER = 0.55
"""Factor on the focal length: a view of the street, not of one vehicle."""
_LOOKS_AT = 17.0
"""Metres before the camera."""
_LEAST_SIDE = 8
"""Pixels of a box; less of a vehicle is not labelled."""


@dataclass(frozen=True)
class TrueBox:
    """Where a vehicle is in a frame.

    Attributes:
        vehicle: its number, from 0.
        left, top, width, height: in pixels, cut at the frame's edges.
        visible: share of the vehicle's part of the frame that nothing hides.
    """

    vehicle: int
    left: float
    top: float
    width: float
    height: float
    visible: float


def widened(site: CameraSite) -> CameraSite:
    """The site with a camera that sees the street."""
    camera = site.camera
    pitch = float(np.arctan2(camera.height - 0.8, _LOOKS_AT))
    return replace(site, camera=replace(camera, focal=_WIDER * camera.focal, pitch=pitch))


class SceneVideo:
    """Draws the frames of one camera.

    Args:
        site: of `widened`.
        meshes: the vehicles, by number.
        passages: at this camera.
        seed: picks the noise.
    """

    def __init__(
        self, site: CameraSite, meshes: Sequence[Mesh], passages: Sequence[Passage], seed: int
    ) -> None:
        self._site, self._meshes, self._passages, self._seed = site, meshes, passages, seed
        self._crop = Crop(0.0, 0.0, WIDTH / FRAME_WIDTH, WIDTH, HEIGHT)
        self._grain = Grain(WIDTH)
        background = site.backgrounds[0]
        weather = site.weather
        ground = background.ground[::32, ::32].mean(axis=(0, 1)) / 255
        daylight = weather.sky_color + weather.sun_color * weather.sun[2]
        self._light = Light(
            sun=weather.sun,
            sun_color=weather.sun_color,
            sky_color=weather.sky_color,
            ground_color=(daylight * ground**2.2).astype(np.float32),
            environment=draw_environment(background, weather),
            dapple=site.dapple,
            dapple_metres=_DAPPLE_METRES,
        )
        self._empty = self._street(GroundShadow(np.zeros((1, 1, 2), np.float32), (1e6, 1e6), 1.0))

    def frame(self, number: int) -> tuple[np.ndarray, list[TrueBox]]:
        """The picture, uint8 [360, 640, 3], and the boxes of what it shows."""
        here = [each for each in self._passages if each.first <= number <= each.last]
        placed = [self._place(each, number) for each in here]
        picture, boxes = self._empty, []
        if placed:
            canvas = render(placed, self._site.camera, self._crop, self._light)
            street = self._street(cast_shadow(placed, self._site.weather.sun))
            weather = self._site.weather
            far = float(np.mean([np.hypot(each.x, each.y) for each in placed]))
            clear = np.exp(-weather.haze * far)
            part = canvas.coverage[..., None]
            picture = street * (1 - part) + canvas.color * clear + weather.horizon * ((1 - clear) * part)
            boxes = [
                box
                for order, (each, where) in enumerate(zip(here, placed, strict=True))
                if (box := _box(each.vehicle, where, self._site.camera, self._crop, canvas.owner == order))
            ]
        noise = int(stream(self._seed, "noise", self._site.camera_id, number).integers(1 << 40))
        exposure = Exposure(0.0, np.ones(3, np.float32), (0.0, 0.0), noise)
        gain = self._site.weather.gain
        shown = expose(picture.astype(np.float32), self._site.sensor, exposure, gain, self._grain)
        return shown, boxes

    def _street(self, shadow: GroundShadow) -> np.ndarray:
        site = self._site
        return draw_surroundings(
            site.camera, self._crop, site.backgrounds[0], site.weather, self._light, shadow
        )

    def _place(self, passage: Passage, number: int) -> Placed:
        lane = self._site.lanes[passage.lane]
        x, y, heading = lane.at(float(passage.along[number - passage.first]))
        return Placed(self._meshes[passage.vehicle], x + passage.away, y, heading)


def _box(vehicle: int, placed: Placed, camera: Camera, crop: Crop, shown: np.ndarray) -> TrueBox | None:
    """The box of a vehicle in the frame; None where hardly any of it is in it.

    Args:
        vehicle: its number.
        placed: where it is.
        camera, crop: that see it.
        shown: the samples that show it, bool [2H, 2W].
    """
    pixels, _ = camera.project(placed.to_site(placed.mesh.vertices))
    screen = crop.from_frame(pixels)
    low = np.maximum(screen.min(axis=0), 0)
    high = np.minimum(screen.max(axis=0), (crop.width, crop.height))
    if (high - low).min() < _LEAST_SIDE:
        return None
    whole = np.zeros(shown.shape, np.float32)
    corners = np.column_stack([screen * SAMPLES, np.ones(len(screen))]).astype(np.float32)
    cover(corners, placed.mesh.faces, whole)
    area = int(np.count_nonzero(whole))
    visible = min(1.0, int(np.count_nonzero(shown)) / area) if area else 0.0
    (left, top), (width, height) = low.tolist(), (high - low).tolist()
    return TrueBox(vehicle, left, top, width, height, visible)
