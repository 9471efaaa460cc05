"""Load on a served model, every answer checked against its own image: `python -m benchmarks.serving_load`.

Clients ask a server that this command starts by `serving.launch --restarts`, each with images of its own
choice and some malformed ones. An answer counts as wrong when it is not the one that the in-process encoder
gives for that very image. With `--kill`, the network's worker, the decoder and the server are killed on the
way, and `serving.launch` has to notice; a recovery takes from the kill to the first right answer to a request
that was sent after it.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.launched_server import VICTIMS, Killer, Recovery, launched
from benchmarks.load_clients import Asked, Load, make_images
from benchmarks.processes import resident_bytes
from serving.encoders.in_process import OnnxEncoder
from zoo.errors import exit_on_user_error

DRIFT_PERCENT = 3.0
"""Resident memory may have grown by so much since the warm-up."""

WARM_UP_SECONDS = 60.0
"""Or a third of a shorter run. Arenas of all batch sizes and the workers' pools are filled by then."""


def count(asked: list[Asked], recoveries: list[Recovery]) -> dict[str, int]:
    """Count the outcomes; what was lost because of a kill apart from what should never be lost."""
    outages = [
        (recovery.at, float("inf") if recovery.seconds is None else recovery.at + recovery.seconds)
        for recovery in recoveries
    ]
    outcomes = Counter(each.outcome for each in asked)
    in_outages = sum(
        each.outcome == "lost" and any(each.sent <= end and each.ended >= start for start, end in outages)
        for each in asked
    )
    return {
        "requests": len(asked),
        "right": outcomes["right"],
        "wrong": outcomes["wrong"],
        "malformed_refused": outcomes["refused"],
        "malformed_answered": outcomes["taken"],
        "lost": outcomes["lost"] - in_outages,
        "lost_in_outages": in_outages,
    }


def memory(samples: list[tuple[float, int]], seconds: float) -> dict[str, float | None]:
    """Tell how resident memory went.

    Args:
        samples: (seconds since the start, bytes) of the server and its workers, of one life of it.
        seconds: of the run.

    Returns:
        MB at the end of the warm-up and of the run, medians over a tenth of what lies between, the largest,
        and the drift from one to the other in percent; None where the run was too short to tell.
    """
    warm_up = min(WARM_UP_SECONDS, seconds / 3)
    sizes = [size / 1e6 for at, size in samples if at >= warm_up]
    width = max(3, len(sizes) // 10)
    if len(sizes) < 2 * width:
        return {"start_mb": None, "end_mb": None, "max_mb": None, "drift_percent": None}
    start, end = statistics.median(sizes[:width]), statistics.median(sizes[-width:])
    return {
        "start_mb": round(start, 1),
        "end_mb": round(end, 1),
        "max_mb": round(max(size / 1e6 for _, size in samples), 1),
        "drift_percent": round(100 * (end / start - 1), 2),
    }


def measure(bundle: Path, seconds: float, concurrency: int, malformed: float, kill: bool) -> dict[str, Any]:
    """Run the load; everything that is known of it in the end."""
    images = make_images()
    encoder = OnnxEncoder(bundle)
    expected = encoder.encode(images).embedding
    encoder.close()
    with launched(bundle) as server:
        load = Load(server.grpc, images, expected, malformed)
        killer = Killer(server, load, seconds)
        samples: list[tuple[float, int]] = []
        began = time.monotonic()
        process = server.pid

        def sample() -> None:
            samples.append((time.monotonic() - began, resident_bytes(process)))

        idle = resident_bytes(process)
        load.run(seconds, concurrency, killer if kill else sample)
        killer.look()
    return {
        **count(load.asked, killer.recoveries),
        "requests_per_second": round(len(load.asked) / seconds, 1),
        "seconds": seconds,
        "concurrency": concurrency,
        "rss": {"idle_mb": round(idle / 1e6, 1), **memory(samples, seconds)},
        "recoveries": [
            {key: value for key, value in asdict(recovery).items() if key != "at"}
            for recovery in killer.recoveries
        ],
        "restarts": len(server.restarts),
    }


def failures(result: dict[str, Any], kill: bool) -> list[str]:
    """Name what a sound server would not show."""
    drift = result["rss"]["drift_percent"]
    recovered = [recovery for recovery in result["recoveries"] if recovery["seconds"] is not None]
    found = {
        "no answer was right": result["right"] == 0,
        "answers were wrong": result["wrong"] > 0,
        "malformed images were answered": result["malformed_answered"] > 0,
        "answers were lost": result["lost"] > 0,
        f"memory grew by more than {DRIFT_PERCENT}%": drift is not None and drift > DRIFT_PERCENT,
        "it did not recover from every kill": kill and len(recovered) < len(VICTIMS),
        "it was restarted without a kill": result["restarts"] > len(result["recoveries"]),
    }
    return [name for name, is_so in found.items() if is_so]


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where something was wrong, lost, or grew."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, default=Path("build/bundle"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--malformed", type=float, default=0.05, help="share of the images (default: 0.05)")
    parser.add_argument(
        "--kill",
        action="store_true",
        help=f"kill on the way: {', '.join(VICTIMS)}; memory is not judged then",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    arguments = parser.parse_args(argv)
    result = measure(
        arguments.bundle,
        60 * arguments.minutes,
        arguments.concurrency,
        arguments.malformed,
        arguments.kill,
    )
    for name, value in itertools.chain(result.items(), result["rss"].items()):
        if not isinstance(value, dict | list | None):
            print(f"{name}: {value}")
    for recovery in result["recoveries"]:
        print("killed the {killed}: {seconds} s until it answered again ({cause})".format(**recovery))
    failed = failures(result, arguments.kill)
    for reason in failed:
        print(f"failed: {reason}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({**result, "failed": failed}))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
