"""`python -m benchmarks.reranking_scale`: time and memory of re-ranking, up to the size of VERI-Wild's test.

Each size is measured in a process of its own on clustered random embeddings; the usual dense implementation
beside it where it fits, and else what one of its matrices of all pairs would hold. Measured sizes are kept in
a file, so that they can be measured at different times; the table and plot of docs/evaluation.md are made
from it.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import in_fresh_process, reset_peak, resident
from training.evaluation.metrics import Labels, RankMetrics, judge_rows
from training.evaluation.reranking import Reranking, reranked_rows
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text

RESULTS = Path(__file__).with_name("reranking_scale.jsonl")
PAGE = Path("docs/evaluation.md")
PLOT = Path("docs/images/reranking-scale.svg")
LARGE = (10_000, 128_517)
"""Queries and gallery images of VERI-Wild's large test."""

DIMENSION = 512
IMAGES_A_VEHICLE = 13
DENSE_UP_TO = 12_000
"""Images in all for which the dense implementation is measured too."""

GALLERIES = (2_000, 4_000, 8_000, 16_000, 32_000, 64_000, LARGE[1])
BEGIN, END = "<!-- reranking scale: begin -->", "<!-- reranking scale: end -->"
MIB, GIB = 2**20, 2**30

Task = tuple[np.ndarray, np.ndarray, Labels]


def draw_task(queries: int, gallery: int) -> Task:
    """Clusters of a dozen images with noise; float32."""
    rng = np.random.default_rng(0)
    vehicles = max(2, gallery // IMAGES_A_VEHICLE)
    centres = rng.standard_normal((vehicles, DIMENSION), np.float32)
    labels = Labels(
        query_ids=rng.integers(0, vehicles, queries),
        gallery_ids=rng.integers(0, vehicles, gallery),
        query_cameras=rng.integers(0, 20, queries),
        gallery_cameras=rng.integers(0, 20, gallery),
    )
    images = []
    for own in (labels.query_ids, labels.gallery_ids):
        noise = rng.standard_normal((len(own), DIMENSION), np.float32)
        noise *= rng.uniform(1.0, 3.0, (len(own), 1)).astype(np.float32)
        noise += centres[own]
        images.append(noise)
    return images[0], images[1], labels


def sparse(task: Task) -> RankMetrics:
    """The project's re-ranking, judged."""
    query, gallery, labels = task
    return judge_rows(reranked_rows(query, gallery), labels)


def dense(task: Task) -> RankMetrics:
    """The usual one, judged."""
    from benchmarks.dense_reranking import dense_rows

    query, gallery, labels = task
    return judge_rows(dense_rows(query, gallery, Reranking()), labels)


def measured(side: str, queries: int, gallery: int) -> dict[str, float]:
    """Seconds, peak memory and mAP of a side; for a process of its own."""
    work = {"sparse": sparse, "dense": dense}[side]
    work(draw_task(30, 300))
    task = draw_task(queries, gallery)
    before, start, worked = reset_peak(), time.perf_counter(), time.process_time()
    found = work(task)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - worked
    peak = resident("VmHWM")
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "extra_bytes": peak - before,
        "process_bytes": peak,
        "mAP": found.mean_average_precision,
    }


def measure(gallery: int) -> dict[str, Any]:
    """One size: as many queries a gallery image as VERI-Wild's large test has."""
    queries = round(gallery * LARGE[0] / LARGE[1])
    count = queries + gallery
    entry: dict[str, Any] = {
        "queries": queries,
        "gallery": gallery,
        "matrix_bytes": 4 * count**2,
        "sparse": in_fresh_process(measured, "sparse", queries, gallery),
    }
    if count <= DENSE_UP_TO:
        entry["dense"] = in_fresh_process(measured, "dense", queries, gallery)
        gap = abs(entry["dense"]["mAP"] - entry["sparse"]["mAP"])
        if gap > 1e-4:
            raise AssertionError(f"the sparse and the dense mAP differ by {gap}")
    return entry


