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

import math
from dataclasses import dataclass

import numba
import numpy as np

from training.synthesize.renderer.camera import Camera, Crop
from training.synthesize.renderer.mesh import Mesh
from training.synthesize.renderer.shading import SAMPLES, Light, Samples, Surface, shade

_NEAR = 0.3
"""Metres: a triangle with a corner nearer to the camera is left out."""


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
    samples = Samples(triangle, owner)
    for number, (item, (screen, placed)) in enumerate(zip(objects, corners, strict=True)):
        mesh, turn = item.mesh, item.turn().astype(np.float32)
        surface = Surface(screen, placed, mesh.faces, mesh.uv, mesh.normals, mesh.gloss, mesh.texture, turn)
        shade(surface, light, eye, samples, number, color, coverage)
    with np.errstate(divide="ignore"):
        return Canvas(color, coverage, 1 / nearness, owner)


def cover(screen: np.ndarray, faces: np.ndarray, mask: np.ndarray) -> None:
    """Set to 1 the cells of `mask`, float32 [H, W], that a triangle covers; screen [V, 3] is x, y, 1."""
    scratch = np.empty(mask.shape, np.int32), np.empty(mask.shape, np.int16)
    rasterize(screen, faces, mask, *scratch, 0)


@numba.njit(cache=True, nogil=True)
def rasterize(
    screen: np.ndarray,
    faces: np.ndarray,
    nearness: np.ndarray,
    triangle: np.ndarray,
    owner: np.ndarray,
    number: int,
) -> None:
    """Leave each triangle's number where it is the nearest; screen [V, 3] = x, y in samples and 1 / depth."""
    height, width = nearness.shape
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        if max(za, zb, zc) * _NEAR > 1.0:
            continue
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        first_row = max(0, math.ceil(min(ay, by, cy) - 0.5))
        last_row = min(height - 1, math.floor(max(ay, by, cy) - 0.5))
        first_column = max(0, math.ceil(min(ax, bx, cx) - 0.5))
        last_column = min(width - 1, math.floor(max(ax, bx, cx) - 0.5))
        if first_row > last_row or first_column > last_column:
            continue
        inverse = 1.0 / area
        # Weights of b and c are linear in the sample's place: step them along the row.
        step_b, step_c = (cy - ay) * inverse, -(by - ay) * inverse
        for row in range(first_row, last_row + 1):
            py = row + 0.5 - ay
            px = first_column + 0.5 - ax
            start_b = (px * (cy - ay) - py * (cx - ax)) * inverse
            start_c = (py * (bx - ax) - px * (by - ay)) * inverse
            for column in range(first_column, last_column + 1):
                wb = start_b + (column - first_column) * step_b
                wc = start_c + (column - first_column) * step_c
                if wb < 0.0 or wc < 0.0 or wb + wc > 1.0:
                    continue
                near = za + wb * (zb - za) + wc * (zc - za)
                if near > nearness[row, column]:
                    nearness[row, column] = near
                    triangle[row, column] = face
                    owner[row, column] = number
