"""Line charts as inline SVG: no script, colours from the page's style sheet, a word on each point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.report.markup import text

WIDTH, HEIGHT = 520, 290
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 22, 42


@dataclass(frozen=True)
class Axes:
    """The plane of a chart, in the units of its data."""

    low: float
    high: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        """From left to right, in the drawing's units."""
        return LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """From the top down, in the drawing's units."""
        return HEIGHT - BOTTOM - (value - self.bottom) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)

    def frame(self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str) -> str:
        """Grid, ticks and the axes' names."""
        parts = []
        for value in y_ticks:
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for value in x_ticks:
            where = f'x="{self.x(value):.1f}" y="{HEIGHT - BOTTOM + 17}"'
            parts.append(f'<text {where} text-anchor="middle">{value:g}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{text(x_name)}</text>')
        across = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text transform="translate(11 {across}) rotate(-90)" text-anchor="middle">{text(y_name)}</text>'
        )
        return "".join(parts)

    def band(self, start: float, end: float, words: str) -> str:
        """An invisible column that says something when it is pointed at."""
        left, right = self.x(max(start, self.low)), self.x(min(end, self.high))
        return (
            f'<rect class="hit" x="{left:.1f}" y="{TOP}" width="{max(right - left, 0):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{text(words)}</title></rect>'
        )

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The points as a line's path."""
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def svg(alt: str, body: str) -> str:
    """A drawing, with the words for those who do not see it."""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(alt)}">{body}</svg>'


def cmc_chart(cmc: Sequence[float]) -> str:
    """The cumulative match characteristic, from rank 1 on."""
    ranks = list(range(1, len(cmc) + 1))
    values = [100 * value for value in cmc]
    floor = max(0.0, 10 * np.floor(min(values) / 10 - 0.5))
    axes = Axes(1, max(len(cmc), 2), floor, 100)
    step = 20 if floor < 50 else 10 if floor < 80 else 5
    body = axes.frame(
        sorted({1, *range(5, len(cmc) + 1, 5)}),
        np.arange(floor, 101, step).tolist(),
        "rank k",
        "queries with a match by rank k, %",
    )
    body += f'<path class="line one" d="{axes.path(ranks, values)}"/>'
    marks = [k for k in (1, 5, 10, 20) if k <= len(cmc)]
    for k in marks:
        body += f'<circle class="dot" cx="{axes.x(k):.1f}" cy="{axes.y(values[k - 1]):.1f}" r="4.5"/>'
    for k, value in zip(ranks, values, strict=True):
        body += axes.band(k - 0.5, k + 0.5, f"rank {k}: {value:.2f} %")
    told = ", ".join(f"{values[k - 1]:.1f} % at rank {k}" for k in marks)
    return svg(f"Curve of the cumulative match characteristic: {told}.", body)


def precision_chart(precision: np.ndarray, bins: int = 20) -> str:
    """How many queries have which average precision."""
    counts, edges = np.histogram(100 * precision, bins, (0, 100))
    top = _round_up(counts.max(initial=1))
    axes = Axes(0, 100, 0, top)
    body = axes.frame(
        [0, 20, 40, 60, 80, 100], np.linspace(0, top, 5).tolist(), "average precision, %", "queries"
    )
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        left, right = axes.x(low) + 1, axes.x(high) - 1
        body += (
            f'<rect class="bar" x="{left:.1f}" y="{axes.y(count):.1f}" width="{right - left:.1f}" '
            f'height="{axes.y(0) - axes.y(count):.1f}"/>'
        )
        body += axes.band(low, high, f"{low:g} to {high:g} %: {count} queries")
    below = int((precision < 0.5).sum())
    return svg(f"Histogram of average precision; {below} of {len(precision)} queries lie below 50 %.", body)


def distance_chart(edges: np.ndarray, same: np.ndarray, different: np.ndarray, threshold: float) -> str:
    """Densities of the distances of same and different vehicles, each with the same area."""
    shares = [100 * kind / max(1, kind.sum()) for kind in (same, different)]
    top = max(_round_up(max(share.max(initial=0.1) for share in shares)), 1)
    axes = Axes(float(edges[0]), float(edges[-1]), 0, top)
    ticks = _round_ticks(axes.low, axes.high)
    body = axes.frame(ticks, np.linspace(0, top, 5).tolist(), "distance", "pairs of the kind, %")
    middles = (edges[:-1] + edges[1:]) / 2
    for share, colour in zip(shares, ("one", "two"), strict=True):
        line = axes.path([edges[0], *middles, edges[-1]], [0, *share, 0])
        body += f'<path class="area {colour}" d="{line}"/>'
    if axes.low < threshold < axes.high:
        x = axes.x(threshold)
        body += f'<path class="dashed" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
    body += f'<text class="text-one" x="{LEFT}" y="12">same vehicle</text>'
    body += f'<text class="text-two" x="{LEFT + 104}" y="12">different vehicles</text>'
    for i in range(len(same)):
        words = f"{edges[i]:.3g} to {edges[i + 1]:.3g}: {same[i]} same, {different[i]} different"
        body += axes.band(edges[i], edges[i + 1], words)
    return svg("Distribution of distances between images of the same and of different vehicles.", body)


def reliability_chart(
    confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray, what: str = "images"
) -> str:
    """Accuracy against confidence; a dot's area tells how many predictions, of `what`, it stands for."""
    axes = Axes(0, 100, 0, 100)
    ticks = [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    body = axes.frame(ticks, ticks, "probability told, %", "right, %")
    body += f'<path class="dashed" d="{axes.path([0, 100], [0, 100])}"/>'
    filled = np.flatnonzero(count)
    told, right = (100 * confidence[filled]).tolist(), (100 * accuracy[filled]).tolist()
    body += f'<path class="line one" d="{axes.path(told, right)}"/>'
    for i in filled:
        x, y = axes.x(100 * confidence[i]), axes.y(100 * accuracy[i])
        radius = 3 + 9 * np.sqrt(count[i] / count.max())
        words = f"told {100 * confidence[i]:.1f} %, right {100 * accuracy[i]:.1f} % of {count[i]} {what}"
        body += (
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{words}</title></circle>'
        )
    return svg(
        "Reliability: how often predictions are right, against the probability they were told with.", body
    )


def _round_up(value: float) -> float:
    """The next number above of those that quarter well."""
    scale = 10 ** np.floor(np.log10(max(value, 1e-9)))
    return float(next(scale * step for step in (1, 2, 4, 6, 8, 10) if scale * step >= value))


def _round_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 6
    scale = 10 ** np.floor(np.log10(raw))
    step = float(next(scale * s for s in (1, 2, 5, 10) if scale * s >= raw))
    return [float(f"{v:.6g}") for v in np.arange(np.ceil(low / step) * step, high + step * 1e-6, step)]
