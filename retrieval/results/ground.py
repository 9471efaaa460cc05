"""A map without tiles, so that nothing is fetched: where a place of the ground is drawn, and back again."""

import math
from collections.abc import Collection
from dataclasses import dataclass

_WIDTH, _PAD, _HEIGHTS = 520, 40, (220, 460)
_FOOT = 20
"""Height below the cameras' names, for the scale."""

_METRES_A_DEGREE = 111_195.0
_BARS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))


@dataclass(frozen=True)
class Ground:
    """A projection of the ground, in units of a drawing of `width`.

    It is equirectangular around the middle, true in both directions for the extent of a city.

    Attributes:
        middle: latitude and longitude in degrees.
        metre: units that a metre takes.
        height: without the foot, where the scale stands.
    """

    middle: tuple[float, float]
    metre: float
    height: float

    width = _WIDTH

    @classmethod
    def around(cls, places: Collection[tuple[float, float]]) -> "Ground":
        """One that shows all of these places, in degrees; at least one."""
        latitudes, longitudes = zip(*places, strict=True)
        middle = (min(latitudes) + max(latitudes)) / 2, (min(longitudes) + max(longitudes)) / 2
        # At least 100 metres across, so that one camera alone is no division by zero.
        wide = (max(longitudes) - min(longitudes)) * _METRES_A_DEGREE * _shrink(middle[0])
        across, along = max(wide, 100.0), max((max(latitudes) - min(latitudes)) * _METRES_A_DEGREE, 100.0)
        height = min(max((_WIDTH - 2 * _PAD) * along / across + 2 * _PAD, _HEIGHTS[0]), _HEIGHTS[1])
        return cls(middle, min((_WIDTH - 2 * _PAD) / across, (height - 2 * _PAD) / along), height)

    @property
    def view_box(self) -> str:
        """Of the SVG."""
        return f"0 0 {_WIDTH} {self.height + _FOOT:.0f}"

    def at(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Where a place is drawn."""
        east = (longitude - self.middle[1]) * _METRES_A_DEGREE * _shrink(self.middle[0])
        north = (latitude - self.middle[0]) * _METRES_A_DEGREE
        return _WIDTH / 2 + east * self.metre, self.height / 2 - north * self.metre

    def place(self, x: float, y: float) -> tuple[float, float]:
        """The latitude and longitude of a point of the drawing."""
        east, north = (x - _WIDTH / 2) / self.metre, (self.height / 2 - y) / self.metre
        latitude = self.middle[0] + north / _METRES_A_DEGREE
        longitude = self.middle[1] + east / (_METRES_A_DEGREE * _shrink(self.middle[0]))
        return min(max(latitude, -90.0), 90.0), (longitude + 180) % 360 - 180

    @property
    def bar(self) -> int:
        """Metres of the longest bar of a round length that takes at most a quarter of the width."""
        return max((bar for bar in _BARS if bar * self.metre <= _WIDTH / 4), default=1)

    def scale(self) -> str:
        """That bar, and where north is."""
        text = f"{self.bar / 1000:g} km" if self.bar >= 1000 else f"{self.bar} m"
        y = self.height + _FOOT - 8
        return (
            f'<path class="vr-scale" d="M16 {y - 5:.0f}v5h{self.bar * self.metre:.1f}v-5"/>'
            f'<text class="vr-scale-text" x="16" y="{y - 9:.0f}">{text}</text>'
            f'<text class="vr-scale-text" x="{_WIDTH - 30}" y="24">N ↑</text>'
        )


def _shrink(latitude: float) -> float:
    """How much shorter a degree of longitude is than one of latitude."""
    return max(math.cos(math.radians(latitude)), 0.01)
