"""A vehicle cut out of a scene by its box."""

import io

import numpy as np
from PIL import Image

from retrieval.gallery.entries import Box
from zoo.errors import UserError
from zoo.preprocess import ImageError, decode_image

_SMALLEST = 2
"""Pixels a side; less shows no vehicle."""


def parse_box(text: str) -> Box:
    """Read `LEFT,TOP,RIGHT,BOTTOM`, pixels of the upright image.

    Raises:
        UserError: another form, or a box without an inside.
    """
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
        if not (-1e9 < left < right < 1e9 and -1e9 < top < bottom < 1e9):
            raise ValueError
    except ValueError:
        raise UserError(f"{text!r} is not a box; write LEFT,TOP,RIGHT,BOTTOM in pixels") from None
    return left, top, right, bottom


def crop(image: np.ndarray, box: Box, name: str = "image") -> np.ndarray:
    """Cut a box out of uint8 [H, W, 3]; its sides are rounded to pixels, and what lies outside is left out.

    Raises:
        ImageError: nothing of it lies inside.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = (
        min(max(round(side), 0), limit)
        for side, limit in zip(box, (width, height, width, height), strict=True)
    )
    if right - left < _SMALLEST or bottom - top < _SMALLEST:
        raise ImageError(
            f"{name}: the box {','.join(f'{side:g}' for side in box)} holds nothing of the "
            f"{width}x{height} pixels; draw it around the vehicle"
        )
    return np.ascontiguousarray(image[top:bottom, left:right])


def crop_encoded(data: bytes, box: Box | None, name: str = "image") -> bytes:
    """Cut a box out of an encoded image; without a box the very bytes come back.

    Raises:
        ImageError: the image cannot be used, or nothing of the box lies inside.
    """
    return data if box is None else as_bmp(crop(decode_image(data, name), box, name))


def as_bmp(image: np.ndarray) -> bytes:
    """Encode uint8 [H, W, 3]: lossless, and made and read in no time."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "BMP")
    return buffer.getvalue()
