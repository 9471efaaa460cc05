"""The 36 vehicle keypoints and 13 surface segments: order, mirror images, and how a model takes them."""

import numpy as np

from zoo.card import IMAGENET_MEAN, IMAGENET_STD

NUM_KEYPOINTS = 36

POSE_DTYPES = {"keypoints": "float32", "heatmaps": "uint8", "segments": "uint8"}
"""numpy type of each pose input; the shapes are the card's."""

SEGMENTS = (
    (5, 15, 16, 17),
    (5, 6, 12, 15),
    (6, 10, 11, 12),
    (23, 33, 34, 35),
    (23, 24, 30, 33),
    (24, 28, 29, 30),
    (10, 11, 29, 28),
    (11, 12, 30, 29),
    (12, 13, 31, 30),
    (13, 14, 32, 31),
    (14, 15, 33, 32),
    (15, 16, 34, 33),
    (16, 17, 35, 34),
)
"""Corners of each surface segment, as keypoint indices: three on each side, seven across."""

NUM_SEGMENTS = len(SEGMENTS)

MIN_CONFIDENCE = 0.5
"""A segment is shown only when all of its keypoints have at least this confidence."""

FLIP_KEYPOINTS = tuple((index + NUM_KEYPOINTS // 2) % NUM_KEYPOINTS for index in range(NUM_KEYPOINTS))
"""In a mirrored image, keypoint i is what keypoint FLIP_KEYPOINTS[i] was: the vehicle's sides swap names."""

FLIP_SEGMENTS = tuple(
    next(other for other, corners in enumerate(SEGMENTS) if set(corners) == {FLIP_KEYPOINTS[i] for i in quad})
    for quad in SEGMENTS
)
"""In a mirrored image, segment i is what segment FLIP_SEGMENTS[i] was."""

POSE_MEAN = sum(IMAGENET_MEAN) / 3
"""Heatmap and segment channels (0..1) are normalised with the average of the RGB channels' figures."""

POSE_STD = sum(IMAGENET_STD) / 3


def scale_keypoints(
    keypoints: np.ndarray, source_size: tuple[int, int], input_size: tuple[int, int]
) -> np.ndarray:
    """Turn keypoints into the 108 numbers that a keypoint-aware model takes.

    x and y are carried into the resized image and divided by its width and height; 0.5 is taken off all three
    values. Nothing is clipped: labels have confidences above 1 and coordinates outside of the image.

    Args:
        keypoints: [..., 36, 3] of (x, y, confidence), in pixels of the source image; left as they are.
        source_size: (height, width) of the image that the coordinates refer to.
        input_size: (height, width) of the model's input.

    Returns:
        float32 [..., 108], keypoint after keypoint (x, y, confidence).
    """
    if keypoints.shape[-2:] != (NUM_KEYPOINTS, 3):
        raise ValueError(f"keypoints of shape [..., 36, 3] are expected, not {list(keypoints.shape)}")
    source = np.array([source_size[1], source_size[0], 1.0])
    resized = np.array([input_size[1], input_size[0], 1.0])
    scaled: np.ndarray = keypoints.astype(np.float64) * (resized / source) / resized - 0.5
    return scaled.reshape(*keypoints.shape[:-2], NUM_KEYPOINTS * 3).astype(np.float32)


def flip_keypoints(keypoints: np.ndarray, width: int) -> np.ndarray:
    """Return the keypoints of the horizontally mirrored image: columns mirrored, the sides' indices swapped.

    Args:
        keypoints: [..., 36, 3] of (x, y, confidence) in pixels; left as they are.
        width: of the image, in pixels.

    Returns:
        A new array of the same shape and dtype.
    """
    flipped = keypoints[..., FLIP_KEYPOINTS, :].copy()
    flipped[..., 0] = (width - 1) - flipped[..., 0]
    return flipped


def visible_segments(keypoints: np.ndarray) -> np.ndarray:
    """Tell which segments are shown: bool [..., 13], from keypoints [..., 36, 3]."""
    shown: np.ndarray = np.all(keypoints[..., 2][..., SEGMENTS] >= MIN_CONFIDENCE, axis=-1)
    return shown
