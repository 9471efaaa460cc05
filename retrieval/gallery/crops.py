"""The images of a pass beside the best one, each with its own embedding."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class PassCrop:
    """One of the images that the embedding of an entry is the mean of.

    Attributes:
        picture: a small JPEG to show.
        quality: its weight among them, 0 to 1.
        time: seconds, as the entry's; None where that is unknown.
        box: of the vehicle in the source image.
        embedding: float32 [D], of this image alone.
    """

    picture: bytes
    quality: float
    time: float | None
    box: tuple[float, float, float, float]
    embedding: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """What is told of it, without picture and embedding."""
        return {"quality": round(self.quality, 4), "time": self.time, "box": self.box}
