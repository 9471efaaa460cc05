"""Triangles to pixels: a z-buffer rasteriser and its shader, compiled by numba.

Why not a graphics library: moderngl, pyrender and Open3D draw through the system's GL or EGL, which a fresh
machine lacks, and their bytes depend on its driver; VTK and Open3D are wheels of hundreds of megabytes; ray
casting with embree is too slow at four samples a pixel. A few hundred lines that numba compiles need nothing
but the `train` extra, and draw the same bytes for the same seed.

Every pixel has 2 x 2 samples. Triangles only leave their number and depth in a sample; colour is computed
once for what is seen in the end (deferred shading): Lambert and Blinn-Phong from the sun, a hemisphere of sky
and ground, and a mirror image of the surroundings that grows towards grazing angles (Schlick, "An Inexpensive
BRDF Model for Physically-based Rendering", 1994).
"""

from dataclasses import dataclass

import numpy as np

from training.synthesize.renderer.camera import Camera, Crop
from training.synthesize.renderer.mesh import Mesh
from training.synthesize.renderer.raster import rasterize
from training.synthesize.renderer.shading import SAMPLES, SRGB_TO_LINEAR, shade


@dataclass(frozen=True)
class Light:
    """What falls on the scene, in linear light where a white sheet in full daylight is about 1.

    Attributes:
        sun: unit direction towards the sun, site coordinates, float32 [3].
        sun_color: float32 [3]; zero on an overcast day.
        sky_color: light from above, float32 [3].
        ground_color: light from below, float32 [3].
        environment: octahedral map of the surroundings, float32 [E, E, 3].
        dapple: share of the sun that trees let through, float32 [S, S], a tile that repeats over the
            ground; looked up where the line to the sun meets it.
        dapple_metres: side of that tile.
    """

    sun: np.ndarray
    sun_color: np.ndarray
    sky_color: np.ndarray
    ground_color: np.ndarray
    environment: np.ndarray
    dapple: np.ndarray
    dapple_metres: float


@dataclass(frozen=True)
class Placed:
    """A mesh that stands at (x, y) in site coordinates, turned by `heading` radians from the x axis."""

    mesh: Mesh
    x: float
    y: float
    heading: float

    def to_site(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the mesh in site coordinates, float64."""
        return np.asarray(points, np.float64) @ self.turn().T + (self.x, self.y, 0.0)

    def turn(self) -> np.ndarray:
        """Rotation [3, 3] from mesh to site axes."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


@dataclass
class Canvas:
    """What the objects of one picture leave behind.

    Attributes:
        color: float32 [H, W, 3], linear light, multiplied by the coverage.
        coverage: float32 [H, W], share of a pixel's samples that any object covers.
        depth: float32 [2H, 2W], metres along the camera's axis per sample; infinite where nothing is.
        owner: int16 [2H, 2W], the number of the object that a sample shows; -1 for none.
    """

    color: np.ndarray
    coverage: np.ndarray
    depth: np.ndarray
    owner: np.ndarray


def render(objects: list[Placed], camera: Camera, crop: Crop, light: Light) -> Canvas:
    """Draw `objects`; the vehicle that the picture is about is number 0 in `Canvas.owner` if it is first."""
    shape = (crop.height * SAMPLES, crop.width * SAMPLES)
    nearness = np.zeros(shape, np.float32)
    triangle = np.full(shape, -1, np.int32)
    owner = np.full(shape, -1, np.int16)
    corners = []
    for number, item in enumerate(objects):
        placed = item.to_site(item.mesh.vertices)
        frame, depth = camera.project(placed)
        screen = np.column_stack([crop.from_frame(frame) * SAMPLES, 1 / depth]).astype(np.float32)
        corners.append((screen, placed.astype(np.float32)))
        rasterize(screen, item.mesh.faces, nearness, triangle, owner, number)
    color = np.zeros((crop.height, crop.width, 3), np.float32)
    coverage = np.zeros((crop.height, crop.width), np.float32)
    eye = camera.position.astype(np.float32)
    for number, (item, (screen, placed32)) in enumerate(zip(objects, corners, strict=True)):
        mesh = item.mesh
        shade(
            screen,
            placed32,
            mesh.faces,
            mesh.uv,
            mesh.normals,
            mesh.gloss,
            mesh.texture,
            item.turn().astype(np.float32),
            triangle,
            owner,
            number,
            eye,
            light.sun,
            light.sun_color,
            light.sky_color,
            light.ground_color,
            light.environment,
            light.dapple,
            light.dapple_metres,
            SRGB_TO_LINEAR,
            color,
            coverage,
        )
    with np.errstate(divide="ignore"):
        return Canvas(color, coverage, 1 / nearness, owner)
