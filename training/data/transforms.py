"""Training's augmentation: uint8 in, uint8 and keypoints out, always new arrays, all chance from one
generator."""

from dataclasses import dataclass

import cv2
import numpy as np

from training.data.camera_faults import LUMA, add_noise, change_tone, fade, soften
from zoo.card import IMAGENET_MEAN
from zoo.pose import flip_keypoints

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. Probabilities are of one image.

    Attributes:
        crop: probability of enlarging the image by `crop_scale` and cutting the input size out at random.
        crop_scale: the enlargement, at least 1.
        flip: probability of mirroring the image left to right.
        erasing: probability of covering a random rectangle (Zhong et al. 2017, arXiv:1708.04896).
        jitter: brightness, contrast and saturation vary by factors in 1 - jitter .. 1 + jitter; 0 leaves
            them.
        tone: probability of another camera's gamma and gains; this and the next three are the faults of
            `training.data.camera_faults`.
        softness: probability of an image as a lens out of focus, or one too far away, gives it.
        noise: probability of a sensor's noise.
        fading: probability of colours that are nearly grey.
    """

    crop: float = 0.5
    crop_scale: float = 1.125
    flip: float = 0.5
    erasing: float = 0.0
    jitter: float = 0.0
    tone: float = 0.0
    softness: float = 0.0
    noise: float = 0.0
    fading: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop", "flip", "erasing", "jitter", "tone", "softness", "noise", "fading"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be in 0..1")
        if self.crop_scale < 1.0:
            raise ValueError(f"crop_scale = {self.crop_scale}: must be at least 1")

    def enlarged(self, size: Size) -> Size:
        """The size that crops are cut from."""
        return round(size[0] * self.crop_scale), round(size[1] * self.crop_scale)


@dataclass(frozen=True)
class Geometry:
    """Where one image's pixels come from: resize to `resized`, cut `size` out at (top, left), perhaps
    mirror."""

    size: Size
    resized: Size
    top: int = 0
    left: int = 0
    flip: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Cut and mirror an array [resized height, resized width, C] into a new one [height, width, C]."""
        if pixels.shape[:2] != self.resized:
            raise ValueError(f"pixels of {pixels.shape[:2]} where {self.resized} are expected")
        cut = pixels[self.top : self.top + self.size[0], self.left : self.left + self.size[1]]
        # numpy mirrors an image forty times slower.
        return cv2.flip(cut, 1).reshape(cut.shape) if self.flip else np.array(cut, order="C")

    def apply_to_keypoints(self, keypoints: np.ndarray, source_size: Size) -> np.ndarray:
        """Carry keypoints [36, 3] from pixels of the source image to pixels of the result.

        A point that the crop cut off loses its confidence; one that lay outside of the image before keeps
        what its label says. A mirrored vehicle's left and right keypoints swap.
        """
        moved = self._move(keypoints, source_size)
        moved[_inside(keypoints, source_size) & ~_inside(moved, self.size), 2] = 0.0
        return flip_keypoints(moved, self.size[1]) if self.flip else moved

    def apply_to_points(self, keypoints: np.ndarray, source_size: Size) -> np.ndarray:
        """As `apply_to_keypoints`, all confidences kept: what maps are drawn from, since a map is cut as the
        picture is, with the rest of a Gaussian or quad still on it."""
        moved = self._move(keypoints, source_size)
        return flip_keypoints(moved, self.size[1]) if self.flip else moved

    def _move(self, keypoints: np.ndarray, source_size: Size) -> np.ndarray:
        moved = keypoints.astype(np.float32)
        moved[:, 0] = moved[:, 0] * (self.resized[1] / source_size[1]) - self.left
        moved[:, 1] = moved[:, 1] * (self.resized[0] / source_size[0]) - self.top
        return moved


def draw_geometry(rng: np.random.Generator, size: Size, augmentation: Augmentation) -> Geometry:
    """Draw one image's crop and flip."""
    resized, top, left = size, 0, 0
    if rng.random() < augmentation.crop:
        resized = augmentation.enlarged(size)
        top = int(rng.integers(resized[0] - size[0] + 1))
        left = int(rng.integers(resized[1] - size[1] + 1))
    return Geometry(size, resized, top, left, flip=bool(rng.random() < augmentation.flip))


def vary_pixels(image: np.ndarray, rng: np.random.Generator, augmentation: Augmentation) -> np.ndarray:
    """Jitter colours, spoil them as cameras do, and erase a rectangle, as `augmentation` asks; uint8
    [H, W, 3] to a new array."""
    image = _jitter(image, rng, augmentation.jitter) if augmentation.jitter else image.copy()
    # Without a fault the generator is not asked: recipes from before there were any draw what they drew.
    if augmentation.tone and rng.random() < augmentation.tone:
        image = change_tone(image, rng)
    if augmentation.softness and rng.random() < augmentation.softness:
        image = soften(image, rng)
    if augmentation.noise and rng.random() < augmentation.noise:
        image = add_noise(image, rng)
    if augmentation.fading and rng.random() < augmentation.fading:
        image = fade(image)
    if rng.random() < augmentation.erasing:
        _erase(image, rng)
    return image


def _inside(keypoints: np.ndarray, size: Size) -> np.ndarray:
    x, y = keypoints[:, 0], keypoints[:, 1]
    return (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])


def _jitter(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    pixels = image.astype(np.float32) * brightness
    luma = pixels @ LUMA
    pixels = luma[..., None] + saturation * (pixels - luma[..., None])
    mean = luma.mean()
    return np.clip(mean + contrast * (pixels - mean), 0, 255).astype(np.uint8)


def _erase(image: np.ndarray, rng: np.random.Generator) -> None:
    """Cover 2 to 33% of the image, sides at most 1 : 3, with the mean colour that normalisation takes to
    zero."""
    height, width = image.shape[:2]
    area = rng.uniform(0.02, 0.33) * height * width
    aspect = np.exp(rng.uniform(-np.log(3.0), np.log(3.0)))
    rows = min(height, max(1, round(float(np.sqrt(area * aspect)))))
    columns = min(width, max(1, round(float(np.sqrt(area / aspect)))))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    image[top : top + rows, left : left + columns] = np.round(np.array(IMAGENET_MEAN) * 255).astype(np.uint8)
