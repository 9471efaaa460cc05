"""`python -m benchmarks.gpu`: what one card does with this project, in at most six minutes.

Data are drawn and held in the card's memory, so that the card is measured and not a disk; what feeds it is
measured apart. A part that fails, or for which no time is left, does not take the others with it; the report
says so. With --write, the figures go into docs/gpu.md.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu.feeding import measure_loader
from benchmarks.gpu.inference import measure_evaluation, measure_onnx
from benchmarks.gpu.page import table, write_page
from benchmarks.gpu.steps import measure_learning, measure_steps
from training.distributed.devices import KINDS, enter_device
from training.distributed.facts import machine_facts
from zoo.errors import exit_on_user_error
from zoo.files import write_text

Part = Callable[[], dict[str, Any]]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure one card.")
    parser.add_argument("--device", choices=tuple(KINDS), default="cuda", help="[%(default)s]")
    parser.add_argument("--size", type=int, default=256, help="side of the images [%(default)s]")
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[32, 128, 512],
        metavar="N",
        help="images a step [32 128 512]",
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement [%(default)s]")
    parser.add_argument("--limit", type=float, default=360.0, help="seconds of all [%(default)s]")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--out", type=Path, default=Path("build/gpu.json"), help="[%(default)s]")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page too")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON line at the end")
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure part by part; exit code 1 where one failed."""
    arguments = parse_arguments(argv)
    device = enter_device(KINDS[arguments.device])
    size, seconds, large = arguments.size, arguments.seconds, max(arguments.batches)
    parts: dict[str, Part] = {
        "steps": lambda: measure_steps(device, size, arguments.batches, seconds, compiled=False),
        "learning": lambda: measure_learning(device, size, steps=20),
        "loader": lambda: measure_loader(device, size, seconds),
        "evaluation": lambda: measure_evaluation(device, size, large, seconds),
        "onnx": lambda: measure_onnx(device, size, min(64, large), seconds),
    }
    if not arguments.no_compile:
        # Last, because it takes minutes.
        parts["compiled"] = lambda: measure_steps(device, size, [large], seconds, compiled=True)
    report: dict[str, Any] = {"facts": machine_facts(device), "size": size, "parts": {}}
    began = time.monotonic()
    for name, part in parts.items():
        report["parts"][name] = run_part(name, part, arguments.limit - (time.monotonic() - began))
        # Whole after each part, so that a run that is ended has told what it knew.
        report["seconds"] = round(time.monotonic() - began, 1)
        write_text(arguments.out, json.dumps(report, indent=2) + "\n")
    print(table(report))
    if arguments.write:
        write_page(arguments.write, report)
    if arguments.json:
        print(json.dumps(report))
    return int(any("error" in part for part in report["parts"].values()))


def run_part(name: str, part: Part, left: float) -> dict[str, Any]:
    """Run one part, or say why not."""
    if left <= 0:
        return {"skipped": "no time was left"}
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        found = part()
    except ImportError as error:
        found = {"skipped": f"{error.name} is not installed"}
    except Exception as error:
        traceback.print_exc()
        found = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
    return {**found, "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    sys.exit(main())
