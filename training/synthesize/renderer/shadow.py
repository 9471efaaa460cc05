"""Shadows that vehicles throw on the ground."""

from dataclasses import dataclass

import cv2
import numpy as np

from training.synthesize.renderer.render import Placed, cover

_PIXELS = 160


@dataclass(frozen=True)
class GroundShadow:
    """A map in site coordinates.

    Attributes:
        shade: float32 [P, P, 2]: share of the sun, and of the sky, that is taken away; row = y, column = x.
        origin: (x, y) of the first cell's corner.
        cell: metres.
    """

    shade: np.ndarray
    origin: tuple[float, float]
    cell: float


def cast_shadow(objects: list[Placed], sun: np.ndarray) -> GroundShadow:
    """The shadow of `objects`: sharp along the sun, and a soft dark patch under the floor."""
    points = [item.to_site(item.mesh.vertices) for item in objects]
    # A low sun throws shadows further than the map should reach.
    slide = sun[:2] / max(float(sun[2]), 0.3)
    fallen = [np.column_stack([p[:, :2] - slide * p[:, 2:], np.ones(len(p))]) for p in points]
    upright = [np.column_stack([p[:, :2], np.ones(len(p))]) for p in points]
    every = np.concatenate(fallen + upright)[:, :2]
    low, high = every.min(axis=0) - 1.0, every.max(axis=0) + 1.0
    cell = float((high - low).max()) / _PIXELS
    shade = np.zeros((_PIXELS, _PIXELS, 2), np.float32)
    for layer, (flat, softness) in enumerate(((fallen, 0.08), (upright, 0.28))):
        mask = np.zeros((_PIXELS, _PIXELS), np.float32)
        for item, corners in zip(objects, flat, strict=True):
            corners[:, :2] = (corners[:, :2] - low) / cell
            cover(corners.astype(np.float32), item.mesh.faces, mask)
        shade[..., layer] = cv2.GaussianBlur(mask, (0, 0), max(0.5, softness / cell))
    shade[..., 0] *= 0.95
    shade[..., 1] *= 0.8
    return GroundShadow(shade, (float(low[0]), float(low[1])), cell)
