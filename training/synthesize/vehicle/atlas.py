"""The texture atlas: named regions that parts of the body are mapped to and painted in, in metres."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from training.synthesize.renderer.mesh import MeshBuilder, box

SIZE = 1024
_PAD = 4
_SHIFT = 4
Paint = tuple[int, int, int, int]
"""sRGB red, green, blue and gloss, each 0..255."""

Point = tuple[float, float, float]
"""Of a vehicle, in metres."""

# x, y, width, height in pixels of the atlas.
_CAR = {"left": (0, 0, 1024, 300), "right": (0, 300, 1024, 300), "load_side": (790, 812, 234, 106),
        "load_end": (790, 918, 117, 106), "load_top": (907, 918, 117, 106)}  # fmt: skip
_TRUCK = {"left": (0, 0, 400, 300), "right": (0, 300, 400, 300), "load_side": (400, 0, 624, 300),
          "load_end": (400, 300, 300, 300), "load_top": (700, 300, 324, 300)}  # fmt: skip
_COMMON = {"front": (0, 600, 300, 212), "rear": (300, 600, 300, 212), "screen": (600, 600, 212, 212),
           "back": (812, 600, 212, 212), "hood": (0, 812, 212, 212), "roof": (212, 812, 300, 212),
           "deck": (512, 812, 150, 212), "wheel": (662, 812, 128, 128)}  # fmt: skip
_SWATCHES = (662, 940, 128, 84)
SWATCH_NAMES = (
    "paint",
    "dark",
    "tyre",
    "chrome",
    "trim",
    "accent",
    "mirror",
    "box",
    "lamp",
    "wood",
    "sack",
    "glass",
)


@dataclass
class Region:
    """A rectangle of the atlas with metric coordinates: a runs rightwards, b upwards, as the viewer sees it.

    `canvas` is uint8 [height, width, 4]; drawing may run over the edges, which are clipped.
    """

    rect: tuple[int, int, int, int]
    a: tuple[float, float]
    b: tuple[float, float]
    canvas: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.canvas = np.zeros((self.rect[3], self.rect[2], 4), np.uint8)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Canvas positions [..., 2] (column, row) of metric points [..., 2]."""
        points = np.asarray(points, dtype=float)
        width, height = self.rect[2] - 2 * _PAD, self.rect[3] - 2 * _PAD
        column = _PAD + (points[..., 0] - self.a[0]) / (self.a[1] - self.a[0]) * width
        row = _PAD + (self.b[1] - points[..., 1]) / (self.b[1] - self.b[0]) * height
        return np.stack([column, row], axis=-1)

    def uv(self, points: np.ndarray) -> np.ndarray:
        """Atlas coordinates 0..1 of metric points, kept inside the region."""
        low, high = np.array([1.0, 1.0]), np.array(self.rect[2:]) - 1.0
        return (np.clip(self.pixels(points), low, high) + np.array(self.rect[:2])) / SIZE

    @property
    def scale(self) -> float:
        """Pixels per metre, the mean of both directions."""
        across = (self.rect[2] - 2 * _PAD) / abs(self.a[1] - self.a[0])
        up = (self.rect[3] - 2 * _PAD) / abs(self.b[1] - self.b[0])
        return float(np.sqrt(across * up))

    def fill(self, paint: Paint) -> None:
        """Cover the whole region."""
        self.canvas[:] = paint

    def polygon(self, points: Sequence | np.ndarray, paint: Paint, rounding: float = 0.0) -> None:
        """Fill a polygon given in metres; `rounding` thickens it by that many metres with round corners."""
        fixed = _fixed(self.pixels(np.asarray(points)))
        cv2.fillPoly(self.canvas, [fixed], paint, cv2.LINE_AA, _SHIFT)
        if rounding > 0:
            self._polyline(fixed, paint, 2 * rounding, closed=True)

    def line(
        self, points: Sequence | np.ndarray, paint: Paint, thickness: float, closed: bool = False
    ) -> None:
        """Stroke a polyline of a thickness in metres."""
        self._polyline(_fixed(self.pixels(np.asarray(points))), paint, thickness, closed)

    def _polyline(self, fixed: np.ndarray, paint: Paint, thickness: float, closed: bool) -> None:
        width = max(1, round(thickness * self.scale))
        cv2.polylines(self.canvas, [fixed], closed, paint, width, cv2.LINE_AA, _SHIFT)

    def ellipse(
        self, center: Sequence[float], radii: Sequence[float], paint: Paint, thickness: float = 0.0
    ) -> None:
        """Fill an ellipse, or stroke it where a thickness (metres) is given."""
        turn = np.linspace(0, 2 * np.pi, 25)[:-1]
        ring = np.asarray(center) + np.stack([np.cos(turn), np.sin(turn)], 1) * np.asarray(radii)
        if thickness > 0:
            self.line(ring, paint, thickness, closed=True)
        else:
            self.polygon(ring, paint)

    def rectangle(
        self, low: Sequence[float], high: Sequence[float], paint: Paint, rounding: float = 0.0
    ) -> None:
        """Fill an upright rectangle between two corners."""
        (a0, b0), (a1, b1) = low, high
        inset = min(rounding, abs(a1 - a0) / 2.01, abs(b1 - b0) / 2.01)
        a0, a1, b0, b1 = a0 + inset, a1 - inset, b0 + inset, b1 - inset
        self.polygon([(a0, b0), (a1, b0), (a1, b1), (a0, b1)], paint, inset)

    def text(
        self,
        words: str,
        center: Sequence[float],
        height: float,
        paint: Paint,
        bold: float = 0.18,
        width: float = 0.0,
    ) -> None:
        """Write words centred on a point; capitals of `height` metres, less where `width` demands it."""
        font = cv2.FONT_HERSHEY_SIMPLEX
        tall = height * self.scale
        if width > 0:
            tall *= min(1.0, width * self.scale / cv2.getTextSize(words, font, tall / 21.0, 1)[0][0])
        size, thick = tall / 21.0, max(1, round(tall * bold))
        long = cv2.getTextSize(words, font, size, thick)[0][0]
        column, row = self.pixels(np.asarray(center))
        origin = (round(column - long / 2), round(row + tall / 2))
        cv2.putText(self.canvas, words, origin, font, size, paint, thick, cv2.LINE_AA)


