"""Image files on the way into a gallery or a search: found, read ahead and made small for display."""

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from retrieval.entries import Box
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, ImageError, decode_image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
PICTURE_SIZE = 320
"""Longest side in pixels of the JPEG that the gallery keeps to show."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Facts:
    """What a table says of an image; see `retrieval.entries.Entry`."""

    vehicle_id: int | None = None
    track_id: int | None = None
    camera: int | None = None
    time: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    box: Box | None = None


@dataclass(frozen=True)
class ImageFile:
    """An image file; `key` is its name relative to its folder, with forward slashes, or what a table says.

    `facts` is None for a file of a folder, whose name alone may tell something.
    """

    path: Path
    key: str
    facts: Facts | None = None


@dataclass(frozen=True)
class Loaded:
    """A file's bytes and their digest; `picture` is empty where nobody asked for one."""

    file: ImageFile
    data: bytes
    digest: str
    picture: bytes = b""


def list_images(folder: Path) -> list[ImageFile]:
    """Find the image files of a folder and the folders in it, by key.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder that holds the images")
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                found.append(ImageFile(path, path.relative_to(folder).as_posix()))
    if not found:
        raise UserError(f"{folder}: no images found (looked for {', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=lambda file: file.key)


def read_bytes(path: Path) -> bytes:
    """Read a file, at most as much as a decoder would take.

    Raises:
        ImageError: unreadable, or too large; the message names the path.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{path}: cannot be read ({reason}); check the path and its permissions") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"{path}: larger than the limit of {MAX_BYTES} bytes; make it smaller")
    return data


def digest(data: bytes, facts: Facts | None = None) -> str:
    """Identify a file's content, and what a table says of it."""
    found = hashlib.blake2b(data, digest_size=16)
    if facts is not None:
        found.update(repr(facts).encode())
    return found.hexdigest()


def display_jpeg(image: np.ndarray, size: int = PICTURE_SIZE) -> bytes:
    """Encode uint8 [H, W, 3] as a JPEG of at most `size` pixels a side."""
    picture = Image.fromarray(image)
    picture.thumbnail((size, size), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def load(file: ImageFile) -> Loaded:
    """Read a file, check that it decodes, and make its display picture.

    Raises:
        ImageError: the file cannot be used; the message names it.
    """
    data = read_bytes(file.path)
    name, image = digest(data, file.facts), decode_image(data, str(file.path))
    if file.facts is not None and file.facts.box is not None:
        left, top, right, bottom = (round(side) for side in file.facts.box)
        image = np.ascontiguousarray(image[top:bottom, left:right])
        if not image.size:
            raise ImageError(f"{file.path}: the box {file.facts.box} lies outside the image; mend the table")
        buffer = io.BytesIO()
        # Lossless, and made and read in no time.
        Image.fromarray(image).save(buffer, "BMP")
        data = buffer.getvalue()
    return Loaded(file, data, name, display_jpeg(image))


def read_ahead(
    items: Iterable[_Item], work: Callable[[_Item], _Result], threads: int, depth: int
) -> Iterator[tuple[_Item, _Result | ImageError]]:
    """Run `work` on items in threads, at most `depth` ahead, and yield the results in the items' order.

    An `ImageError` is yielded in the place of its item's result; any other exception is raised.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        waiting: deque[tuple[_Item, Future[_Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= depth:
                    first, future = waiting.popleft()
                    yield first, _result(future)
            for remaining, future in waiting:
                yield remaining, _result(future)
        finally:
            for _, future in waiting:
                future.cancel()


def _result(future: Any) -> Any:
    try:
        return future.result()
    except ImageError as error:
        return error
