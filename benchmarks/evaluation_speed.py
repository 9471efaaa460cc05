"""`python -m benchmarks.evaluation_speed`: mAP, CMC and mINP against plain implementations of the definition.

All sides judge the same embeddings in one run, in turns, and must agree to 1e-9. Peak memory is that of a
fresh process a side, over what is resident once it holds the embeddings.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable

import numba
import numpy as np
from tqdm import tqdm

from benchmarks.memory import in_fresh_process, reset_peak, resident
from training.evaluation.metrics import evaluate_ranking
from zoo.errors import UserError, exit_on_user_error

Task = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Arguments of `evaluate_ranking`."""

Figures = tuple[float, float, float, float, float]
"""mAP, mINP and the CMC at 1, 5 and 10."""

MIB = 2**20
VERI = (1678, 11579, 1024)


def draw_task(queries: int, gallery: int, dimension: int, vehicles: int = 200, cameras: int = 19) -> Task:
    """Clusters with noise, as a trained model makes them: float32, mAP of some 70 %."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(vehicles, dimension)).astype(np.float32)
    ids = [rng.integers(0, vehicles, n) for n in (queries, gallery)]
    seen = [rng.integers(0, cameras, n) for n in (queries, gallery)]
    images = []
    for own in ids:
        noise = rng.standard_normal((len(own), dimension), np.float32)
        noise *= rng.uniform(1.0, 4.0, (len(own), 1)).astype(np.float32)
        noise += centres[own]
        images.append(noise)
    return images[0], images[1], ids[0], ids[1], seen[0], seen[1]


def ours(task: Task) -> Figures:
    """The project's evaluation."""
    found = evaluate_ranking(*task)
    return (
        found.mean_average_precision,
        found.mean_inverse_negative_penalty,
        found.rank(1),
        found.rank(5),
        found.rank(10),
    )


def plain(task: Task) -> Figures:
    """Query by query: its distances by a matrix-vector product, a sort, a Python loop down the ranking."""
    known = task[1].astype(np.float64)
    squares = (known**2).sum(1)
    rows = (squares - 2.0 * known @ row for row in task[0].astype(np.float64))
    return _judged(rows, task, _judge)


def matrix(task: Task) -> Figures:
    """One matrix of all distances by a product, a sort a query, and a Python loop down its ranking."""
    return _judged(_distances(task), task, _judge)


def compiled(task: Task) -> Figures:
    """The same with the loop compiled, as Cython would."""
    return _judged(_distances(task), task, _judge_compiled)


def _distances(task: Task) -> np.ndarray:
    asked, known = task[0].astype(np.float64), task[1].astype(np.float64)
    return (known**2).sum(1) - 2.0 * asked @ known.T


def _judged(
    rows: Iterable[np.ndarray], task: Task, judge: Callable[..., tuple[float, float, int]]
) -> Figures:
    _, _, query_ids, gallery_ids, query_cameras, gallery_cameras = task
    judged = []
    for q, row in enumerate(rows):
        order = np.argsort(row, kind="stable")
        precision, penalty, first = judge(order, gallery_ids, gallery_cameras, query_ids[q], query_cameras[q])
        if first >= 0:
            judged.append((precision, penalty, first))
    precisions, penalties, firsts = (np.array(values) for values in zip(*judged, strict=True))
    at = [float((firsts < k).mean()) for k in (1, 5, 10)]
    return float(precisions.mean()), float(penalties.mean()), at[0], at[1], at[2]


def _judge(order, ids, cameras, own_id, own_camera):  # type: ignore[no-untyped-def]
    """Average precision, inverse negative penalty and 0-based first match (-1: none) of one ranking."""
    position, found, last, first, total = 0, 0, 0, -1, 0.0
    for g in order:
        if ids[g] == own_id and cameras[g] == own_camera:
            continue
        position += 1
        if ids[g] == own_id:
            found += 1
            total += found / position
            last = position
            if first < 0:
                first = position - 1
    return (total / found, found / last, first) if found else (0.0, 0.0, -1)


