"""Distances on the ground."""

import math
from dataclasses import dataclass

import numpy as np

from zoo.errors import UserError
from zoo.numbers import plain

_EARTH_RADIUS = 6_371_008.8

FASTEST = 200.0
"""Kilometres an hour along the straight line, which no vehicle is held to exceed."""


@dataclass(frozen=True)
class Near:
    """A circle on the ground: degrees, and metres."""

    latitude: float
    longitude: float
    radius: float

    def check(self) -> None:
        """Raise `UserError` where it is no such circle."""
        good = abs(self.latitude) <= 90 and abs(self.longitude) <= 180 and 0 < self.radius < math.inf
        if not good:
            raise UserError(
                f"place {self.latitude:g},{self.longitude:g} within {self.radius:g} m: degrees of latitude "
                "(-90 to 90) and longitude (-180 to 180) and metres above 0 are expected"
            )

    def holds(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """Which places lie inside, bool [N]; NaN, an unknown place, does not."""
        there = np.stack([latitude, longitude], axis=-1)
        return np.asarray(metres_between(np.array([self.latitude, self.longitude]), there) <= self.radius)


def parse_near(text: str) -> Near:
    """Read `LATITUDE,LONGITUDE,METRES`.

    Raises:
        UserError: another form.
    """
    try:
        latitude, longitude, radius = (float(part) for part in plain(text).split(","))
    except ValueError:
        raise UserError(f"{text!r} is not a place; write LATITUDE,LONGITUDE,METRES") from None
    near = Near(latitude, longitude, radius)
    near.check()
    return near


def metres_between(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Metres on the ground between places in degrees [.., 2], float64 [..]; NaN where unknown (haversine)."""
    first, second = np.radians(here), np.radians(there)
    chord = (
        np.sin((second[..., 0] - first[..., 0]) / 2) ** 2
        + np.cos(first[..., 0]) * np.cos(second[..., 0]) * np.sin((second[..., 1] - first[..., 1]) / 2) ** 2
    )
    return np.asarray(2 * _EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))
