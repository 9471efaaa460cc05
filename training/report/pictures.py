"""Photographs and heat maps as `data:` addresses."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.images import load_image

HEAT_SIDE = 32
STRONGEST = 215
"""Opacity, of 255, where the heat is greatest."""


@dataclass(frozen=True)
class Photo:
    """An image to be shown: its address, and its shape in pixels."""

    address: str
    width: int
    height: int


def photo(path: Path, side: int, quality: int = 72) -> Photo:
    """Shrink an image file so that its longer side is at most `side` pixels.

    Raises:
        UserError: the image cannot be used.
    """
    image = Image.fromarray(load_image(path).pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return Photo(_address(buffer, "image/jpeg"), *image.size)


def heat(contribution: np.ndarray) -> str:
    """Draw the positive part of a map [h, w] as a layer that lets cold regions through.

    It is stretched over the whole image, as the image was over the network's input.
    """
    positive = np.maximum(contribution, 0.0)
    level = positive / max(float(positive.max()), 1e-12)
    small = Image.fromarray((255 * level).astype(np.uint8))
    smooth = np.asarray(small.resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BICUBIC), np.float64) / 255
    # From red to yellow, ever more opaque: readable without telling hues apart.
    layer = np.empty((HEAT_SIDE, HEAT_SIDE, 4), np.uint8)
    layer[..., 0] = 255
    layer[..., 1] = (30 + 205 * smooth**1.5).astype(np.uint8)
    layer[..., 2] = 40
    layer[..., 3] = (STRONGEST * smooth**1.2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(layer).save(buffer, "PNG", optimize=True)
    return _address(buffer, "image/png")


def _address(buffer: io.BytesIO, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