_judge_compiled = numba.njit(cache=True)(_judge)

SIDES: dict[str, Callable[[Task], Figures]] = {
    "ours": ours,
    "compiled": compiled,
    "matrix": matrix,
    "plain": plain,
}


def peak_memory(side: str, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Bytes over the embeddings, and of the whole process, at the side's peak; for a process of its own."""
    small = draw_task(20, 60, shape[2])
    # Compilers and thread pools are there before the count begins, for each side alike.
    SIDES[side](small)
    task = draw_task(*shape)
    before = reset_peak()
    SIDES[side](task)
    peak = resident("VmHWM")
    return peak - before, peak


def measure(shape: tuple[int, int, int], sides: list[str], repeats: int) -> dict[str, object]:
    """Time and judge; the plain side, which takes half a minute, runs once."""
    small, task = draw_task(20, 60, shape[2]), draw_task(*shape)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    worked: dict[str, list[float]] = {side: [] for side in sides}
    figures: dict[str, Figures] = {}
    for side in sides:
        SIDES[side](small)
    for turn in tqdm(range(repeats), desc="turns", leave=False):
        for side in sides:
            if side == "plain" and turn:
                continue
            start, began = time.perf_counter(), time.process_time()
            figures[side] = SIDES[side](task)
            seconds[side].append(time.perf_counter() - start)
            worked[side].append(time.process_time() - began)
    for side in sides:
        gap = max(abs(a - b) for a, b in zip(figures[side], figures[sides[0]], strict=True))
        if gap > 1e-9:
            raise AssertionError(f"{side} and {sides[0]} differ by {gap}")
    del task
    memory = {side: in_fresh_process(peak_memory, side, shape) for side in sides}
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    cpu = {side: statistics.median(values) for side, values in worked.items()}
    return {
        "queries": shape[0],
        "gallery": shape[1],
        "dimension": shape[2],
        "figures": dict(zip(("mAP", "mINP", "rank1", "rank5", "rank10"), figures[sides[0]], strict=True)),
        "features_mib": (shape[0] + shape[1]) * shape[2] * 4 / MIB,
        "sides": {
            side: {
                "seconds": medians[side],
                "slower": medians[side] / medians[sides[0]],
                "cpu_seconds": cpu[side],
                "cpu_slower": cpu[side] / cpu[sides[0]],
                "extra_mib": memory[side][0] / MIB,
                "process_mib": memory[side][1] / MIB,
            }
            for side in sides
        },
    }


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation_speed", description=__doc__)
    for name, default in zip(("queries", "gallery", "dimension"), VERI, strict=True):
        parser.add_argument(f"--{name}", type=int, default=default, help="[%(default)s, VeRi's]")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="[all]")
    parser.add_argument("--repeats", type=int, default=5, help="turns; plain runs in the first [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    shape = (arguments.queries, arguments.gallery, arguments.dimension)
    if min(*shape, arguments.repeats) < 1:
        raise UserError("--queries, --gallery, --dimension and --repeats must be at least 1")
    result = measure(shape, arguments.sides, arguments.repeats)
    print(f"{shape[0]} x {shape[1]} x {shape[2]}, embeddings {result['features_mib']:.0f} MiB")
    print(f"{'':10}{'seconds':>9}{'times':>8}{'CPU s':>8}{'times':>8}{'over them':>13}{'process':>12}")
    for side, row in result["sides"].items():  # type: ignore[attr-defined]
        print(
            f"{side:10}{row['seconds']:9.2f}{row['slower']:8.1f}{row['cpu_seconds']:8.2f}{row['cpu_slower']:8.1f}"
            f"{row['extra_mib']:9.0f} MiB"
            f"{row['process_mib']:8.0f} MiB"
        )
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
