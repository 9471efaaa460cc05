"""`python -m benchmarks.gallery_size --out docs`: what galleries of 10^4 to 10^7 images take.

Each size is filled, opened and searched, and added to while it is searched, in three processes, whose memory
is what the kernel counts beyond that of a process without a gallery. No gallery holds the queries; what is
right is found by a scan of all vectors.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import in_fresh_process, reset_peak, resident
from retrieval.benchmark import BATCH, K, Vehicles, fill, measure_mixed
from retrieval.gallery.filters import Filters
from retrieval.local.gallery import LocalGallery
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.line_chart import line_chart

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
SHARES = (1.0, 0.1, 0.01, 0.001)
QUERIES, JUDGED = 40, 12
"""Searches of each share, and how many of them are held to the truth."""


def filled(folder: Path, rows: int, dimension: int) -> dict[str, float]:
    """Fill a gallery; processor time of it all, and the process's peak of memory."""
    before, worked, begun = reset_peak(), time.process_time(), time.perf_counter()
    fill(folder, Vehicles(dimension), rows, dimension, "auto")
    return {
        "seconds": time.perf_counter() - begun,
        "cpu_us_an_image": 1e6 * (time.process_time() - worked) / rows,
        "peak_mib": (resident("VmHWM") - before) / 2**20,
        "left_mib": (resident() - before) / 2**20,
    }


def truth(gallery: LocalGallery, queries: np.ndarray) -> dict[float, np.ndarray]:
    """Squared distances of the K nearest by share, float32 [Q, K], in one scan of all vectors.

    Of a share that is fewer than K rows, the last are infinite.
    """
    derived = gallery.synchronizer.derived
    times, squares = derived.table["time"], np.square(queries).sum(axis=1)
    nearest = {share: np.full((len(queries), K), np.inf, np.float32) for share in SHARES}
    for start, block in derived.vectors.blocks():
        distances = squares[:, None] + np.square(block).sum(axis=1) - 2 * queries @ block.T
        for share, found in nearest.items():
            allowed = distances[:, times[start : start + len(block)] < share]
            both = np.concatenate([found, allowed], axis=1)
            nearest[share] = np.partition(both, K - 1, axis=1)[:, :K]
        derived.vectors.release()
    return nearest


def searched(folder: Path, dimension: int, rows: int) -> dict[str, Any]:
    """Start, memory, recall and times of a process that only searches."""
    vehicles = Vehicles(dimension)
    blocks = np.linspace(0, (rows - 1) // BATCH, QUERIES).astype(int) * BATCH
    queries = np.concatenate([vehicles.block(block, 8, view=1)[:1] for block in blocks.tolist()])
    before, worked, begun = reset_peak(), time.process_time(), time.perf_counter()
    gallery = LocalGallery.open_folder(folder, None, False, None, None)
    started = {"start_seconds": time.perf_counter() - begun, "start_cpu": time.process_time() - worked}
    made, results = gallery.synchronizer.derived.index, []
    hits: dict[float, list[list[float]]] = {}
    for share in SHARES:
        filters = Filters() if share == 1.0 else Filters(before=share)
        seconds, cpu, hits[share] = [], [], []
        for query in queries:
            begun, worked = time.perf_counter(), time.process_time()
            found = gallery.search(query, K, filters)
            seconds.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - worked)
            hits[share].append([hit.distance for hit in found])
        results.append(
            {
                "share": share,
                "p50_ms": 1e3 * float(np.median(seconds)),
                "p99_ms": 1e3 * float(np.percentile(seconds, 99)),
                "cpu_p50_ms": 1e3 * float(np.median(cpu)),
            }
        )
    memory = {"mib": (resident() - before) / 2**20, "peak_mib": (resident("VmHWM") - before) / 2**20}
    judged = np.linspace(0, QUERIES - 1, JUDGED).astype(int)
    nearest = truth(gallery, queries[judged])
    for result in results:
        right = wanted = 0
        for query, true in zip(judged.tolist(), nearest[result["share"]], strict=True):
            there = true[np.isfinite(true)]
            # The scan's rounding is far below the difference of two neighbours.
            right += np.count_nonzero(np.square(hits[result["share"]][query]) <= there.max() * (1 + 1e-5))
            wanted += len(there)
        result["recall"] = right / wanted
    gallery.close()
    return {**started, **memory, "index": "exact" if made is None else made.factory, "searches": results}


def added_to(folder: Path, dimension: int, rows: int, seconds: float) -> dict[str, float]:
    """Adds a second while another thread searches without pause, and the process's peak of memory."""
    before = reset_peak()
    found = measure_mixed(folder, Vehicles(dimension), rows, seconds)
    return {**found, "peak_mib": (resident("VmHWM") - before) / 2**20}


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print one JSON line a size; draw the processor time of a search."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery_size", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="[%(default)s]")
    parser.add_argument("--dimension", type=int, default=256, help="[%(default)s]")
    parser.add_argument("--mixed-seconds", type=float, default=60.0, help="[%(default)s]")
    parser.add_argument("--scratch", type=Path, help="where galleries are made and deleted")
    parser.add_argument("--out", type=Path, metavar="DIR", help="images/gallery-size.svg goes here")
    arguments = parser.parse_args(argv)
    if min(arguments.rows) < K * 1000:
        raise UserError("--rows: at least 10000, or a filter of a thousandth leaves too few")
    lines: dict[str, list[tuple[float, float]]] = {}
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(prefix="size-", dir=arguments.scratch) as scratch:
            folder, size = Path(scratch) / "gallery", arguments.dimension
            result: dict[str, Any] = {"rows": rows}
            result["fill"] = in_fresh_process(filled, folder, rows, size)
            print(json.dumps(result), file=sys.stderr, flush=True)
            disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            result["disk_bytes_an_image"] = disk / rows
            result["search"] = in_fresh_process(searched, folder, size, rows)
            print(json.dumps(result), file=sys.stderr, flush=True)
            result["mixed"] = in_fresh_process(added_to, folder, size, rows, arguments.mixed_seconds)
        print(json.dumps(result), flush=True)
        for found in result["search"]["searches"]:
            name = "all rows" if found["share"] == 1.0 else f"{found['share']:.4g} of the rows"
            lines.setdefault(name, []).append((rows, found["cpu_p50_ms"]))
    if arguments.out:
        title = f"Processor time of a search, ms (embeddings of {arguments.dimension} numbers)"
        chart = line_chart(title, "images in the gallery", lines, log_y=True)
        write_text(arguments.out / "images" / "gallery-size.svg", chart)
    return 0


if __name__ == "__main__":
    sys.exit(main())
