"""Where a vehicle's keypoints are in a picture, and whether they can be seen."""

import numpy as np

from training.synthesize.renderer.camera import Camera, Crop
from training.synthesize.renderer.mesh import Vehicle
from training.synthesize.renderer.render import Canvas, Placed
from training.synthesize.renderer.shading import SAMPLES

VISIBLE = (0.7, 1.0)
"""Confidence of a point that the camera sees."""

OCCLUDED = (0.1, 0.4)
"""Confidence of a point in the picture that the vehicle itself or something else hides."""

OUTSIDE = (0.0, 0.05)
"""Confidence of a point that the picture's edge cuts off."""

_TOLERANCE = 0.12
"""Metres by which a keypoint may lie under the surface that is drawn."""

_TURNED_AWAY = -0.12
"""Cosine between normal and line of sight under which a point is on a far side."""


def label_keypoints(
    vehicle: Vehicle,
    placed: Placed,
    camera: Camera,
    crop: Crop,
    canvas: Canvas,
    hidden: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Float32 [K, 3]: x and y in drawn pixels, and a confidence that tells the three classes apart.

    Args:
        vehicle: whose keypoints.
        placed: where it stands; number 0 in `canvas.owner`.
        canvas: the vehicle and its neighbours as drawn.
        hidden: pixels behind an occluder that is no mesh, bool [H, W].
        rng: spreads the confidences, as a keypoint detector's are.
    """
    points = placed.to_site(vehicle.keypoints)
    normals = vehicle.keypoint_normals @ placed.turn().T
    frame, depth = camera.project(points)
    drawn = crop.from_frame(frame)
    sight = camera.position - points
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    facing = np.sum(normals * sight, axis=1)
    labels = np.empty((len(points), 3), np.float32)
    labels[:, :2] = drawn
    spread = rng.random(len(points))
    for index, (x, y) in enumerate(drawn):
        if not (0 <= x < crop.width and 0 <= y < crop.height):
            low, high = OUTSIDE
        elif facing[index] < _TURNED_AWAY or hidden[int(y), int(x)] or _behind(canvas, x, y, depth[index]):
            low, high = OCCLUDED
        else:
            low, high = VISIBLE
        labels[index, 2] = low + (high - low) * spread[index]
    return labels


def _behind(canvas: Canvas, x: float, y: float, depth: float) -> bool:
    """Whether every sample about a point shows something nearer to the camera."""
    row, column = int(y * SAMPLES), int(x * SAMPLES)
    around = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return bool(np.all(canvas.depth[around] < depth - _TOLERANCE))
