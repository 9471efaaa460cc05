"""How a network wants its pixels: channel order, mean and standard deviation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from zoo.errors import UserError

Order = Literal["RGB", "BGR"]
ORDERS: tuple[Order, ...] = get_args(Order)

Triple = tuple[float, float, float]

VALUES = {"0..1": 1.0, "0..255": 255.0}
"""The values of pixels that means and standard deviations are told of, and the largest of them."""


@dataclass(frozen=True)
class PixelFormat:
    """How a network wants its pixels.

    Attributes:
        order: of the channels.
        mean: taken away, per channel in `order`, of values 0..1.
        std: divided by, likewise.
    """

    order: Order
    mean: Triple
    std: Triple

    @classmethod
    def read(cls, order: Order, mean: Sequence[float], std: Sequence[float], values: str) -> "PixelFormat":
        """Take mean and standard deviation of values 0..1 or 0..255, each a number a channel.

        Raises:
            UserError: they are none, or plainly of the other values.
        """
        largest = VALUES[values]
        told = f"--mean {_written(mean)} --std {_written(std)}"
        if not np.isfinite([*mean, *std]).all() or min(std) <= 0:
            raise UserError(f"{told}: finite numbers are expected, and --std above 0")
        if largest == 1 and (max(map(abs, mean)) > 1 or max(std) > 1):
            raise UserError(f"{told}: those are not of values 0..1; add --values 0..255 if they are of those")
        if largest > 1 and 0 < max(map(abs, mean)) <= 1:
            raise UserError(f"{told}: those are of values 0..1; leave out --values {values}")
        red, green, blue = (value / largest for value in mean)
        deviations = (std[0] / largest, std[1] / largest, std[2] / largest)
        return cls(order, (red, green, blue), deviations)

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Prepare uint8 [N, H, W, 3] RGB: float32 [N, 3, H, W]."""
        ordered = images if self.order == "RGB" else images[..., ::-1]
        values: np.ndarray = ordered.astype(np.float32) / np.float32(255)
        mean: np.ndarray = np.array(self.mean, np.float32)
        std: np.ndarray = np.array(self.std, np.float32)
        values = (values - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _written(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
