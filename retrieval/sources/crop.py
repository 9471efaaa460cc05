"""A vehicle cut out of a scene by its box."""

from retrieval.gallery.entries import Box
from serving.encoders.image import InputImage
from zoo.errors import UserError
from zoo.numbers import plain


def parse_box(text: str) -> Box:
    """Read `LEFT,TOP,RIGHT,BOTTOM`, pixels of the upright image.

    Raises:
        UserError: another form, or a box without an inside.
    """
    try:
        left, top, right, bottom = (float(part) for part in plain(text).split(","))
        if not (-1e9 < left < right < 1e9 and -1e9 < top < bottom < 1e9):
            raise ValueError
    except ValueError:
        raise UserError(f"{text!r} is not a box; write LEFT,TOP,RIGHT,BOTTOM in pixels") from None
    return left, top, right, bottom


def crop(image: InputImage, box: Box | None) -> InputImage:
    """Cut a box out of an image; without a box, it is the image itself, and nothing is decoded.

    The box's sides are rounded to pixels, and what lies outside of the image is left out.

    Raises:
        ImageError: the image cannot be used, or nothing of the box lies inside.
        DecoderBusyError: see `zoo.decoding_memory`.
    """
    if box is None:
        return image
    return image.part(box)
