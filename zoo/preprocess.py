"""From encoded image bytes to the pixels that a model takes: one arithmetic for training, search and server.

This file stands alone (numpy, Pillow, the standard library, and `decoding_memory.py` beside it): the
server's Python backend runs a copy of both inside an interpreter of its own. Normalisation is not here, it is
inside the model's graph.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

try:
    # Beside the server's copy; whatever else that interpreter has installed.
    from decoding_memory import MAX_MEMORY, ORDINARY, DecoderBusyError, decoding
except ImportError:
    from zoo.decoding_memory import MAX_MEMORY, ORDINARY, DecoderBusyError, decoding

MAX_BYTES = 32 * 2**20
"""Encoded images above this are refused unread."""

MAX_PIXELS = 64_000_000
"""Images whose header announces more are refused before any pixel is decoded."""

MAX_RATIO = 256
"""Of an image's longer side to the shorter one: no vehicle is like that, and resizing it takes seconds."""

WHOLE_PIXELS = 16_000_000
"""Of larger images, or larger parts of one, every second pixel a side is kept: JPEGs by the decoder's own
scaling, others by averaging. So that what is decoded has at most 48 MB."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""Pillow opens many more; each of the others is one more parser that a stranger's bytes would reach."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the upright file."""

Result = TypeVar("Result")

_SMALLEST = 2
"""Pixels a side of a box; less shows no vehicle."""

_BAND = 2**18
"""Pixels that are converted at once."""

_COPIED = 2**23
"""Pixels that may be copied whole to be resized, which is a little faster for fewer."""

_SCAN = b"\xff\xda"
"""Begins a scan of a JPEG, and is nowhere within one."""

_MAX_SCANS = 100
"""Of a JPEG; encoders write about ten, and each costs as much as the whole image."""

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> how the upright image comes of the stored one: sides swapped, then turned over from left
# to right, then from top to bottom.
_UPRIGHT = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_AS_STORED = (False, False, False)


class ImageError(ValueError):
    """An image that cannot be used. The message is one line that names the image and the cure."""


class Decoded(NamedTuple):
    """An image, or a part of it.

    Attributes:
        pixels: uint8 [height, width, 3], RGB, upright, writable.
        size: (height, width) of the part in the file's own pixels; twice that of `pixels` for huge ones.
    """

    pixels: np.ndarray
    size: tuple[int, int]


def memory_needed(data: bytes) -> int:
    """Bytes that decoding takes, by the file's header; 0 for what is no image."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _memory(image, _scans(image, data))
    except Exception:  # as in `decode`, which says what is wrong
        return 0


def is_huge(data: bytes) -> bool:
    """Whether decoding may wait for other huge images, by the file's header; False for what is no image."""
    return bool(memory_needed(data) > ORDINARY)


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """The pixels that `decode` makes of a whole image, uint8 [height, width, 3]."""
    return decode(data, name).pixels


def decode(data: bytes, name: str = "image", box: Box | None = None) -> Decoded:
    """Decode an encoded image, upright, as RGB.

    EXIF rotation is applied, transparency is laid on white; CMYK, gray, palette and 16-bit images are
    converted. Of what has more than `WHOLE_PIXELS`, every second pixel a side is kept.

    Args:
        data: the bytes of a JPEG, PNG, WebP or BMP file.
        name: what error messages call the image.
        box: the part that is wanted; see `clip_box`.

    Raises:
        ImageError: empty, too large, of another format, or damaged; or nothing lies in the box.
        DecoderBusyError: see `zoo.decoding_memory`.
    """
    return _loaded(data, name, box, lambda image, stored: _assembled(image, stored, box, name))


