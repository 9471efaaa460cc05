"""Decoded images, from disk or kept in memory once they were read."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from training.data.transforms import Size
from zoo.errors import UserError
from zoo.preprocess import WHOLE_PIXELS, Decoded, ImageError, read_image, resize

QUICK_BYTES = 1 << 19
"""Larger files are decoded the exact way, which looks at the header before it makes room for the pixels."""


def load_image(path: Path) -> Decoded:
    """Decode an image file of a data set.

    Raises:
        UserError: the image cannot be used; the message names the file and the cure.
    """
    try:
        return read_image(path)
    except ImageError as error:
        raise UserError(str(error)) from error


def load_resized(path: Path, sizes: Iterable[Size], antialias: bool = True) -> tuple[list[np.ndarray], Size]:
    """Decode an image and resize it exactly as the encoder does: what evaluation has to see.

    Returns:
        uint8 images at the sizes (height, width), and the size of the file's pixels.

    Raises:
        UserError: the image cannot be used.
    """
    image = load_image(path)
    return [resize(image.pixels, size, antialias) for size in sizes], image.size


def load_resized_quickly(
    path: Path, sizes: Iterable[Size], antialias: bool = True
) -> tuple[list[np.ndarray], Size]:
    """As `load_resized` within a few levels of brightness, in a third of the time: good enough to train on.

    Ordinary JPEG files are decoded by OpenCV, to the very same pixels, and resized by torch, whose filter is
    Pillow's with weights of less precision (docs/datasets.md has the figures of other decoders). All others,
    and whatever looks damaged, go the exact way, which knows every kind of image and says what is wrong with
    one.
    """
    pixels = _decode_plain_jpeg(path)
    if pixels is None:
        return load_resized(path, sizes, antialias)
    planes = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resized = [
        torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=antialias) for size in sizes
    ]
    return [image[0].permute(1, 2, 0).numpy() for image in resized], pixels.shape[:2]


def _decode_plain_jpeg(path: Path) -> np.ndarray | None:
    """Decode to uint8 [H, W, 3]; None where the file is not a small, complete, upright JPEG."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    whole = data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    # Rotation, which XMP tells too, and CMYK come with these; Pillow's way with them is the one that counts.
    marks = (b"Exif\0", b"Adobe\0", b"http://ns.adobe.com/xap/")
    if not whole or len(data) > QUICK_BYTES or any(mark in data for mark in marks):
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    # What the encoder sees of a huge image is half of it.
    return None if pixels is None or pixels.shape[0] * pixels.shape[1] > WHOLE_PIXELS else pixels


class ImageStore:
    """The images of a data set, resized on request, exactly as the encoder resizes unless `quick`.

    With `preload`, each image is decoded once and kept at the sizes wanted; what `get` returns stays the
    same.
    """

    def __init__(self, paths: Sequence[Path], quick: bool = False, antialias: bool = True) -> None:
        self.paths = list(paths)
        self._load = partial(load_resized_quickly if quick else load_resized, antialias=antialias)
        self._kept: dict[Size, np.ndarray] = {}
        self._source_sizes = np.zeros((len(self.paths), 2), np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def preload(self, sizes: Iterable[Size], threads: int = 2, description: str = "decode") -> None:
        """Decode all images and keep them at `sizes`, forgetting any other size.

        Raises:
            UserError: an image cannot be used.
        """
        wanted = set(sizes)
        if wanted == set(self._kept):
            return
        kept = {size: np.empty((len(self), *size, 3), np.uint8) for size in wanted}

        def decode(index: int) -> None:
            resized, self._source_sizes[index] = self._load(self.paths[index], kept)
            for images, image in zip(kept.values(), resized, strict=True):
                images[index] = image

        # Decoders and resizers work without holding the interpreter's lock.
        with ThreadPoolExecutor(threads) as pool:
            for _ in tqdm(
                pool.map(decode, range(len(self))), description, len(self), leave=False, unit="img"
            ):
                pass
        self._kept = kept

    def get(self, index: int, size: Size) -> tuple[np.ndarray, Size]:
        """Return an image at (height, width), uint8 and not to be written to, and the size of its file's
        pixels.

        Raises:
            UserError: the image cannot be used.
        """
        if size in self._kept:
            height, width = self._source_sizes[index]
            return self._kept[size][index], (int(height), int(width))
        (image,), source_size = self._load(self.paths[index], (size,))
        return image, source_size
