"""What a crop shows where no vehicle is: the ground with its shadows, the backdrop, and the sky."""

import math

import numba
import numpy as np

from training.synthesize.renderer.camera import Camera, Crop
from training.synthesize.renderer.shading import SRGB_TO_LINEAR, Light, octahedral_directions, sunlit
from training.synthesize.renderer.shadow import GroundShadow
from training.synthesize.street.background import BACKDROP_METRES, GROUND_METRES, Background
from training.synthesize.street.weather import Weather

_STEP = 8
"""Pixels between the rays that are computed exactly; those between are interpolated."""


def draw_surroundings(
    camera: Camera, crop: Crop, background: Background, weather: Weather, light: Light, shadow: GroundShadow
) -> np.ndarray:
    """Linear light of the empty street, float32 [H, W, 3]."""
    grid = crop.grid(_STEP)
    rays = camera.rays(grid.reshape(-1, 2)).reshape((*grid.shape[:2], 3)).astype(np.float32)
    picture = np.empty((crop.height, crop.width, 3), np.float32)
    _paint(
        rays,
        camera.height,
        background.ground,
        background.backdrop,
        background.radius,
        light.sun,
        light.sun_color,
        light.sky_color,
        weather.zenith,
        weather.horizon,
        weather.haze,
        weather.wet,
        light.dapple,
        light.dapple_metres,
        shadow.shade,
        shadow.origin[0],
        shadow.origin[1],
        shadow.cell,
        SRGB_TO_LINEAR,
        picture,
    )
    return picture


def draw_environment(background: Background, weather: Weather, size: int = 48) -> np.ndarray:
    """Octahedral map [size, size, 3] of what a glossy surface mirrors: sky, skyline, ground."""
    directions = octahedral_directions(size).astype(np.float32)
    up = directions[..., 2:]
    sky = weather.horizon + (weather.zenith - weather.horizon) * np.sqrt(np.clip(up, 0, 1))
    daylight = weather.sun_color * weather.sun[2] + weather.sky_color
    ground = SRGB_TO_LINEAR[background.ground[::16, ::16]].mean(axis=(0, 1)) * daylight
    azimuth = np.arctan2(directions[..., 1], directions[..., 0])
    columns = ((azimuth + np.pi) / (2 * np.pi) * background.backdrop.shape[1]).astype(
        int
    ) % background.backdrop.shape[1]
    tangent = up[..., 0] / np.maximum(np.hypot(directions[..., 0], directions[..., 1]), 1e-3)
    metres = tangent * background.radius + 1.0
    rows = ((1 - metres / BACKDROP_METRES) * background.backdrop.shape[0]).astype(int)
    texel = background.backdrop[np.clip(rows, 0, background.backdrop.shape[0] - 1), columns]
    opaque = (texel[..., 3:] > 128) & (rows >= 0)[..., None]
    skyline = SRGB_TO_LINEAR[texel[..., :3]] * daylight * 0.7
    return np.where(up < 0, ground, np.where(opaque, skyline, sky)).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _paint(  # noqa: PLR0915 -- one kernel, as in shading.py
    rays: np.ndarray,
    eye_height: float,
    ground: np.ndarray,
    backdrop: np.ndarray,
    radius: float,
    sun: np.ndarray,
    sun_color: np.ndarray,
    sky_color: np.ndarray,
    zenith: np.ndarray,
    horizon: np.ndarray,
    haze: float,
    wet: float,
    dapple: np.ndarray,
    dapple_metres: float,
    shade: np.ndarray,
    shade_x: float,
    shade_y: float,
    shade_cell: float,
    linear: np.ndarray,
    picture: np.ndarray,
) -> None:
    height, width = picture.shape[0], picture.shape[1]
    cells = ground.shape[0]
    per_metre = cells / GROUND_METRES
    rows, columns = backdrop.shape[0], backdrop.shape[1]
    for row in range(height):
        tile_row = row // _STEP
        fy = (row - tile_row * _STEP) / _STEP
        for column in range(width):
            tile_column = column // _STEP
            fx = (column - tile_column * _STEP) / _STEP
            w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
            dx = (
                w00 * rays[tile_row, tile_column, 0]
                + w01 * rays[tile_row, tile_column + 1, 0]
                + w10 * rays[tile_row + 1, tile_column, 0]
                + w11 * rays[tile_row + 1, tile_column + 1, 0]
            )
            dy = (
                w00 * rays[tile_row, tile_column, 1]
                + w01 * rays[tile_row, tile_column + 1, 1]
                + w10 * rays[tile_row + 1, tile_column, 1]
                + w11 * rays[tile_row + 1, tile_column + 1, 1]
            )
            dz = (
                w00 * rays[tile_row, tile_column, 2]
                + w01 * rays[tile_row, tile_column + 1, 2]
                + w10 * rays[tile_row + 1, tile_column, 2]
                + w11 * rays[tile_row + 1, tile_column + 1, 2]
            )
            flat = math.sqrt(dx * dx + dy * dy)
            reach = 1e9
            if dz < -1e-4:
                reach = eye_height / -dz
            if reach * flat < radius:
                x, y = dx * reach, dy * reach
                u = min(max((y + GROUND_METRES / 2) * per_metre - 0.5, 0.0), cells - 1.001)
                v = min(max(x * per_metre - 0.5, 0.0), cells - 1.001)
                tu, tv = int(u), int(v)
                gu, gv = u - tu, v - tv
                direct = sunlit(x, y, 0.0, sun, dapple, dapple_metres) * sun[2]
                open_sky = 1.0
                su, sv = int((x - shade_x) / shade_cell), int((y - shade_y) / shade_cell)
                if 0 <= su < shade.shape[1] and 0 <= sv < shade.shape[0]:
                    direct *= 1.0 - shade[sv, su, 0]
                    open_sky -= shade[sv, su, 1]
                clear = math.exp(-haze * reach)
                for channel in range(3):
                    albedo = (1 - gu) * (1 - gv) * linear[ground[tv, tu, channel]]
                    albedo += gu * (1 - gv) * linear[ground[tv, tu + 1, channel]]
                    albedo += (1 - gu) * gv * linear[ground[tv + 1, tu, channel]]
                    albedo += gu * gv * linear[ground[tv + 1, tu + 1, channel]]
                    value = (
                        albedo
                        * (1 - 0.45 * wet)
                        * (sun_color[channel] * direct + sky_color[channel] * open_sky)
                    )
                    value += wet * 0.12 * horizon[channel] * open_sky
                    picture[row, column, channel] = value * clear + horizon[channel] * (1 - clear)
                continue
            rise = eye_height + dz / max(flat, 1e-4) * radius
            share = 0.0
            back_row, back_column = 0, 0
            if rise < BACKDROP_METRES:
                back_row = min(rows - 1, max(0, int((1 - rise / BACKDROP_METRES) * rows)))
                turn = math.atan2(dy, dx) / (2 * math.pi) + 0.5
                back_column = min(columns - 1, max(0, int(turn * columns)))
                share = backdrop[back_row, back_column, 3] / 255.0
            clear = math.exp(-haze * radius)
            up = math.sqrt(min(max(dz, 0.0), 1.0))
            for channel in range(3):
                sky = horizon[channel] + (zenith[channel] - horizon[channel]) * up
                wall = linear[backdrop[back_row, back_column, channel]]
                wall *= 0.4 * sun_color[channel] + 0.8 * sky_color[channel]
                wall = wall * clear + horizon[channel] * (1 - clear)
                picture[row, column, channel] = share * wall + (1 - share) * sky
