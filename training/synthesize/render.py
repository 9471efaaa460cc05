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

from training.synthesize.camera import Camera, Crop
from training.synthesize.mesh import Mesh

SAMPLES = 2
"""Samples along each side of a pixel."""

_NEAR = 0.3
"""Metres: a triangle with a corner nearer to the camera is left out."""

SRGB_TO_LINEAR = (
    np.where(
        np.arange(256) <= 0.04045 * 255,
        np.arange(256) / 255 / 12.92,
        ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4,
    )
).astype(np.float32)
"""sRGB byte to linear light."""


@dataclass(frozen=True)
class Light:
    """What falls on the scene, in linear light where a white sheet in full daylight is about 1.

    Attributes:
        sun: unit direction towards the sun, site coordinates, float32 [3].
        sun_color: float32 [3]; zero on an overcast day.
        sky_color: light from above, float32 [3].
        ground_color: light from below, float32 [3].
        environment: octahedral map of the surroundings, float32 [E, E, 3].
        dapple: share of the sun that trees and wires let through, float32 [S, S], a tile that repeats over the
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
    """A mesh that stands on the ground: at (x, y) in site coordinates, turned by `heading` from the x axis."""

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
        _rasterize(screen, item.mesh.faces, nearness, triangle, owner, number)
    color = np.zeros((crop.height, crop.width, 3), np.float32)
    coverage = np.zeros((crop.height, crop.width), np.float32)
    eye = camera.position.astype(np.float32)
    for number, (item, (screen, placed32)) in enumerate(zip(objects, corners, strict=True)):
        mesh = item.mesh
        _shade(
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


def octahedral_directions(size: int) -> np.ndarray:
    """Unit directions [size, size, 3] that the cells of an octahedral environment map stand for."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    z = 1 - np.abs(x) - np.abs(y)
    fold = np.maximum(-z, 0)
    directions = np.stack([x - np.copysign(fold, x), y - np.copysign(fold, y), z], axis=-1)
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def cover(screen: np.ndarray, faces: np.ndarray, mask: np.ndarray) -> None:
    """Set to 1 the cells of `mask`, float32 [H, W], whose centre lies in a triangle; screen [V, 3] = x, y, 1."""
    scratch = np.empty(mask.shape, np.int32), np.empty(mask.shape, np.int16)
    _rasterize(screen, faces, mask, *scratch, 0)


