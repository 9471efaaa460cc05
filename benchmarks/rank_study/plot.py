"""The study's results as a picture: one line an arm, a dot a seed, a bar at their mean."""

from html import escape

from benchmarks.rank_study.report import TITLES, ArmResult

WIDTH, LABELS, ROW, TOP = 860, 330, 20, 34
INK, FAINT, OURS, OTHER = "#222", "#ddd", "#0a7d4f", "#4a6fa5"
LOW, HIGH, TICK = 20, 80, 10


def svg(results: dict[str, list[ArmResult]]) -> str:
    """Draw all starts, one below the other."""
    parts: list[str] = []
    y = 0
    for start, arms in results.items():
        if arms:
            parts.append(_panel(TITLES[start], arms, y))
            y += TOP + ROW * len(arms) + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}">\n<rect width="{WIDTH}" height="{y}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(title: str, arms: list[ArmResult], top: int) -> str:
    bottom = top + TOP + ROW * len(arms)
    lines = [f'<text x="{LABELS}" y="{top + 20}" font-weight="bold">{escape(title)}</text>']
    for value in range(LOW, HIGH + 1, TICK):
        lines.append(
            f'<line x1="{_x(value)}" y1="{top + TOP - 6}" x2="{_x(value)}" y2="{bottom}" stroke="{FAINT}"/>'
        )
        lines.append(f'<text x="{_x(value)}" y="{bottom + 16}" text-anchor="middle">{value}</text>')
    lines.append(
        f'<text x="{WIDTH - 20}" y="{bottom + 32}" text-anchor="end">mAP on vehicles never seen</text>'
    )
    for index, arm in enumerate(arms):
        y = top + TOP + ROW * index + ROW // 2
        color = OURS if arm.name == "ours" else INK if arm.name in ("one", "original") else OTHER
        label = escape(f"{arm.name}, {arm.cards} rank{'s' * (arm.cards > 1)}")
        lines.append(f'<text x="{LABELS - 12}" y="{y + 4}" text-anchor="end" fill="{color}">{label}</text>')
        values = arm.values("mAP")
        mean = _x(float(values.mean()))
        lines.append(
            f'<line x1="{mean}" y1="{y - 7}" x2="{mean}" y2="{y + 7}" stroke="{color}" stroke-width="2"/>'
        )
        lines += [
            f'<circle cx="{_x(value)}" cy="{y}" r="3.5" fill="{color}" fill-opacity="0.55"/>'
            for value in values
        ]
    return "\n".join(lines)


def _x(value: float) -> float:
    return round(LABELS + (min(max(value, LOW), HIGH) - LOW) / (HIGH - LOW) * (WIDTH - LABELS - 20), 1)
