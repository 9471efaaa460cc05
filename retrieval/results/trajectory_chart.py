"""When which camera saw the results: an SVG chart, one row a camera."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from html import escape

from retrieval.gallery.clock import format_time
from retrieval.gallery.entries import Result
from retrieval.results.trajectory import trajectory

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 28, 96, 20, 10, 28
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_TICKS = 6


def trajectory_chart(
    results: Sequence[Result],
    marked: Collection[str] = (),
    title: str = "Cameras and times",
    journeys: Mapping[str, str] | None = None,
) -> str:
    """Draw it, with the lines of `trajectory`; empty where no result has both a camera and a time."""
    seen = [result for result in results if result.time is not None and result.camera is not None]
    if not seen:
        return ""
    times = [result.time or 0 for result in seen]
    first, last = min(times), max(times)
    if last - first < 1:
        first, last = first - 30, last + 30
    rows: dict[int, str] = {}
    for result in sorted(seen, key=lambda result: result.time or 0):
        rows.setdefault(result.camera or 0, result.camera_name or f"camera {result.camera}")
    order = list(rows)
    height = _TOP + _ROW * len(order) + _BOTTOM

    def x(seconds: float) -> float:
        return _LEFT + (seconds - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(camera: int | None) -> float:
        return _TOP + _ROW * (order.index(camera or 0) + 0.5)

    parts = []
    for camera in order:
        parts.append(
            f'<line class="vr-grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(camera)}" y2="{y(camera)}"/>'
            f'<text class="vr-row" x="{_LEFT - 16}" y="{y(camera) + 4}">{escape(_short(rows[camera]))}</text>'
        )
    for seconds in _ticks(first, last):
        parts.append(
            f'<line class="vr-grid vr-tick" x1="{x(seconds):.1f}" x2="{x(seconds):.1f}" y1="{_TOP}" '
            f'y2="{height - _BOTTOM}"/><text class="vr-time" x="{x(seconds):.1f}" y="{height - 8}">'
            f"{_clock(seconds, last - first, seen[0].zone)}</text>"
        )
    for leg in trajectory(seen, marked, journeys):
        points = " ".join(f"{x(result.time or 0):.1f},{y(result.camera):.1f}" for result in leg)
        parts.append(f'<polyline class="vr-way" points="{points}"/>')
    for result in reversed(seen):
        parts.append(dot(result, x(result.time or 0), y(result.camera), marked))
    return (
        f'<svg class="vr-drawing" viewBox="0 0 {_WIDTH} {height}" role="group" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def dot(result: Result, x: float, y: float, marked: Collection[str]) -> str:
    """A result as a numbered dot; the better its score, the stronger its colour."""
    strength = 0.35 + 0.65 * (1.0 if result.score is None else result.score)
    kind = " vr-marked" if result.key in marked else ""
    where = " · ".join(part for part in (result.camera_name, result.clock) if part)
    score = f" · {result.likeness}" if result.likeness else ""
    return (
        f'<g class="vr-dot{kind}" {chosen_by(result)}>'
        f"<title>{result.rank}. {escape(where)}{score}</title>"
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" opacity="{strength:.2f}"/>'
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}">{result.rank}</text></g>'
    )


def chosen_by(result: Result) -> str:
    """Attributes by which the page compares a result with the query when its dot is chosen."""
    detail = escape(json.dumps({"key": result.key}))
    return f'data-event="select" data-detail="{detail}" tabindex="0" role="button"'


def _ticks(first: float, last: float) -> list[float]:
    step = next((step for step in _STEPS if (last - first) / step <= _TICKS), (last - first) / _TICKS)
    start = -(-first // step) * step
    return [start + number * step for number in range(_TICKS + 1) if start + number * step <= last]


def _clock(seconds: float, span: float, zone: tzinfo) -> str:
    """Without the date where a day holds it all, without seconds where they are all zero."""
    text = format_time(seconds, zone)
    if " " in text and span < 86_400:
        text = text.partition(" ")[2]
    return text.removesuffix(":00") if span > 600 and text.count(":") == 2 else text


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
