"""Where the results were seen: an SVG map of the cameras, drawn without tiles, so that nothing is fetched."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from html import escape
from itertools import pairwise

from retrieval.gallery.entries import Camera
from retrieval.results.results import Result
from retrieval.results.time_chart import chosen_by
from retrieval.results.track import track

_WIDTH, _PAD, _HEIGHTS = 520, 40, (220, 460)
_METRES_A_DEGREE = 111_195.0
_BARS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))


def track_map(
    results: Sequence[Result], cameras: Sequence[Camera], marked: Collection[str] = (), title: str = "Map"
) -> str:
    """Draw cameras, results and the way between them; empty where no result has a known place.

    The projection is equirectangular around the middle, true in both directions for the extent of a city.
    """
    placed = [result for result in results if result.latitude is not None and result.longitude is not None]
    if not placed:
        return ""
    standing = [
        (camera, camera.latitude, camera.longitude)
        for camera in cameras
        if camera.latitude is not None and camera.longitude is not None
    ]
    latitudes = [place for _, place, _ in standing] + [result.latitude or 0.0 for result in placed]
    longitudes = [place for _, _, place in standing] + [result.longitude or 0.0 for result in placed]
    middle = (min(latitudes) + max(latitudes)) / 2, (min(longitudes) + max(longitudes)) / 2
    shrink = max(math.cos(math.radians(middle[0])), 0.01)
    # At least 100 metres across, so that one camera alone is no division by zero.
    across = max((max(longitudes) - min(longitudes)) * shrink * _METRES_A_DEGREE, 100.0)
    along = max((max(latitudes) - min(latitudes)) * _METRES_A_DEGREE, 100.0)
    height = min(max((_WIDTH - 2 * _PAD) * along / across + 2 * _PAD, _HEIGHTS[0]), _HEIGHTS[1])
    metre = min((_WIDTH - 2 * _PAD) / across, (height - 2 * _PAD) / along)

    def at(latitude: float | None, longitude: float | None) -> tuple[float, float]:
        east = ((longitude or 0.0) - middle[1]) * shrink * _METRES_A_DEGREE
        north = ((latitude or 0.0) - middle[0]) * _METRES_A_DEGREE
        return _WIDTH / 2 + east * metre, height / 2 - north * metre

    parts = [_scale_bar(metre, height)]
    spots: dict[tuple[float, float], list[Result]] = defaultdict(list)
    for result in placed:
        spots[at(result.latitude, result.longitude)].append(result)
    line = [result for result in track(results, marked) if result.latitude is not None]
    way = [at(result.latitude, result.longitude) for result in line]
    way = [point for number, point in enumerate(way) if number == 0 or point != way[number - 1]]
    for camera, latitude, longitude in standing:
        x, y = at(latitude, longitude)
        parts.append(
            f'<circle class="vr-camera-dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
            f'<text class="vr-place" x="{x:.1f}" y="{y + 24:.1f}">{escape(camera.name[:18])}</text>'
        )
    for start, end in pairwise(way):
        parts.append(_arrow(start, end))
    for (x, y), here in spots.items():
        best = min(here, key=lambda result: result.rank)
        strength = 0.4 + 0.6 * (1.0 if best.score is None else best.score)
        kind = " vr-marked" if any(result.key in marked for result in here) else ""
        ranks = ", ".join(str(result.rank) for result in here)
        parts.append(
            f'<g class="vr-dot{kind}" {chosen_by(best)}>'
            f"<title>{escape(best.camera_name or '')}: {ranks}</title>"
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{9 + 2 * math.sqrt(len(here)):.1f}" '
            f'opacity="{strength:.2f}"/><text x="{x:.1f}" y="{y + 3.5:.1f}">{best.rank}</text></g>'
        )
    return (
        f'<svg class="vr-drawing" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A line with a head in its middle, so that a dot does not hide the head."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    head = [
        f"{x + 8 * math.cos(angle + turn):.1f},{y + 8 * math.sin(angle + turn):.1f}"
        for turn in (0, 2.5, -2.5)
    ]
    return (
        f'<line class="vr-way" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
        f'<polygon class="vr-head" points="{" ".join(head)}"/>'
    )


def _scale_bar(metre: float, height: float) -> str:
    """A bar of a round length, at most a quarter of the width, and where north is."""
    length = max((bar for bar in _BARS if bar * metre <= _WIDTH / 4), default=1)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length} m"
    y = height - 16
    return (
        f'<path class="vr-scale" d="M16 {y - 5:.0f}v5h{length * metre:.1f}v-5"/>'
        f'<text class="vr-scale-text" x="16" y="{y - 9:.0f}">{text}</text>'
        f'<text class="vr-scale-text" x="{_WIDTH - 30}" y="24">N ↑</text>'
    )
