"""Speeds of several ways to do the same, taken in turns, so that a busy machine slows all of them alike; and
of which machine they are."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Work = Callable[[], int]
"""Does a piece of work and tells how many images it was."""


def in_turns(sides: dict[str, Work], seconds: float) -> dict[str, float]:
    """Measure images/s of each side: the median over rounds, each side once a round, after one unmeasured.

    Args:
        sides: work by name.
        seconds: to go on for; three rounds at least.
    """
    for work in sides.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for name, work in sides.items():
            start = time.perf_counter()
            count = work()
            rates[name].append(count / (time.perf_counter() - start))
        rounds += 1
    return {name: statistics.median(values) for name, values in rates.items()}


def under_load(work: Work, concurrency: int, seconds: float) -> dict[str, float]:
    """Do the work in several threads, each again as soon as it is done; the caller has warmed it up.

    Returns:
        `rate` in images/s, `p50_ms` and `p99_ms` of one call.
    """
    found: list[tuple[float, int]] = []

    def repeat() -> None:
        begun = 0.0
        while begun < end:
            begun = time.perf_counter()
            count = work()
            found.append((1000 * (time.perf_counter() - begun), count))

    start = time.perf_counter()
    end = start + seconds
    with ThreadPoolExecutor(concurrency) as pool:
        for task in [pool.submit(repeat) for _ in range(concurrency)]:
            task.result()
    took = time.perf_counter() - start
    times = [milliseconds for milliseconds, _ in found]
    return {
        "rate": sum(count for _, count in found) / took,
        "p50_ms": statistics.median(times),
        "p99_ms": _percentile_99(times),
    }


def latencies(work: Work, seconds: float) -> tuple[float, float]:
    """Measure the median and the 99th percentile of one call, in milliseconds; 20 calls at least."""
    work()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 20 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start))
    return statistics.median(found), _percentile_99(found)


def _percentile_99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


def machine() -> str:
    """Name the processor and its number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"
