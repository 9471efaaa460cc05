"""What colour a sample has: the light that a surface sends to the camera."""

import math
from typing import NamedTuple

import numba
import numpy as np

SAMPLES = 2
"""Samples along each side of a pixel."""

SRGB_TO_LINEAR = (
    np.where(
        np.arange(256) <= 0.04045 * 255,
        np.arange(256) / 255 / 12.92,
        ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4,
    )
).astype(np.float32)
"""sRGB byte to linear light."""


class Light(NamedTuple):
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


class Surface(NamedTuple):
    """A mesh as it stands before the camera.

    Attributes:
        screen: float32 [V, 3], x and y in samples and 1 / depth.
        placed: float32 [V, 3], site coordinates.
        faces, uv, normals, gloss, texture: the mesh's.
        turn: float32 [3, 3], from mesh to site axes.
    """

    screen: np.ndarray
    placed: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    normals: np.ndarray
    gloss: np.ndarray
    texture: np.ndarray
    turn: np.ndarray


class Samples(NamedTuple):
    """What each sample of the picture shows.

    Attributes:
        triangle: int32 [2H, 2W], of the object that is nearest.
        owner: int16 [2H, 2W], that object's number; -1 for none.
    """

    triangle: np.ndarray
    owner: np.ndarray


def octahedral_directions(size: int) -> np.ndarray:
    """Unit directions [size, size, 3] that the cells of an octahedral environment map stand for."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis)
    z = 1 - np.abs(x) - np.abs(y)
    fold = np.maximum(-z, 0)
    directions = np.stack([x - np.copysign(fold, x), y - np.copysign(fold, y), z], axis=-1)
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


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
    column = math.floor((x - sun[0] * lift) / metres * size) % size
    row = math.floor((y - sun[1] * lift) / metres * size) % size
    return dapple[row, column]


@numba.njit(cache=True, nogil=True)
def shade(  # noqa: PLR0915 -- one kernel: a call per sample would cost more than it clarifies
    surface: Surface,
    light: Light,
    eye: np.ndarray,
    samples: Samples,
    number: int,
    color: np.ndarray,
    coverage: np.ndarray,
) -> None:
    """Add the light of every sample that object `number` won to its pixel.

    Args:
        surface: of that object.
        light: what falls on it.
        eye: the camera's place, float32 [3], site coordinates.
        samples: who won which.
        number: of the object.
        color: float32 [H, W, 3], changed.
        coverage: float32 [H, W], changed.
    """
    screen, placed, faces, uv, normals, gloss, texture, turn = surface
    sun, sun_color, sky_color, ground_color, environment, dapple, dapple_metres = light
    triangle, owner = samples
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
                    w00 * SRGB_TO_LINEAR[texture[tv, tu, channel]]
                    + w01 * SRGB_TO_LINEAR[texture[tv, tu + 1, channel]]
                    + w10 * SRGB_TO_LINEAR[texture[tv + 1, tu, channel]]
                    + w11 * SRGB_TO_LINEAR[texture[tv + 1, tu + 1, channel]]
                )
                received = (
                    sun_color[channel] * toward_sun
                    + sky_color[channel] * up
                    + ground_color[channel] * (1.0 - up)
                )
                value = albedo * received * (1.0 - mirror) + sun_color[channel] * highlight
                value += mirror * environment[cell_row, cell_column, channel]
                color[row, column, channel] += share * value
            coverage[row, column] += share
