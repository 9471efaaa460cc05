"""What runs in a process of its own, in the environment that has the engine: one phase of one engine.

`python worker.py ENGINE PHASE DATA STORE [SECONDS]`; answers one line of JSON. Needs numpy and the engine
alone.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

K = 10
BATCH = 512
WANTED_RECALL = 0.99
PATIENCE = 30.0
"""Seconds after which searches of one kind end early, but not before `FEWEST` of them."""
FEWEST = 10
TUNED_BY = 20
"""Queries that choose the effort; the others are measured."""
ROUNDS = 10
"""So many times each, as far as patience goes."""


def resident_mb() -> float:
    """Memory of this process that is its own: pages of files that others could have are not."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def build(engine, data: Path, store: Path, most_seconds: float = float("inf")) -> dict[str, float]:
    """Add all rows by batches, or those that could be added in so long, then make what is searched."""
    vectors, values = np.load(data / "vectors.npy", mmap_mode="r"), np.load(data / "values.npy")
    engine.create(store, vectors.shape[1])
    begun, worked = time.perf_counter(), time.process_time()
    rows = 0
    while rows < len(vectors) and time.perf_counter() - begun < most_seconds:
        part = slice(rows, min(rows + BATCH, len(vectors)))
        engine.add(rows, np.array(vectors[part]), values[part])
        rows = part.stop
    added, cpu = time.perf_counter(), time.process_time()
    engine.finish()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rows": rows,
        "adds_per_second": rows / (added - begun),
        "adds_per_cpu_second": rows / (cpu - worked),
        "finish_seconds": time.perf_counter() - added,
        "build_cpu_seconds": time.process_time() - worked,
        "build_peak_mb": usage.ru_maxrss / 1024,
    }


def search(engine, data: Path, store: Path) -> dict[str, object]:
    """Open, choose the effort that reaches the recall, and measure by share of rows allowed."""
    queries, dimension = np.load(data / "queries.npy"), int(np.load(data / "dimension.npy"))
    truth = {float(path.stem.removeprefix("truth-")): np.load(path) for path in data.glob("truth-*.npy")}
    before, begun = resident_mb(), time.perf_counter()
    engine.open(store, dimension)
    engine.search(queries[0], K, None, engine.efforts[0])
    start = time.perf_counter() - begun

    def recall(found: list[list[int]], share: float, first: int) -> float:
        right = truth[share][first : first + len(found)]
        return float(np.mean([len(set(a) & set(b.tolist())) / K for a, b in zip(found, right, strict=True)]))

    for effort in engine.efforts:
        tried = [engine.search(query, K, None, effort) for query in queries[:TUNED_BY]]
        if recall(tried, 1.0, 0) >= WANTED_RECALL:
            break
    rows = []
    for share in sorted(truth, reverse=True):
        found, seconds, worked = [], [], []
        asked = queries[TUNED_BY:]
        for query in np.tile(asked, (ROUNDS, 1)):
            if sum(seconds) > PATIENCE and len(seconds) >= FEWEST:
                break
            at, cpu = time.perf_counter(), time.process_time()
            found.append(engine.search(query, K, None if share == 1.0 else share, effort))
            seconds.append(time.perf_counter() - at)
            worked.append(time.process_time() - cpu)
        rows.append(
            {
                "share": share,
                "searches": len(found),
                "recall": recall(found[: len(asked)], share, TUNED_BY),
                "p50_ms": 1e3 * float(np.median(seconds)),
                "p99_ms": 1e3 * float(np.percentile(seconds, 99)),
                "cpu_p50_ms": 1e3 * float(np.median(worked)),
            }
        )
    return {
        "start_seconds": start,
        "memory_mb": resident_mb() - before,
        "effort": effort,
        "searches": rows,
    }


def endure(engine, data: Path, store: Path) -> dict[str, float]:
    """Add until somebody kills this process, and say after each add how many rows were acknowledged."""
    vectors, values = np.load(data / "vectors.npy", mmap_mode="r"), np.load(data / "values.npy")
    engine.create(store, vectors.shape[1])
    for start in range(0, len(vectors), BATCH):
        part = np.array(vectors[start : start + BATCH])
        engine.add(start, part, values[start : start + BATCH])
        print(start + len(part), flush=True)
    return {}


def survived(engine, data: Path, store: Path) -> dict[str, float]:
    """Count the rows that a killed process left."""
    engine.open(store, int(np.load(data / "dimension.npy")))
    return {"rows": engine.count()}


PHASES = {"build": build, "search": search, "endure": endure, "survived": survived}

if __name__ == "__main__":
    # As a script in an environment without this project, `engines.py` is beside it.
    from engines import ENGINES

    name, phase, data, store, *most_seconds = sys.argv[1:]
    answer = PHASES[phase](ENGINES[name](), Path(data), Path(store), *map(float, most_seconds))
    print(json.dumps(answer), flush=True)
