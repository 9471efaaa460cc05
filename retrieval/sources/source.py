"""Images on the way into a gallery or a search: files found and read, and made small for display."""

import hashlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from retrieval.gallery.entries import Box, Facts
from serving.encoders.image import InputImage
from zoo.decoding_memory import ORDINARY, decoding
from zoo.preprocess import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"})
PICTURE_SIZE = 320
"""Longest side in pixels of the JPEG that the gallery keeps to show."""

_PICTURE_BYTES = 64 * 1024


class Source(Protocol):
    """Where an image comes from.

    Attributes:
        key: the image's name in the gallery, unless another source has taken it.
        name: what people and messages call it.
        origin: where it comes from, in full; two images of one key and two origins are two images.
        root: the folder, table or video whose key it is; empty where whoever names the key means to replace
            what is of that name.
        facts: what is known of it; None for a file of a folder, whose name alone may tell something.
    """

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def root(self) -> str: ...

    @property
    def facts(self) -> Facts | None: ...

    def load(self) -> "Loaded":
        """Read the image. Nothing is decoded yet.

        Raises:
            ImageError: the image cannot be read.
        """
        ...


class View(NamedTuple):
    """One of several images of one vehicle, how much it counts among them, and where and when it was."""

    image: InputImage
    weight: float
    time: float | None
    box: Box


@dataclass(frozen=True)
class Loaded:
    """An image as it was read.

    Attributes:
        image: the image, or the scene that it is a part of.
        digest: tells whether the source is still what the gallery has.
        box: which part of the scene; None for the whole image.
        label, score: what a detector calls it, and how sure it is; empty where none was asked.
        views: all images of the vehicle where there are several, the one to show first.
    """

    image: InputImage
    digest: str
    box: Box | None = None
    label: str = ""
    score: float = 0.0
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class ImageFile:
    """An image file; `key` is its name relative to its folder, with forward slashes, or what a table says."""

    path: Path
    key: str
    facts: Facts | None = None
    root: str = ""

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def origin(self) -> str:
        """The whole path."""
        return os.path.abspath(self.path)

    def load(self) -> Loaded:
        """Read the file; its digest is of its bytes and of what a table says."""
        image = InputImage.open(self.path)
        assert image.data is not None
        box = None if self.facts is None else self.facts.box
        return Loaded(image, digest(image.data, self.facts), box)


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels at hand: a frame of a video, or what was cut out of a scene; see `Loaded` for the rest."""

    key: str
    facts: Facts
    image: InputImage
    origin: str
    root: str
    label: str = ""
    score: float = 0.0

    @property
    def name(self) -> str:
        """The scene and the place in it."""
        return self.image.name

    def load(self) -> Loaded:
        """Give the pixels; the digest is of them and of what is known."""
        found = digest(self.image.pixels.tobytes(), self.facts)
        return Loaded(self.image, found, None, self.label, self.score)


@dataclass(frozen=True)
class Unusable:
    """What was meant to be an image and is none."""

    key: str
    reason: str
    name: str = ""
    origin: str = ""
    root: str = ""
    facts: Facts | None = None

    def load(self) -> Loaded:
        """Raise what is wrong."""
        raise ImageError(self.reason)


SO_FAR = " so far"
"""What the origin of a pass ends with for as long as it goes on, and for ever where it was cut."""

_PLACE = re.compile(rf" at [-+\d.,e]+( s(, the best of \d+ boxes({SO_FAR})?)?)?$")
"""What an origin says behind its file: a box in a scene, or a moment in a video."""


def file_of(origin: str) -> str:
    """The path of the file in an origin."""
    return _PLACE.sub("", origin)


def digest(data: bytes, facts: Facts | None = None) -> str:
    """Identify a file's content, and what a table says of it."""
    found = hashlib.blake2b(data, digest_size=16)
    if facts is not None:
        found.update(repr(facts).encode())
    return found.hexdigest()


def display_picture(image: InputImage) -> bytes:
    """What the gallery shows of an image: the very file where it is a small JPEG already, undecoded.

    Raises:
        ImageError: the image cannot be used.
    """
    if image.data is not None and _is_display_jpeg(image.data):
        return image.data
    return display_jpeg(image.pixels)


def _is_display_jpeg(data: bytes) -> bool:
    """Whether a file is, by its header, what `display_jpeg` would make of it; it may still be damaged."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            # What a camera or an editor wrote into the file is not for everybody who searches.
            plain = image.mode == "RGB" and not {"exif", "xmp", "comment"} & image.info.keys()
            return plain and max(image.size) <= PICTURE_SIZE and len(data) <= _PICTURE_BYTES
    except Exception:  # Pillow raises what it likes; `decode_image` tells what is wrong
        return False


def display_jpeg(image: np.ndarray, size: int = PICTURE_SIZE) -> bytes:
    """Encode uint8 [H, W, 3] as a JPEG of at most `size` pixels a side."""
    buffer = io.BytesIO()
    thumbnail(image, size).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def thumbnail(image: np.ndarray, size: int) -> Image.Image:
    """Make uint8 [H, W, 3] at most `size` pixels a side."""
    height, width = image.shape[:2]
    # For the copy in Pillow's form.
    with decoding.taken(min(4 * height * width, ORDINARY)):
        picture = Image.fromarray(image)
        picture.thumbnail((size, size), Image.Resampling.BILINEAR)
    return picture
