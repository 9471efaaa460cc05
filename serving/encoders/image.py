"""An image on its way to an encoder: a file as it came, or pixels that were cut out of one."""

import io
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from serving.encoders.deadline import check_deadline
from zoo.errors import stop_if_starved
from zoo.preprocess import MAX_BYTES, Box, Decoded, ImageError, clip_box, decode, is_huge, prepare, resize


class InputImage:
    """An image that is decoded when somebody first needs its pixels, and never again.

    Whoever keeps many of them keeps them `at_size`, or keeps plain bytes: decoded pixels are large.
    Nothing is decoded beyond the `deadline` of whoever asks; a `UserError` says so.

    Args:
        data: the bytes of an image file.
        name: what error messages call it.

    Attributes:
        name: as above.
        data: as above; None for pixels that are no file.
    """

    def __init__(self, data: bytes, name: str = "image") -> None:
        self.name = name
        self.data: bytes | None = data
        self._decoded: Decoded | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a file, at most as much of it as a decoder would take. Nothing is decoded yet.

        Raises:
            ImageError: unreadable, or too large; the message names the path.
        """
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            stop_if_starved(error)
            reason = error.strerror or str(error)
            raise ImageError(
                f"{path}: cannot be read ({reason}); check the path and its permissions"
            ) from error
        if len(data) > MAX_BYTES:
            raise ImageError(f"{path}: larger than the limit of {MAX_BYTES} bytes; make it smaller")
        return cls(data, str(path))

    @classmethod
    def of(cls, image: "bytes | InputImage") -> "InputImage":
        """The same image; plain bytes are one without a name."""
        return cls(image) if isinstance(image, bytes) else image

    @classmethod
    def from_pixels(cls, pixels: np.ndarray, name: str = "image") -> Self:
        """Take pixels, uint8 [H, W, 3] RGB."""
        height, width = pixels.shape[:2]
        return cls._of(Decoded(pixels, (height, width)), name)

    @classmethod
    def _of(cls, decoded: Decoded, name: str) -> Self:
        image = cls(b"", name)
        image.data, image._decoded = None, decoded
        return image

    @property
    def pixels(self) -> np.ndarray:
        """uint8 [H, W, 3] RGB, upright; of a huge image, half of its pixels a side.

        Raises:
            ImageError: the file cannot be used.
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        return self._whole().pixels

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the file's own pixels, in which boxes are given.

        Raises:
            ImageError: the file cannot be used.
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        return self._whole().size

    def _whole(self) -> Decoded:
        if self._decoded is None:
            assert self.data is not None
            check_deadline()
            self._decoded = decode(self.data, self.name)
        return self._decoded

    def part(self, box: Box) -> Self:
        """What lies in a box, as pixels of their own, so that the whole's can go.

        Raises:
            ImageError: the file cannot be used, or nothing of it lies in the box.
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        whole = self._decoded
        if whole is None or whole.pixels.shape[:2] != whole.size:
            # Of a huge image, a part has all of its pixels.
            assert self.data is not None
            check_deadline()
            return type(self)._of(decode(self.data, self.name, box), self.name)
        left, top, right, bottom = clip_box(box, whole.size, self.name)
        return type(self).from_pixels(np.array(whole.pixels[top:bottom, left:right]), self.name)

    def resized(self, size: tuple[int, int], antialias: bool = True) -> np.ndarray:
        """The pixels as a model takes them: uint8 [height, width, 3] of this (height, width), resized as its
        card says.

        Raises:
            ImageError: the file cannot be used.
        """
        return resize(self.pixels, size, antialias)

    def at_size(self, size: tuple[int, int], antialias: bool = True) -> Self:
        """Let large pixels go: the same image for a model of this input size, and for nothing else."""
        if self._decoded is None:
            return self
        small = type(self).from_pixels(self.resized(size, antialias), self.name)
        small.data = self.data
        return small

    def apart(self, size: tuple[int, int], antialias: bool = True) -> Self:
        """Decode a huge image in the thread of who asks, where it holds up nobody else: not in an encoder's
        threads, nor on a server. Others stay as they are.

        Raises:
            ImageError: the file cannot be used.
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        if self._decoded is None and self.data is not None and is_huge(self.data):
            check_deadline()
            return type(self).from_pixels(prepare(self.data, size, self.name, antialias), self.name)
        return self

    def to_send(self, size: tuple[int, int], antialias: bool = True) -> bytes:
        """A file of which a server's `prepare` makes exactly what `resized` makes.

        A file goes as it came. Pixels go as a BMP of the model's input size, to which resizing does nothing:
        small, lossless, and far from the limits on uploads, however large the cut was.
        """
        if self.data is not None:
            return self.data
        buffer = io.BytesIO()
        Image.fromarray(self.resized(size, antialias)).save(buffer, "BMP")
        return buffer.getvalue()
