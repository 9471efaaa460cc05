"""Distances on the ground."""

import math
from dataclasses import dataclass

import numpy as np

from zoo.errors import UserError

_EARTH_RADIUS = 6_371_008.8


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
        """Which places lie inside, bool [N]; NaN, an unknown place, does not (haversine formula)."""
        here = np.radians([self.latitude, self.longitude])
        there = np.radians(latitude), np.radians(longitude)
        chord = (
            np.sin((there[0] - here[0]) / 2) ** 2
            + np.cos(here[0]) * np.cos(there[0]) * np.sin((there[1] - here[1]) / 2) ** 2
        )
        return np.asarray(2 * _EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(chord, 0, 1))) <= self.radius)


def parse_near(text: str) -> Near:
    """Read `LATITUDE,LONGITUDE,METRES`.

    Raises:
        UserError: another form.
    """
    try:
        latitude, longitude, radius = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{text!r} is not a place; write LATITUDE,LONGITUDE,METRES") from None
    near = Near(latitude, longitude, radius)
    near.check()
    return near
