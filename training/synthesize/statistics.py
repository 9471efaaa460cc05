"""What a data set holds, as a short table and as JSON."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from zoo.files import write_text
from zoo.labels import COLORS, TYPES, parse_veri_name


def count(rows: dict[str, list[str]], images_per_second: float | None) -> dict[str, object]:
    """Count pictures, vehicles, colours, types, cameras and seen keypoints of label rows per split."""
    colors: Counter[str] = Counter()
    types: Counter[str] = Counter()
    cameras: Counter[str] = Counter()
    vehicles: dict[str, set[str]] = {split: set() for split in rows}
    confidences = []
    for split, lines in rows.items():
        for line in lines:
            name, vehicle, color, kind, points = line.split(",", 4)
            vehicles[split].add(vehicle)
            colors[COLORS[int(color) - 1]] += 1
            types[TYPES[int(kind) - 1]] += 1
            parsed = parse_veri_name(name)
            if parsed is not None:
                cameras[f"c{parsed.camera_id:03d}"] += 1
            confidences.append(points.split(",")[2::3])
    confidence = np.asarray(confidences, np.float64)
    return {
        "images": {split: len(lines) for split, lines in rows.items()},
        "ids": {split: len(vehicles[split]) for split in rows},
        "colors": {name: colors[name] for name in COLORS},
        "types": {name: types[name] for name in TYPES},
        "cameras": dict(sorted(cameras.items())),
        "keypoints": {
            "visible": round(float(np.mean(confidence >= 0.5)), 4),
            "occluded": round(float(np.mean((confidence >= 0.08) & (confidence < 0.5))), 4),
            "outside": round(float(np.mean(confidence < 0.08)), 4),
        },
        "images_per_second": None if images_per_second is None else round(images_per_second, 1),
    }


def as_table(statistics: dict[str, object]) -> str:
    """The statistics as a Markdown table."""
    lines = ["| what | |", "|---|---|"]
    for key, value in statistics.items():
        shown = (
            ", ".join(f"{name} {number}" for name, number in value.items())
            if isinstance(value, dict)
            else value
        )
        lines.append(f"| {key.replace('_', ' ')} | {'not measured' if shown is None else shown} |")
    return "\n".join(lines) + "\n"


def write_statistics(out: Path, rows: dict[str, list[str]], images_per_second: float | None) -> None:
    """Write `statistics.json` and `statistics.md`; the speed is the last run's."""
    statistics = count(rows, images_per_second)
    write_text(out / "statistics.json", json.dumps(statistics, indent=1) + "\n")
    write_text(out / "statistics.md", as_table(statistics))
