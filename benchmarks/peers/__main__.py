"""`python -m benchmarks.peers`: the gallery beside other stores of vectors, on the same clustered vectors.

Each engine works in processes of its own, with one thread where it can be told to. The peers are no
dependency of the project; give an environment that has them:

    python -m venv peers && peers/bin/pip install usearch hnswlib lancedb qdrant-client milvus-lite pymilvus
    python -m benchmarks.peers --python peers/bin/python --out docs
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.peers.engines import ENGINES
from retrieval.benchmark import BATCH, K, Vehicles
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.line_chart import line_chart

SHARES = (1.0, 0.1, 0.01, 0.001)
QUERIES = 120
KILLED_AFTER = 8
"""Adds that were acknowledged when a process is killed."""

WORKER = Path(__file__).with_name("worker.py")


def make_data(folder: Path, rows: int, dimension: int) -> None:
    """Write the vectors, each row's value in 0..1, queries, and the true neighbours by share of rows."""
    vehicles = Vehicles(dimension)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows, dimension))
    for start in range(0, rows, BATCH):
        vectors[start : start + BATCH] = vehicles.block(start, min(BATCH, rows - start))
    blocks = np.linspace(0, (rows - 1) // BATCH, QUERIES).astype(int) * BATCH
    queries = np.concatenate([vehicles.block(block, 8, view=1)[:1] for block in blocks.tolist()])
    values = np.random.default_rng(1).random(rows)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "values.npy", values)
    np.save(folder / "dimension.npy", np.array(dimension))
    write_truth(folder, rows)


def write_truth(folder: Path, rows: int) -> None:
    """Write each query's true neighbours among the first rows, by share of them that a filter allows."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")[:rows]
    queries, values = np.load(folder / "queries.npy"), np.load(folder / "values.npy")[:rows]
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    truth: dict[float, list[np.ndarray]] = {share: [] for share in SHARES}
    for part in np.array_split(queries, 10):
        distances = squares - 2.0 * (part @ vectors.T)
        for share in SHARES:
            allowed = np.flatnonzero(values < share)
            nearest = np.argpartition(distances[:, allowed], K - 1)[:, :K]
            truth[share].append(allowed[nearest])
    for share, found in truth.items():
        np.save(folder / f"truth-{share}.npy", np.concatenate(found))


def start(python: str, name: str, phase: str, data: Path, store: Path, *more: str) -> subprocess.Popen[str]:
    """Begin one phase in a process of its own; see `worker.py`."""
    root = str(WORKER.parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    command = [python, str(WORKER), name, phase, str(data), str(store), *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def answer(python: str, name: str, phase: str, data: Path, store: Path, *more: str) -> dict[str, Any]:
    """Run one phase.

    Raises:
        UserError: it failed.
    """
    out, err = start(python, name, phase, data, store, *more).communicate()
    try:
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError) as error:
        lines = err.strip().splitlines()
        raise UserError(f"{name}: {phase} failed: {lines[-1] if lines else 'no answer'}") from error
    return found


def kill_amid_adds(python: str, name: str, data: Path, store: Path) -> dict[str, int]:
    """Rows that were acknowledged when the process was killed, and those there afterwards."""
    process = start(python, name, "endure", data, store)
    assert process.stdout is not None
    acknowledged = 0
    for _ in range(KILLED_AFTER):
        acknowledged = int(process.stdout.readline() or acknowledged)
    process.send_signal(signal.SIGKILL)
    # What it said between the last line that was read and its end was acknowledged too.
    rest = process.communicate()[0].split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    try:
        there = int(answer(python, name, "survived", data, store)["rows"])
    except UserError:
        there = 0
    return {"acknowledged": acknowledged, "there": there}


def measure(python: str, name: str, data: Path, scratch: Path, rows: int, minutes: float) -> dict[str, Any]:
    """All phases of one engine, with as many of the rows as it takes in within so many minutes."""
    store = scratch / name
    found = answer(python, name, "build", data, store, str(60 * minutes))
    if found["rows"] < rows:
        write_truth(data, found["rows"])
    found["disk_mb"] = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) / 2**20
    found |= answer(python, name, "search", data, store)
    shutil.rmtree(store)
    if found["rows"] < rows:
        write_truth(data, rows)
    found["killed"] = kill_amid_adds(python, name, data, scratch / f"{name}-killed")
    return {"durability": ENGINES[name]().durability, **found}


def table(result: dict[str, Any]) -> str:
    """The figures as two Markdown tables."""
    searched: list[list[str]] = [["recall@10, median / 99th percentile"]]
    searched[0] += [f"{100 * share:g}% of the rows" for share in SHARES]
    kept = [
        ["", "rows", "adds/s", "build", "memory", "disk", "start", "killed: acknowledged, there", "safe from"]
    ]
    failed = []
    for name, row in result["engines"].items():
        if "failure" in row:
            failed.append(row["failure"])
            continue
        cells = [f"{s['recall']:.3f}, {s['p50_ms']:.2f} / {s['p99_ms']:.1f} ms" for s in row["searches"]]
        searched.append([name, *cells])
        cells = [
            name,
            f"{row['rows']}",
            f"{row['adds_per_second']:.0f}",
            f"{row['build_cpu_seconds']:.0f} CPU s",
        ]
        cells += [f"{row['memory_mb']:.0f} MB", f"{row['disk_mb']:.0f} MB", f"{row['start_seconds']:.2f} s"]
        cells += [f"{row['killed']['acknowledged']}, {row['killed']['there']}", row["durability"]]
        kept.append(cells)
    return "\n".join([*_markdown(searched), "", *_markdown(kept), *failed])


def _markdown(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="of the environment that has the peers")
    parser.add_argument("--rows", type=int, default=200_000, help="[%(default)s]")
    parser.add_argument("--dimension", type=int, default=1024, help="[%(default)s]")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="[all]")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="that an engine may add for [no limit]"
    )
    parser.add_argument("--scratch", type=Path, help="where the stores are made and deleted")
    parser.add_argument("--out", type=Path, metavar="DIR", help="images/peers.svg goes here")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    if arguments.rows < 20_000 or arguments.dimension < 8:
        raise UserError("--rows and --dimension must be at least 20000 and 8")
    result: dict[str, Any] = {"rows": arguments.rows, "dimension": arguments.dimension, "engines": {}}
    with tempfile.TemporaryDirectory(prefix="peers-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        data = scratch / "data"
        data.mkdir()
        make_data(data, arguments.rows, arguments.dimension)
        for name in tqdm(arguments.engines, unit="engine", leave=False):
            python = sys.executable if name == "gallery" else arguments.python
            try:
                result["engines"][name] = measure(
                    python, name, data, scratch, arguments.rows, arguments.minutes
                )
            except UserError as error:
                result["engines"][name] = {"failure": str(error)}
            print(name, json.dumps(result["engines"][name]), file=sys.stderr)
    print(table(result))
    if arguments.out:
        lines = {
            name: [(found["share"], found["p50_ms"]) for found in row["searches"]]
            for name, row in result["engines"].items()
            if "searches" in row
        }
        title = f"Median search, ms, {arguments.rows:,} rows"
        chart = line_chart(title, "share of rows that meet the filter", lines, log_y=True)
        write_text(arguments.out / "images" / "peers.svg", chart)
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
