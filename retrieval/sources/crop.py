"""A vehicle cut out of a scene by its box."""

import numpy as np

from retrieval.gallery.entries import Box
from serving.encoders.image import InputImage
from zoo.errors import UserError
from zoo.preprocess import ImageError

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


def clip(box: Box, width: int, height: int) -> Box:
    """The part of a box that lies inside of an image of that size, on all four sides."""
    left, top, right, bottom = box
    return (
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    )


def crop(image: InputImage, box: Box | None) -> InputImage:
    """Cut a box out of an image; without a box, it is the image itself, and nothing is decoded.

    The box's sides are rounded to pixels, and what lies outside of the image is left out.

    Raises:
        ImageError: the image cannot be used, or nothing of the box lies inside.
    """
    if box is None:
        return image
    height, width = image.pixels.shape[:2]
    left, top, right, bottom = (round(side) for side in clip(box, width, height))
    if right - left < _SMALLEST or bottom - top < _SMALLEST:
        raise ImageError(
            f"{image.name}: the box {','.join(f'{side:g}' for side in box)} holds nothing of the "
            f"{width}x{height} pixels; draw it around the vehicle"
        )
    # A copy, so that the scene's pixels can go.
    return InputImage.from_pixels(np.array(image.pixels[top:bottom, left:right]), image.name)