def table(entries: list[dict[str, Any]]) -> str:
    """The measured sizes, in Markdown."""
    lines = [
        "| queries x gallery | seconds | CPU seconds | over the embeddings | whole process "
        "| dense: CPU seconds | dense: measured | dense: one matrix |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        own, other = entry["sparse"], entry.get("dense")
        lines.append(
            f"| {entry['queries']:,} x {entry['gallery']:,} | {own['seconds']:.1f} "
            f"| {own['cpu_seconds']:.1f} "
            f"| {own['extra_bytes'] / MIB:,.0f} MiB | {own['process_bytes'] / GIB:.2f} GiB "
            + (
                f"| {other['cpu_seconds']:.1f} | {other['extra_bytes'] / GIB:.2f} GiB "
                if other
                else "| - | not measured "
            )
            + f"| {entry['matrix_bytes'] / GIB:.2f} GiB |"
        )
    return "\n".join(lines)


def plot(entries: list[dict[str, Any]]) -> str:
    """Memory and seconds against the number of images, both axes logarithmic, as SVG."""
    width, height, left, bottom = 720, 360, 70, 50
    counts = [entry["queries"] + entry["gallery"] for entry in entries]
    curves = [
        (
            "sparse, GiB over the embeddings",
            "#1f77b4",
            "",
            [e["sparse"]["extra_bytes"] / GIB for e in entries],
        ),
        ("sparse, CPU minutes", "#2ca02c", "", [e["sparse"]["cpu_seconds"] / 60 for e in entries]),
        ("one dense matrix of all pairs, GiB", "#d62728", "6 4", [e["matrix_bytes"] / GIB for e in entries]),
    ]
    low, high = -3.0, 2.5
    first, last = np.log10(counts[0]), np.log10(counts[-1])

    def at(count: float, value: float) -> str:
        x = left + (np.log10(count) - first) / (last - first or 1.0) * (width - left - 30)
        y = height - bottom - (np.log10(max(value, 10**low)) - low) / (high - low) * (height - bottom - 20)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for power in range(int(low), int(high) + 1):
        x1, y = at(counts[0], 10.0**power).split(",")
        x2, _ = at(counts[-1], 10.0**power).split(",")
        parts.append(f'<line x1="{x1}" x2="{x2}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y}" text-anchor="end">{10.0**power:g}</text>')
    for count in counts:
        x, y = at(count, 10**low).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{count / 1000:.1f}k</text>')
    parts.append(
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">queries + gallery images</text>'
    )
    for number, (name, color, dashes, values) in enumerate(curves):
        points = " ".join(at(count, value) for count, value in zip(counts, values, strict=True))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/>'
        )
        parts.append(f'<text x="{left + 12}" y="{34 + 16 * number}" fill="{color}">{name}</text>')
    budget = at(counts[0], 16.0).split(",")[1]
    end = at(counts[-1], 16.0).split(",")[0]
    parts.append(
        f'<line x1="{left}" x2="{end}" y1="{budget}" y2="{budget}" stroke="#888" stroke-dasharray="2 3"/>'
    )
    parts.append(f'<text x="{end}" y="{float(budget) - 4}" text-anchor="end" fill="#888">16 GiB</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def read_results() -> list[dict[str, Any]]:
    """What was measured so far, by size; the newest of a size."""
    if not RESULTS.exists():
        return []
    found = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return sorted({entry["gallery"]: entry for entry in found}.values(), key=lambda entry: entry["gallery"])


def write_page(entries: list[dict[str, Any]]) -> None:
    """Put the table between its marks, and the plot beside the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise UserError(f"{PAGE}: lacks the marks {BEGIN} and {END}; put them where the table belongs")
    write_text(PAGE, f"{before}{BEGIN}\n{table(entries)}\n{END}{after}")
    write_text(PLOT, plot(entries))


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and write it to the page where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reranking_scale", description=__doc__)
    parser.add_argument(
        "--galleries", nargs="*", type=int, default=GALLERIES, help="gallery sizes [%(default)s]"
    )
    parser.add_argument("--page", action="store_true", help=f"write table and plot to {PAGE} and {PLOT}")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    if any(gallery < 100 for gallery in arguments.galleries):
        raise UserError("--galleries: at least 100 images each")
    for gallery in arguments.galleries:
        print(f"{gallery} gallery images", file=sys.stderr)
        entry = measure(gallery)
        write_text(RESULTS, "".join(json.dumps(e) + "\n" for e in (*read_results(), entry)))
    entries = read_results()
    print(table(entries))
    if arguments.page:
        write_page(entries)
    if arguments.json:
        print(json.dumps(entries))
    return 0


if __name__ == "__main__":
    sys.exit(main())
