"""A pinhole camera with mild radial distortion, and the crop that is written from its frame.

Site coordinates: metres, z up, the ground at z = 0, the camera above the origin, x the way it looks.
"""

from dataclasses import dataclass

import numpy as np

FRAME_WIDTH = 1920
FRAME_HEIGHT = 1080


@dataclass(frozen=True)
class Camera:
    """One fixed camera.

    Attributes:
        height: metres above the ground.
        pitch: radians that the axis points below the horizon.
        roll: radians that the frame is turned clockwise.
        focal: pixels of the 1920 x 1080 frame.
        distortion: k1 of `r' = r (1 + k1 r^2)` with r in units of the focal length; below zero for a barrel.
    """

    height: float
    pitch: float
    roll: float
    focal: float
    distortion: float

    @property
    def position(self) -> np.ndarray:
        """Float64 [3] in site coordinates."""
        return np.array([0.0, 0.0, self.height])

    @property
    def rotation(self) -> np.ndarray:
        """Rows are the camera's right, down and forward axes in site coordinates, float64 [3, 3]."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        right, down, forward = np.array([0.0, -1.0, 0.0]), np.array([-sin, 0, -cos]), np.array([cos, 0, -sin])
        turn, tilt = np.cos(self.roll), np.sin(self.roll)
        return np.stack([right * turn + down * tilt, down * turn - right * tilt, forward])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frame pixels [N, 2] and depth along the axis [N] of points [N, 3] in site coordinates.

        A point at or behind the camera gets a tiny depth of 1 mm and lands far outside the frame.
        """
        seen = (points - self.position) @ self.rotation.T
        depth = np.maximum(seen[:, 2], 1e-3)
        flat = seen[:, :2] / depth[:, None]
        # Beyond r = 1 the polynomial folds the plane back; nothing that a crop shows is that far out.
        radius2 = np.minimum(np.sum(flat**2, axis=1, keepdims=True), 1.0)
        flat = flat * (1 + self.distortion * radius2)
        return flat * self.focal + (FRAME_WIDTH / 2, FRAME_HEIGHT / 2), depth

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit directions [N, 3] in site coordinates that frame pixels [N, 2] look along."""
        bent = (pixels - (FRAME_WIDTH / 2, FRAME_HEIGHT / 2)) / self.focal
        flat = bent
        for _ in range(6):
            radius2 = np.minimum(np.sum(flat**2, axis=1, keepdims=True), 1.0)
            flat = bent / (1 + self.distortion * radius2)
        directions = np.concatenate([flat, np.ones((len(flat), 1))], axis=1) @ self.rotation
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)


@dataclass(frozen=True)
class Crop:
    """A box of the frame, drawn at `width` x `height` pixels.

    Attributes:
        left: frame pixel of the box's left edge.
        top: frame pixel of its upper edge.
        scale: drawn pixels per frame pixel.
        width: drawn pixels.
        height: drawn pixels.
    """

    left: float
    top: float
    scale: float
    width: int
    height: int

    def from_frame(self, pixels: np.ndarray) -> np.ndarray:
        """Drawn coordinates [N, 2] of frame pixels [N, 2]; (0, 0) is the outer corner of the first pixel."""
        return (pixels - (self.left, self.top)) * self.scale

    def grid(self, step: int = 1) -> np.ndarray:
        """Frame pixels [rows, columns, 2] of every `step`-th drawn pixel, with a row and column to spare."""
        columns = np.arange(0, self.width + step, step) + 0.5
        rows = np.arange(0, self.height + step, step) + 0.5
        grid = np.stack(np.meshgrid(columns, rows), axis=-1)
        return grid / self.scale + (self.left, self.top)

    def resized(self, long_side: int) -> "Crop":
        """The same box drawn with another long side."""
        ratio = long_side / max(self.width, self.height)
        width, height = max(8, round(self.width * ratio)), max(8, round(self.height * ratio))
        return Crop(self.left, self.top, self.scale * ratio, width, height)