def _loaded(
    data: bytes, name: str, box: Box | None, finish: Callable[[Image.Image, tuple[int, int]], Result]
) -> Result:
    """Load an image, and make something of it and its file's (width, height); see `decode`."""
    if len(data) == 0:
        raise ImageError(f"{name}: the image is empty (0 bytes); copy it again")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name}: {len(data)} bytes are more than the limit of {MAX_BYTES}; make it smaller")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(name, f"{width}x{height} pixels")
            if max(width, height) > MAX_RATIO * min(width, height):
                raise ImageError(
                    f"{name}: of {width}x{height} pixels, one side is more than {MAX_RATIO} times the other; "
                    "cut the vehicle out"
                )
            scans = _scans(image, data)
            if scans:
                _check_jpeg(data, scans, name)
            if box is None and width * height > WHOLE_PIXELS:
                # Only JPEG's decoder has this, and leaves an odd side's last pixel in.
                image.draft(None, (width // 2, height // 2))
            memory = _memory(image, scans)
            if memory > MAX_MEMORY:
                raise ImageError(
                    f"{name}: {width}x{height} pixels of this kind of {image.format} take more than "
                    f"{MAX_MEMORY // 2**20} MiB to decode; make it smaller, or save it as a baseline JPEG"
                )
            # Closed before others may take the memory.
            with decoding.taken(memory), image:
                image.load()
                return finish(image, (width, height))
    except (ImageError, DecoderBusyError):
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not a JPEG, PNG, WebP or BMP image; convert it or copy it again"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "the image") from error
    except MemoryError as error:
        # A lack of this machine's, not a fault of the image.
        raise DecoderBusyError(f"{name}: there is no memory to decode it; send it again later") from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, struct.error, zlib.error and more on damaged bytes;
        # no list of them is complete, and none of them may end a server.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: truncated or damaged ({reason}); copy it again") from error


def clipped_box(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies inside of an image of this (height, width), on all four sides."""
    height, width = size
    left, top, right, bottom = box
    return (
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    )


def clip_box(box: Box, size: tuple[int, int], name: str) -> tuple[int, int, int, int]:
    """Round a box to pixels, and leave out what lies outside of an image of this (height, width).

    Raises:
        ImageError: less than two pixels a side are left.
    """
    height, width = size
    left, top, right, bottom = map(round, clipped_box(box, size))
    if right - left < _SMALLEST or bottom - top < _SMALLEST:
        raise ImageError(
            f"{name}: the box {','.join(f'{side:g}' for side in box)} holds nothing of the "
            f"{width}x{height} pixels; draw it around the vehicle"
        )
    return left, top, right, bottom


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
    return np.array(resized_image(image, size))


def resized_image(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """What `resize` makes with Pillow's antialiased bilinear filter, before it is an array."""
    height, width = pixels.shape[:2]
    if height * width > _COPIED:
        # Pillow resizes across first, each row by itself, and rounds: parts give the same numbers. A copy of
        # the whole would take more memory than the image.
        rows = max(1, _BAND // width)
        bands = [pixels[start : start + rows] for start in range(0, height, rows)]
        pixels = np.concatenate([_filtered(Image.fromarray(band), (len(band), size[1])) for band in bands])
    return Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)


def _filtered(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Resize RGB with Pillow's antialiased bilinear filter."""
    return np.array(image.resize(size[::-1], Image.Resampling.BILINEAR))


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

    def finish(image: Image.Image, stored: tuple[int, int]) -> np.ndarray:
        if antialias and _is_plain(image, stored):
            # The same pixels; two copies of the whole image take as long as its decoder.
            return _filtered(image, size)
        return resize(_assembled(image, stored, None, name).pixels, size, antialias)

    return _loaded(data, name, None, finish)


def read_image(path: str | os.PathLike[str]) -> Decoded:
    """Decode an image file.

    Raises:
        ImageError: missing, unreadable, or as in `decode`; the message names the path.
    """
    file = Path(path)
    try:
        with open(file, "rb") as opened:
            data = opened.read(MAX_BYTES + 1)  # the size of a device is none
        if len(data) > MAX_BYTES:
            raise ImageError(f"{file}: more than the limit of {MAX_BYTES} bytes; make it smaller")
    except OSError as error:
        from zoo.errors import stop_if_starved  # the server's copy of this file stands alone

        stop_if_starved(error)
        reason = error.strerror or str(error)
        raise ImageError(f"{file}: cannot be read ({reason}); check the path and its permissions") from error
    return decode(data, str(file))


def _too_large(name: str, what: str) -> ImageError:
    return ImageError(f"{name}: {what} exceeds the limit of {MAX_PIXELS} pixels; make it smaller")


def _scans(image: Image.Image, data: bytes) -> int:
    """How many scans a JPEG has, 0 for other formats; finding them takes as long as reading the header."""
    return data.count(_SCAN) if isinstance(image, JpegImageFile) else 0


def _check_jpeg(data: bytes, scans: int, name: str) -> None:
    """Refuse what libjpeg would take without an error.

    An interrupted copy often has the right length and a tail of zeros, which it decodes to gray. Padding
    after the end marker is harmless.
    """
    if data.endswith(bytes(64)) and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ImageError(f"{name}: the file was copied in part (its end is zeros); copy it again")
    if scans > _MAX_SCANS:
        raise ImageError(f"{name}: a JPEG of more than {_MAX_SCANS} scans; save it again")


def _memory(image: Image.Image, scans: int) -> int:
    """Bytes that decoding takes, the result included; see `_scans`."""
    pixels = image.width * image.height
    held = 3 * min(pixels, WHOLE_PIXELS)
    if image.format == "WEBP":
        # Pillow decodes by way of two canvases and a copy, all with transparency.
        return held + 16 * pixels
    if image.mode in ("1", "L", "P"):
        held += pixels
    else:
        held += (2 if image.mode.startswith("I;16") else 4) * pixels
    if isinstance(image, JpegImageFile) and scans > 1:
        # All coefficients of all scans are kept, of the image at its full size; two bytes each.
        samples = sum(across * down for _, across, down, _ in image.layer)
        full = max(across for _, across, _, _ in image.layer) * max(down for _, _, down, _ in image.layer)
        scale = image.decoderconfig[0] if image.decoderconfig else 1
        held += 2 * pixels * scale**2 * samples // full
    return held


def _assembled(image: Image.Image, stored: tuple[int, int], box: Box | None, name: str) -> Decoded:
    """Turn a loaded image into pixels, band by band: a full copy for each step would take a multiple.

    Args:
        image: at half its size already where its decoder can do that.
        stored: (width, height) of the file.
        box: as for `decode`.
        name: as for `decode`.
    """
    if box is None and _is_plain(image, stored):
        return Decoded(np.array(image), stored[::-1])
    swapped, mirrored, flipped = _turns(image)
    width, height = stored[::-1] if swapped else stored
    left, top, right, bottom = (0, 0, width, height) if box is None else clip_box(box, (height, width), name)
    size = bottom - top, right - left
    step = 2 if size[0] * size[1] > WHOLE_PIXELS else 1
    pixels = np.empty((-(-size[0] // step), -(-size[1] // step), 3), np.uint8)
    # From here on in the file's own orientation; the result is filled through a view of it.
    target = pixels
    if flipped:
        target, top, bottom = target[::-1], height - bottom, height - top
    if mirrored:
        target, left, right = target[:, ::-1], width - right, width - left
    if swapped:
        target, left, top, right, bottom = target.swapaxes(0, 1), top, left, bottom, right
    if image.size != stored:
        left, top, right, bottom, step = 0, 0, *image.size, 1
    rows = max(1, _BAND // (right - left)) * step
    for start in range(top, bottom, rows):
        band = image.crop((left, start, right, min(start + rows, bottom)))
        band = _to_rgb(band)
        first = (start - top) // step
        reduced = np.asarray(band if step == 1 else band.reduce(step))
        target[first : first + len(reduced)] = reduced
    return Decoded(pixels, size)


def _is_plain(image: Image.Image, stored: tuple[int, int]) -> bool:
    """Whether a loaded image, ordinary in size, is RGB and upright as it is."""
    is_whole = image.size == stored and stored[0] * stored[1] <= min(_BAND, WHOLE_PIXELS)
    return is_whole and _to_rgb(image) is image and _turns(image) == _AS_STORED


def _turns(image: Image.Image) -> tuple[bool, bool, bool]:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:
        # Cameras write broken EXIF blocks; the pixels are fine, and nothing says that they are rotated.
        return _AS_STORED
    return _UPRIGHT.get(orientation, _AS_STORED) if isinstance(orientation, int) else _AS_STORED


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
