"""From encoded image bytes to the pixels that a model takes: one arithmetic for training, search and server.

This file stands alone (numpy, Pillow and the standard library, nothing of ours): the server's Python backend
runs a copy of it inside an interpreter of its own. Normalisation is not here, it is inside the model's graph.
"""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

MAX_BYTES = 32 * 2**20
"""Encoded images above this are refused unread."""

MAX_PIXELS = 64_000_000
"""Images whose header announces more are refused before any pixel is decoded."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""Pillow opens many more; each of the others is one more parser that a stranger's bytes would reach."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image that cannot be used. The message is one line that names the image and the cure."""


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """Decode an encoded image, upright, as RGB.

    EXIF rotation is applied, transparency is laid on white; CMYK, gray, palette and 16-bit images are
    converted.

    Args:
        data: the bytes of a JPEG, PNG, WebP or BMP file.
        name: what error messages call the image.

    Returns:
        uint8 [height, width, 3], writable.

    Raises:
        ImageError: empty, too large, of another format, or damaged.
    """
    if len(data) == 0:
        raise ImageError(f"{name}: the image is empty (0 bytes); copy it again")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name}: {len(data)} bytes are more than the limit of {MAX_BYTES}; make it smaller")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(name, f"{width}x{height} pixels")
            if image.format == "JPEG" and _has_zero_tail(data):
                raise ImageError(f"{name}: the file was copied in part (its end is zeros); copy it again")
            image.load()
            return np.array(_to_rgb(_upright(image)))
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not a JPEG, PNG, WebP or BMP image; convert it or copy it again"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "the image") from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, struct.error, zlib.error and more on damaged bytes;
        # no list of them is complete, and none of them may end a server.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: truncated or damaged ({reason}); copy it again") from error


def resize(image: np.ndarray, size: tuple[int, int], antialias: bool = True) -> np.ndarray:
    """Resize with Pillow's antialiased bilinear filter, or with plain bilinear interpolation.

    Args:
        image: uint8 [height, width, 3].
        size: (height, width) wanted.
        antialias: whether all pixels that fall on a smaller one count; else the four about its centre.

    Returns:
        uint8 [size[0], size[1], 3], writable.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"uint8 [height, width, 3] is expected, not {image.dtype} {list(image.shape)}")
    if not antialias:
        return _interpolate(image, size)
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized)


def _interpolate(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Plain bilinear interpolation between pixels' centres, rounded: OpenCV's `INTER_LINEAR` to a level."""
    rows, columns = (_neighbours(*lengths) for lengths in zip(image.shape[:2], size, strict=True))
    upper, lower = (image[index][:, columns[0]].astype(np.float32) for index in rows[:2])
    further = [image[index][:, columns[1]].astype(np.float32) for index in rows[:2]]
    across, down = columns[2][None, :, None], rows[2][:, None, None]
    upper += across * (further[0] - upper)
    lower += across * (further[1] - lower)
    pixels: np.ndarray = np.rint(upper + down * (lower - upper)).astype(np.uint8)
    return pixels


def _neighbours(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of `wanted` centres on an axis: the pixels before and after, and how far the centre is between them."""
    centres = np.clip((np.arange(wanted) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
    before = centres.astype(np.int64)
    return before, np.minimum(before + 1, length - 1), (centres - before).astype(np.float32)


def prepare(data: bytes, size: tuple[int, int], name: str = "image", antialias: bool = True) -> np.ndarray:
    """Decode and resize: everything between an image file and a model's `image` input.

    Args:
        data: the bytes of an image file.
        size: (height, width) of the model's input.
        name: what error messages call the image.
        antialias: see `resize`.

    Returns:
        uint8 [size[0], size[1], 3].

    Raises:
        ImageError: see `decode_image`.
    """
    return resize(decode_image(data, name), size, antialias)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Decode an image file.

    Returns:
        uint8 [height, width, 3].

    Raises:
        ImageError: missing, unreadable, or as in `decode_image`; the message names the path.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{file}: {size} bytes are more than the limit of {MAX_BYTES}; make it smaller")
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{file}: cannot be read ({reason}); check the path and its permissions") from error
    return decode_image(data, str(file))


def _too_large(name: str, what: str) -> ImageError:
    return ImageError(f"{name}: {what} exceeds the limit of {MAX_PIXELS} pixels; make it smaller")


def _has_zero_tail(data: bytes) -> bool:
    """Tell whether a JPEG ends in zeros instead of its end marker.

    An interrupted copy often has the right length and a tail of zeros, which libjpeg decodes to gray without
    an error. Padding after the end marker is harmless.
    """
    return data.endswith(bytes(64)) and not data.rstrip(b"\0").endswith(b"\xff\xd9")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:
        # Cameras write broken EXIF blocks; the pixels are fine, and nothing says that they are rotated.
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit gray at 255; dropping the low byte is what it does to 16-bit
        # RGB. Older releases open such a file with mode I, newer ones with I;16.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    # Pillow would copy what is RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")
