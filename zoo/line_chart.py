"""A line chart as SVG text."""

import math
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 800, 360, 70, 40, 180, 60
"""Pixels; the lines' names stand to the right of the plot, where no line is."""
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def line_chart(
    title: str,
    x_title: str,
    lines: dict[str, list[tuple[float, float]]],
    *,
    log_y: bool,
    log_x: bool = True,
) -> str:
    """Draw lines by name; on a logarithmic axis all values are above 0, and each x that is there is named."""
    points = [point for line in lines.values() for point in line]
    xs = [math.log10(x) if log_x else x for x, _ in points]
    ys = [math.log10(y) if log_y else y for _, y in points]
    low, high = (min(ys), max(ys)) if log_y else (min(0.9, *ys), 1.0)
    spans = (max(max(xs) - min(xs), 1e-9), max(high - low, 1e-9))

    def place(x: float, y: float) -> tuple[float, float]:
        value = math.log10(y) if log_y else y
        return (
            LEFT + ((math.log10(x) if log_x else x) - min(xs)) / spans[0] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (value - low) / spans[1] * (HEIGHT - TOP - BOTTOM),
        )

    right, middle = WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="{middle}" y="{HEIGHT - 25}" text-anchor="middle">{escape(x_title)}</text>',
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{right}" fill="none" stroke="#888"/>',
    ]
    named = sorted({x for x, _ in points}) if log_x else [min(xs) + spans[0] * step / 4 for step in range(5)]
    for x in named:
        at = place(x, points[0][1])[0]
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - 44}" text-anchor="middle" font-size="10">{x:.4g}</text>'
        )
    for step in range(5):
        value = low + (high - low) * step / 4
        shown = 10**value if log_y else value
        at = place(points[0][0], shown)[1]
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{shown:.3g}</text>')
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(
            f'<text x="{right + 10}" y="{TOP + 14 * (number + 1)}" fill="{color}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
