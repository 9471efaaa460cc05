"""The 36 keypoints of the VeRi vehicle model, placed on a body.

The order and meaning were recovered from VeRi-776's own label file by an affine structure-from-motion fit of
its points: 0 to 17 are the left side of the vehicle, 18 to 35 the right side in the same order.
"""

import numpy as np

from training.synthesize.vehicle.body import sections
from training.synthesize.vehicle.cargo import Cargo
from training.synthesize.vehicle.shape import Shape
from training.synthesize.vehicle.wheels import wheel_face

_SIDE_NAMES = (
    "rear_wheel_center",
    "front_wheel_center",
    "front_arch_front_foot",
    "front_arch_front_shoulder",
    "front_arch_rear_shoulder",
    "front_arch_rear_foot",
    "rear_arch_front_foot",
    "rear_arch_front_shoulder",
    "rear_arch_rear_shoulder",
    "rear_arch_rear_foot",
    "rear_bumper_lower_corner",
    "tail_upper_corner",
    "rear_window_lower_corner",
    "roof_rear_corner",
    "roof_front_corner",
    "windscreen_lower_corner",
    "hood_front_corner",
    "front_bumper_lower_corner",
)
KEYPOINT_NAMES = tuple(f"{side}_{name}" for side in ("left", "right") for name in _SIDE_NAMES)
"""Names in label order; index i and i + 18 are mirror images."""

# Where each point looks, before normalising: a corner looks between its faces.
_NORMALS = [(0.0, 1.0, 0.0)] * 10 + [
    (-0.7, 0.7, -0.1),
    (-0.7, 0.7, 0.2),
    (-0.6, 0.65, 0.45),
    (-0.35, 0.6, 0.7),
    (0.35, 0.6, 0.7),
    (0.5, 0.6, 0.6),
    (0.65, 0.65, 0.35),
    (0.7, 0.7, -0.1),
]


def place_keypoints(shape: Shape, cargo: Cargo | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints and outward normals, float32 [36, 3] each; `cargo` is a truck's body behind its cab."""
    left = np.array([*_wheels(shape, cargo), *_profile(shape, cargo)])
    normals = np.array(_NORMALS)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    mirror = np.array([1.0, -1.0, 1.0])
    return (
        np.concatenate([left, left * mirror]).astype(np.float32),
        np.concatenate([normals, normals * mirror]).astype(np.float32),
    )


def _wheels(shape: Shape, cargo: Cargo | None) -> list[tuple[float, float, float]]:
    """Points 0 to 9: hubs, and the feet and shoulders of the arches (of the tyre where there is no arch)."""
    front, rear = shape.wheel_x
    points = [(x, wheel_face(shape, x), shape.wheel_radius) for x in (rear, front)]
    for wheel in (front, rear):
        bare = cargo is not None and wheel == rear
        # A hair outside of the cut, so that the point lies on the flank.
        radius = shape.wheel_radius if bare else shape.arch * 1.01 + 0.005
        for across, up in ((1.0, 0.0), (0.62, 0.7846), (-0.62, 0.7846), (-1.0, 0.0)):
            x = wheel + across * radius
            z = (
                shape.wheel_radius + up * radius
                if up
                else max(shape.clearance + 0.04, shape.wheel_radius * 0.8)
            )
            x = float(np.clip(x, (shape.tail if not bare else shape.rear) + 0.02, shape.front - 0.02))
            y = wheel_face(shape, wheel) if bare else float(shape.half_width(x, z))
            points.append((x, y, z))
    # The front wheel's points run from front to rear, and so do the rear wheel's.
    return points


def _profile(shape: Shape, cargo: Cargo | None) -> list[tuple[float, float, float]]:
    """Points 10 to 17: along the upper outline from the rear bumper over the roof to the front bumper."""
    _, cowl, roof_front, roof_rear, base, _ = shape.profile_x
    ends = sections(shape, np.array([shape.front, 0.5 * (shape.front + shape.tail), shape.tail]), ends=True)
    nose, tail = ends[0], ends[-1]
    along = sections(shape, np.array([cowl, roof_front, roof_rear, base]))
    rear_lower, tail_upper = tail[1], tail[4]
    window, roof = along[3, 6], along[2, 6]
    if shape.kind not in ("sedan", "pickup"):
        share = 0.5 if shape.kind == "bus" else 0.72
        tail_upper = tail[1] + (tail[4] - tail[1]) * share
        z = tail_upper[2]
        tail_upper = np.array([np.interp(z, tail[1:5, 2], tail[1:5, k]) for k in range(3)])
    if cargo is not None:
        rear_lower = np.array([cargo.rear, cargo.half, cargo.floor])
        tail_upper = np.array([cargo.rear, cargo.top_half, cargo.top])
        if cargo.tall:
            roof = tail_upper
            tail_upper, window = (rear_lower + share * (roof - rear_lower) for share in (0.3, 0.6))
    corners = (rear_lower, tail_upper, window, roof, along[1, 6], along[0, 6], nose[4], nose[1])
    return [(float(p[0]), float(p[1]), float(p[2])) for p in corners]
