"""Where the results were seen: an SVG map of the cameras."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from html import escape

from retrieval.gallery.entries import Camera, Result
from retrieval.results.ground import Ground
from retrieval.results.trajectory import trajectory
from retrieval.results.trajectory_chart import chosen_by


def trajectory_map(
    results: Sequence[Result],
    cameras: Sequence[Camera],
    marked: Collection[str] = (),
    title: str = "Map",
    journeys: Mapping[str, str] | None = None,
) -> str:
    """Draw cameras, results and the way between them; empty where no result has a known place."""
    places = {result.key: result.place for result in results if result.place is not None}
    if not places:
        return ""
    standing = [(camera, camera.place) for camera in cameras if camera.place is not None]
    ground = Ground.around([*(place for _, place in standing), *places.values()])
    at, parts = ground.at, [ground.scale()]
    spots: dict[tuple[float, float], list[Result]] = defaultdict(list)
    for result in results:
        if result.key in places:
            spots[at(*places[result.key])].append(result)
    placed = [result for result in results if result.key in places]
    legs = [
        (at(*places[start.key]), at(*places[end.key])) for start, end in trajectory(placed, marked, journeys)
    ]
    for camera, place in standing:
        x, y = at(*place)
        parts.append(
            f'<circle class="vr-camera-dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
            f'<text class="vr-place" x="{x:.1f}" y="{y + 24:.1f}">{escape(camera.name[:18])}</text>'
        )
    parts += [_arrow(start, end) for start, end in legs if start != end]
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
        f'<svg class="vr-drawing" viewBox="{ground.view_box}" role="group" '
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