class Atlas:
    """All regions of one vehicle."""

    def __init__(
        self, ranges: dict[str, tuple[tuple[float, float], tuple[float, float]]], truck: bool
    ) -> None:
        """`ranges` gives each region's metric (a, b) spans; regions that are not named stay 0..1."""
        layout = _COMMON | (_TRUCK if truck else _CAR)
        self.regions = {
            name: Region(rect, *ranges.get(name, ((0, 1), (0, 1)))) for name, rect in layout.items()
        }
        self._swatches: dict[str, Paint] = dict.fromkeys(SWATCH_NAMES, (128, 128, 128, 0))

    def __getitem__(self, name: str) -> Region:
        return self.regions[name]

    def set_swatch(self, name: str, paint: Paint) -> None:
        """Set a plain colour for parts without drawing of their own."""
        self._swatches[name] = paint

    def swatch_uv(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Atlas coordinates of a plain colour, repeated to [*shape, 2]."""
        x, y, width, height = _swatch_rect(SWATCH_NAMES.index(name))
        return np.broadcast_to(np.array([x + width / 2, y + height / 2]) / SIZE, (*shape, 2))

    def compose(self) -> np.ndarray:
        """The whole texture, uint8 [SIZE, SIZE, 4]."""
        texture = np.zeros((SIZE, SIZE, 4), np.uint8)
        for region in self.regions.values():
            x, y, width, height = region.rect
            texture[y : y + height, x : x + width] = region.canvas
        for index, name in enumerate(SWATCH_NAMES):
            x, y, width, height = _swatch_rect(index)
            texture[y : y + height, x : x + width] = self._swatches[name]
        return texture


@dataclass(frozen=True)
class PartBuilder:
    """Adds parts to `builder` that wear plain colours of `atlas`."""

    builder: MeshBuilder
    atlas: Atlas

    def box(self, low: Point, high: Point, swatch: str, taper: float = 0.0) -> None:
        """Add a plain box; `taper` draws its top edges in by that many metres."""
        quads = box(low, high)
        if taper:
            middle = (np.array(low) + np.array(high)) / 2
            inset = np.sign(middle - quads) * taper
            inset[..., 2] = 0
            quads = quads + inset * (quads[..., 2:] > middle[2])
        self.builder.add_quads(quads, self.atlas.swatch_uv(swatch, (6, 4)), None, 0.6)


def _swatch_rect(index: int) -> tuple[int, int, int, int]:
    x, y, width, height = _SWATCHES
    return x + index % 4 * (width // 4), y + index // 4 * (height // 3), width // 4, height // 3


def _fixed(pixels: np.ndarray) -> np.ndarray:
    return np.round(np.clip(pixels, -2000, 4000) * 2**_SHIFT).astype(np.int32).reshape(-1, 1, 2)