@numba.njit(cache=True, nogil=True)
def _rasterize(
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


@numba.njit(cache=True, nogil=True, inline="always")
def _environment(environment: np.ndarray, x: float, y: float, z: float) -> tuple[int, int]:
    """Cell of an octahedral map that a direction falls in."""
    size = environment.shape[0]
    total = abs(x) + abs(y) + abs(z)
    u, v = x / total, y / total
    if z < 0.0:
        fold_u = (1.0 - abs(v)) * (1.0 if u >= 0 else -1.0)
        fold_v = (1.0 - abs(u)) * (1.0 if v >= 0 else -1.0)
        u, v = fold_u, fold_v
    column = min(size - 1, max(0, int((u * 0.5 + 0.5) * size)))
    row = min(size - 1, max(0, int((v * 0.5 + 0.5) * size)))
    return row, column


@numba.njit(cache=True, nogil=True, inline="always")
def sunlit(x: float, y: float, z: float, sun: np.ndarray, dapple: np.ndarray, metres: float) -> float:
    """Share of the sun that reaches a point past the trees."""
    size = dapple.shape[0]
    lift = z / sun[2]
    column = int(math.floor((x - sun[0] * lift) / metres * size)) % size
    row = int(math.floor((y - sun[1] * lift) / metres * size)) % size
    return dapple[row, column]


@numba.njit(cache=True, nogil=True)
def _shade(
    screen: np.ndarray,
    placed: np.ndarray,
    faces: np.ndarray,
    uv: np.ndarray,
    normals: np.ndarray,
    gloss: np.ndarray,
    texture: np.ndarray,
    turn: np.ndarray,
    triangle: np.ndarray,
    owner: np.ndarray,
    number: int,
    eye: np.ndarray,
    sun: np.ndarray,
    sun_color: np.ndarray,
    sky_color: np.ndarray,
    ground_color: np.ndarray,
    environment: np.ndarray,
    dapple: np.ndarray,
    dapple_metres: float,
    linear: np.ndarray,
    color: np.ndarray,
    coverage: np.ndarray,
) -> None:
    """Add the light of every sample that object `number` won to its pixel."""
    height, width = coverage.shape
    texels = texture.shape[0]
    share = np.float32(1.0 / (SAMPLES * SAMPLES))
    for sample_row in range(height * SAMPLES):
        row = sample_row // SAMPLES
        for sample_column in range(width * SAMPLES):
            if owner[sample_row, sample_column] != number:
                continue
            column = sample_column // SAMPLES
            face = triangle[sample_row, sample_column]
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            ax, ay = screen[a, 0], screen[a, 1]
            e1x, e1y = screen[b, 0] - ax, screen[b, 1] - ay
            e2x, e2y = screen[c, 0] - ax, screen[c, 1] - ay
            px, py = sample_column + 0.5 - ax, sample_row + 0.5 - ay
            inverse = 1.0 / (e1x * e2y - e1y * e2x)
            wb = (px * e2y - py * e2x) * inverse
            wc = (py * e1x - px * e1y) * inverse
            # Perspective: attribute over depth is linear on the screen, the attribute is not.
            wb *= screen[b, 2]
            wc *= screen[c, 2]
            wa = (1.0 - (px * e2y - py * e2x) * inverse - (py * e1x - px * e1y) * inverse) * screen[a, 2]
            scale = 1.0 / (wa + wb + wc)
            wa, wb, wc = wa * scale, wb * scale, wc * scale

            nx = wa * normals[face, 0, 0] + wb * normals[face, 1, 0] + wc * normals[face, 2, 0]
            ny = wa * normals[face, 0, 1] + wb * normals[face, 1, 1] + wc * normals[face, 2, 1]
            nz = wa * normals[face, 0, 2] + wb * normals[face, 1, 2] + wc * normals[face, 2, 2]
            norm = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * norm, ny * norm, nz * norm
            nx, ny = turn[0, 0] * nx + turn[0, 1] * ny, turn[1, 0] * nx + turn[1, 1] * ny
            x = wa * placed[a, 0] + wb * placed[b, 0] + wc * placed[c, 0]
            y = wa * placed[a, 1] + wb * placed[b, 1] + wc * placed[c, 1]
            z = wa * placed[a, 2] + wb * placed[b, 2] + wc * placed[c, 2]
            vx, vy, vz = eye[0] - x, eye[1] - y, eye[2] - z
            norm = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz + 1e-12)
            vx, vy, vz = vx * norm, vy * norm, vz * norm
            facing = nx * vx + ny * vy + nz * vz
            if facing < -0.25:
                # The inside of a shell: light it as a surface of its own. Slightly turned away is a smoothed
                # normal at the silhouette, not an inside.
                nx, ny, nz, facing = -nx, -ny, -nz, -facing
            facing = max(facing, 0.0)

            u = (wa * uv[face, 0, 0] + wb * uv[face, 1, 0] + wc * uv[face, 2, 0]) * texels - 0.5
            v = (wa * uv[face, 0, 1] + wb * uv[face, 1, 1] + wc * uv[face, 2, 1]) * texels - 0.5
            u = min(max(u, 0.0), texels - 1.001)
            v = min(max(v, 0.0), texels - 1.001)
            tu, tv = int(u), int(v)
            fu, fv = u - tu, v - tv
            w00, w01, w10, w11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
            shine = (
                w00 * texture[tv, tu, 3]
                + w01 * texture[tv, tu + 1, 3]
                + w10 * texture[tv + 1, tu, 3]
                + w11 * texture[tv + 1, tu + 1, 3]
            ) / 255.0
            shine = min(shine, gloss[face])

            toward_sun = nx * sun[0] + ny * sun[1] + nz * sun[2]
            if toward_sun > 0.0:
                toward_sun *= sunlit(x, y, z, sun, dapple, dapple_metres)
            highlight = 0.0
            if toward_sun > 0.0 and shine > 0.05:
                hx, hy, hz = vx + sun[0], vy + sun[1], vz + sun[2]
                half = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
                half2 = half * half
                half8 = half2 * half2 * half2 * half2
                half32 = half8 * half8 * half8 * half8
                highlight = shine * shine * half32 * half32 * half32 * min(1.6, 16.0 * toward_sun)
            toward_sun = max(toward_sun, 0.0)
            grazing = 1.0 - facing
            grazing2 = grazing * grazing
            mirror = shine * (0.05 + 0.75 * grazing2 * grazing2 * grazing)
            cell_row, cell_column = 0, 0
            if mirror > 0.004:
                cell_row, cell_column = _environment(
                    environment, 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
                )
            up = 0.5 + 0.5 * nz
            for channel in range(3):
                albedo = (
                    w00 * linear[texture[tv, tu, channel]]
                    + w01 * linear[texture[tv, tu + 1, channel]]
                    + w10 * linear[texture[tv + 1, tu, channel]]
                    + w11 * linear[texture[tv + 1, tu + 1, channel]]
                )
                light = (
                    sun_color[channel] * toward_sun
                    + sky_color[channel] * up
                    + ground_color[channel] * (1.0 - up)
                )
                value = albedo * light * (1.0 - mirror) + sun_color[channel] * highlight
                value += mirror * environment[cell_row, cell_column, channel]
                color[row, column, channel] += share * value
            coverage[row, column] += share
