"""Decoded images, from disk or kept in memory once they were read."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from zoo.errors import UserError
from zoo.preprocess import ImageError, read_image, resize

Size = tuple[int, int]


def load_pixels(path: Path) -> np.ndarray:
    """Decode an image file of a data set.

    Raises:
        UserError: the image cannot be used; the message names the file and the cure.
    """
    try:
        return read_image(path)
    except ImageError as error:
        raise UserError(str(error)) from error


class ImageStore:
    """The images of a data set, resized on request exactly as the encoder resizes.

    With `preload`, each image is decoded once and kept at the sizes wanted; what `get` returns stays the
    same.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
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
            pixels = load_pixels(self.paths[index])
            self._source_sizes[index] = pixels.shape[:2]
            for size, images in kept.items():
                images[index] = resize(pixels, size)

        # Pillow decodes and resizes without holding the interpreter's lock.
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
        pixels = load_pixels(self.paths[index])
        return resize(pixels, size), pixels.shape[:2]
