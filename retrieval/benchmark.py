"""Measure a gallery on made-up vehicles: `python -m retrieval.benchmark --rows 20000`.

Embeddings are clustered as those of vehicles are: kinds of vehicles, vehicles, and images of each, in a space
of fewer dimensions with noise over all of them. Every ratio is of figures of the same run.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.local import exact_search
from retrieval.local.gallery import LocalGallery
from retrieval.local.index_policy import check_index
from retrieval.local.masks import mask_of
from zoo.card import Card
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.line_chart import line_chart

K = 10
BATCH = 512
IMAGES_A_VEHICLE = 8
"""Fewer than K, so that a right answer reaches over to other vehicles."""

SELECTIVITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001)


class Vehicles:
    """A source of clustered embeddings, the same for the same seed; by blocks, so that any number fits."""

    def __init__(self, dimension: int, seed: int = 0, rank: int = 96) -> None:
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._basis = (rng.normal(size=(rank, dimension)) / np.sqrt(rank)).astype(np.float32)
        self._kinds = rng.normal(size=(90, rank)).astype(np.float32)

    def block(self, number: int, rows: int, view: int = 0) -> np.ndarray:
        """Images of one block's vehicles, float32 [rows, D]; another `view` gives other images of them."""
        vehicles = np.random.default_rng((self._seed, number))
        count = rows // IMAGES_A_VEHICLE + 1
        rank = len(self._basis)
        centres = self._kinds[vehicles.integers(0, 90, count)]
        centres = centres + vehicles.normal(size=(count, rank)).astype(np.float32)
        images = np.random.default_rng((self._seed, number, view + 1))
        near = centres[np.arange(rows) // IMAGES_A_VEHICLE]
        near = near + 0.6 * images.normal(size=near.shape).astype(np.float32)
        noise = images.standard_normal((rows, self._basis.shape[1]), np.float32)
        return np.asarray(near @ self._basis + np.float32(0.3) * noise)


def _entries(vectors: np.ndarray, first: int) -> Iterator[Entry]:
    """Rows whose time is a random number in 0..1, so that `before` chooses any share of them."""
    times = np.random.default_rng(first).random(len(vectors))
    for row, vector in enumerate(vectors):
        vehicle = (first + row) // IMAGES_A_VEHICLE
        yield Entry(
            f"{first + row:08}.jpg", vector, vehicle_id=vehicle, camera=row % 20, time=float(times[row])
        )


def _open(
    folder: Path, model: GalleryModel | None = None, writable: bool = False, index: str | None = None
) -> LocalGallery:
    return LocalGallery.open_folder(folder, model, writable, index, None)


def fill(folder: Path, vehicles: Vehicles, rows: int, dimension: int, index: str) -> dict[str, float]:
    """Make a gallery; the seconds that adding took, and those after it until the index was ready."""
    card = Card("benchmark.vehicles", (128, 128), {"embedding": dimension})
    begun = time.perf_counter()
    gallery = _open(folder, GalleryModel(card, "benchmark"), writable=True, index=index)
    for start in tqdm(range(0, rows, BATCH), unit="batch", desc="add", file=sys.stderr):
        count = min(BATCH, rows - start)
        gallery.add(_entries(vehicles.block(start, count), start))
    added = time.perf_counter()
    gallery.close()
    done = time.perf_counter()
    return {
        "add_seconds": added - begun,
        "adds_per_second": rows / (added - begun),
        "index_seconds": done - added,
    }


def measure_searches(
    gallery: LocalGallery, queries: np.ndarray, selectivities: tuple[float, ...]
) -> list[dict[str, float]]:
    """Time and recall by selectivity, beside a scan of everything in the same minutes."""
    derived, metric = gallery.synchronizer.derived, gallery.model.card.metric
    derived.vectors.release()
    plain = [_timed(exact_search.nearest, derived.vectors, q, K, None, metric)[1] for q in queries]
    exact_ms = 1e3 * float(np.median(plain))
    rows = []
    for share in tqdm(selectivities, desc="search", file=sys.stderr):
        filters = Filters() if share == 1 else Filters(before=share)
        mask = mask_of(filters, derived.table, gallery.model.card, ())
        chosen = len(derived.table) if mask is None else int(np.count_nonzero(mask))
        wanted = min(K, chosen)
        times, right, short = [], 0, 0
        for query in queries:
            hits, seconds = _timed(gallery.search, query, K, filters)
            times.append(seconds)
            short += wanted - len(hits)
            if wanted:
                near, _ = exact_search.nearest(derived.vectors, query, wanted, mask, metric)
                limit = exact_search.at(derived.vectors, query, near, metric).max()
                # Whatever is as near as the last right one is right: ties count.
                right += sum(hit.distance <= limit for hit in hits)
        median = 1e3 * float(np.median(times))
        rows.append(
            {
                "selectivity": share,
                "selected": chosen,
                "recall": right / (wanted * len(queries)) if wanted else 1.0,
                "missing": short,
                "p50_ms": median,
                "p99_ms": 1e3 * float(np.percentile(times, 99)),
                "of_exact": median / exact_ms,
                "exact_ms": exact_ms,
            }
        )
    return rows


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    begun = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - begun


def measure_start(folder: Path, dimension: int) -> dict[str, float]:
    """Start-up and memory of a process of its own that opens the gallery and searches 200 times."""
    code = (
        "import sys; from pathlib import Path; from retrieval.benchmark import report_start; "
        "report_start(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(folder), str(dimension)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{folder}: the measuring process failed: {done.stderr.strip()[-300:]}")
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


def report_start(folder: Path, dimension: int) -> None:
    """What `measure_start` runs."""
    queries = Vehicles(dimension).block(0, 200, view=9)
    before = _resident()
    begun = time.perf_counter()
    gallery = _open(folder)
    seconds = time.perf_counter() - begun
    for query in queries:
        gallery.search(query, K)
    held = _resident() - before
    flat = 4 * dimension * len(gallery)
    print(json.dumps({"start_seconds": seconds, "resident_mb": held / 2**20, "of_flat": held / flat}))


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def measure_mixed(folder: Path, vehicles: Vehicles, first: int, seconds: float) -> dict[str, float]:
    """Adds a second, and the searches' p50, while one thread adds and another searches."""
    queries = vehicles.block(0, 64, view=3)
    stop = threading.Event()
    added = 0

    def write(gallery: LocalGallery) -> None:
        nonlocal added
        while not stop.is_set():
            gallery.add(_entries(vehicles.block(first + added, BATCH), first + added))
            added += BATCH

    with _open(folder, writable=True) as gallery:
        writer = threading.Thread(target=write, args=(gallery,))
        begun = time.perf_counter()
        writer.start()
        times: list[float] = []
        while time.perf_counter() - begun < seconds:
            times.append(_timed(gallery.search, queries[len(times) % len(queries)], K)[1])
        stop.set()
        writer.join()
        elapsed = time.perf_counter() - begun
    return {
        "adds_per_second": added / elapsed,
        "searches_per_second": len(times) / elapsed,
        "search_p50_ms": 1e3 * float(np.median(times)),
        "search_p99_ms": 1e3 * float(np.percentile(times, 99)),
    }


def run(folder: Path, rows: int, dimension: int, index: str, queries: int, seconds: float) -> dict[str, Any]:
    """All of it for one gallery."""
    vehicles = Vehicles(dimension)
    result: dict[str, Any] = {"rows": rows, "dimension": dimension, "index": index}
    result["fill"] = fill(folder, vehicles, rows, dimension, index)
    result["start"] = measure_start(folder, dimension)
    with _open(folder) as gallery:
        made = gallery.synchronizer.derived.index
        result["made"] = "exact" if made is None else made.factory
        result["probes"] = 0 if made is None else made.effort.probes
        asked = np.concatenate([vehicles.block(BATCH * n, 8, view=1)[:1] for n in range(queries)])
        result["searches"] = measure_searches(gallery, asked, SELECTIVITIES)
    result["disk_mb"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    if seconds:
        result["mixed"] = measure_mixed(folder, vehicles, rows, seconds)
    return result


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.benchmark",
        examples=["--rows 20000 --rows 200000 --dimension 512 --out build/benchmark"],
        description="Measure recall, speed, memory, start-up and adding of a gallery of made-up vehicles.",
    )
    parser.add_argument("--rows", type=int, action="append", metavar="N", help="default: 20000; repeatable")
    parser.add_argument("--dimension", type=int, default=1024, metavar="D", help="default: 1024")
    parser.add_argument("--index", action="append", metavar="SPEC", help="default: auto; repeatable")
    parser.add_argument("--queries", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument(
        "--mixed-seconds", type=float, default=10.0, help="of adding and searching at once; 0 for none"
    )
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where galleries are made and deleted")
    parser.add_argument("--out", type=Path, metavar="DIR", help="results.json and SVG plots go here")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    sizes, specs = args.rows or [20_000], [check_index(spec) for spec in args.index or ["auto"]]
    if min(sizes) < 1000 or args.dimension < 8 or args.queries < 1:
        raise UserError("--rows, --dimension, --queries: at least 1000, 8 and 1")
    runs = []
    for rows in sizes:
        for spec in specs:
            with tempfile.TemporaryDirectory(prefix="gallery-", dir=args.scratch) as folder:
                gallery = Path(folder) / "gallery"
                result = run(gallery, rows, args.dimension, spec, args.queries, args.mixed_seconds)
            runs.append(result)
            print(_summary(result))
    content = {"cpus": os.cpu_count(), "runs": runs}
    if args.out:
        write_text(args.out / "results.json", json.dumps(content, indent=2) + "\n")
        for name, title in (("p50_ms", "Median search, ms"), ("recall", "Recall@10")):
            lines = {
                f"{r['made']} {r['rows']:,}": [(s["selectivity"], s[name]) for s in r["searches"]]
                for r in runs
            }
            chart = line_chart(title, "share of rows that meet the filter", lines, log_y=name == "p50_ms")
            write_text(args.out / f"{name}.svg", chart)
    if args.json:
        print(json.dumps(content))
    return 0


def _summary(result: dict[str, Any]) -> str:
    lines = [
        f"{result['rows']:,} rows of {result['dimension']}, {result['made']}: "
        f"{result['fill']['adds_per_second']:.0f} adds/s, index "
        f"after {result['fill']['index_seconds']:.1f} s, "
        f"start {result['start']['start_seconds']:.2f} s, {result['start']['resident_mb']:.0f} MB "
        f"({result['start']['of_flat']:.2f} of flat)"
    ]
    lines += [
        f"  {s['selectivity']:8.2%}  recall {s['recall']:.4f}  p50 {s['p50_ms']:8.2f} ms  "
        f"{s['of_exact']:.3f} of exact ({s['exact_ms']:.1f} ms)  missing {s['missing']}"
        for s in result["searches"]
    ]
    if "mixed" in result:
        mixed = result["mixed"]
        lines.append(
            f"  while searching: {mixed['adds_per_second']:.0f} adds/s, "
            f"search p50 {mixed['search_p50_ms']:.1f} ms, "
            f"p99 {mixed['search_p99_ms']:.1f} ms"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
