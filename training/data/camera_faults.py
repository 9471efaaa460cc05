"""What cameras do to a picture: another tone, a soft lens, noise, faded colours. uint8 RGB in, a new array
out, all chance from one generator.

The ranges are those that the zoo's models for real roads were trained with.
"""

import cv2
import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""What red, green and blue weigh in brightness (ITU-R BT.601)."""

_LEVELS = np.arange(256) / 255
_NOISE = 0.04
"""Standard deviation, of the range."""
_FADED = 0.7
"""How far towards grey."""


def change_tone(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another gamma, 0.67 to 1.49, and another gain of each channel, 10% more or less as a rule."""
    gamma = np.exp(rng.uniform(-0.4, 0.4))
    gains = np.exp(rng.normal(0, 0.1, 3))
    table = np.clip(255 * _LEVELS[:, None] ** gamma * gains, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]))


def soften(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As fine as a quarter to four fifths of the pixels a side can tell: down to that size, and up again."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.25, 0.8)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of each pixel and channel."""
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(255 * _NOISE)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def fade(image: np.ndarray) -> np.ndarray:
    """Most of the colour gone, brightness kept; to a level, since OpenCV weighs bytes in fixed point."""
    towards = (1 - _FADED) * np.eye(3, dtype=np.float32) + np.float32(_FADED) * LUMA
    return np.asarray(cv2.transform(image, towards))
