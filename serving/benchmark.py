"""How fast a bundle is, against what it should be compared with: `python -m serving.benchmark --bundle B`.

Every row has its sides in one run, in turns, and gives medians. Which rows there are depends on what is
given; with all that can be given and `--seconds 60`, it takes about ten minutes.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from serving.benchmarks import report, rows
from serving.benchmarks import served as benchmark_served
from serving.bundle import Bundle
from serving.engines.timing import machine
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error

Row = Callable[[], dict[str, Any]]


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure, print the figures, write them where that is wanted."""
    parser = CommandParser(
        module="serving.benchmark", examples=["--bundle build/bundle --triton --json"], description=__doc__
    )
    parser.add_argument("--bundle", type=Path, default=Path("build/bundle"), help="default: %(default)s")
    parser.add_argument("--against", type=Path, metavar="BUNDLE", help="one of another precision to compare")
    parser.add_argument("--weights", help="a model's name or .safetensors file, to compare with eager torch")
    parser.add_argument("--triton", action="store_true", help="measure a Triton server too")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="a row takes, some of them half (default: %(default)g)"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the figures between its marks")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    if arguments.threads < 1 or arguments.seconds <= 0:
        raise UserError("--threads must be at least 1, and --seconds more than 0")
    bundle = Bundle.open(arguments.bundle)
    if bundle.card.pose_inputs:
        raise UserError(f"{arguments.bundle}: the benchmark sends images alone; name an RGB-only bundle")
    if arguments.write is not None:
        # A page that has no place for them is refused before anything is measured.
        report.around_figures(arguments.write)
    setting = rows.Setting(bundle, arguments.threads, arguments.seconds, rows.make_images(32))
    work = _choose(setting, arguments)
    found: dict[str, Any] = {"model": bundle.card.name, "size": list(bundle.card.input_size)}
    found |= {"precision": bundle.precision, "threads": arguments.threads, "machine": machine()}
    began = time.monotonic()
    for name, measure in tqdm(work.items(), "benchmark", unit="row", leave=False):
        # A server gives several rows.
        found |= measure() if name == "served" else {name: measure()}
    found["minutes"] = (time.monotonic() - began) / 60
    print(report.render(found))
    if arguments.write is not None:
        report.write(arguments.write, found)
    if arguments.json:
        print(json.dumps(found))
    return 0


def _choose(setting: rows.Setting, arguments: argparse.Namespace) -> dict[str, Row]:
    """Name the rows that can be measured with what is given."""
    other = None
    if arguments.against is not None:
        other = Bundle.open(arguments.against)
        same = other.card.input_size == setting.bundle.card.input_size and not other.card.pose_inputs
        if not same or other.precision == setting.bundle.precision:
            raise UserError(
                f"{arguments.against}: must be of another precision than --bundle and of its input size"
            )
    work: dict[str, Row] = {
        "single": lambda: rows.single_image(setting),
        "batches": lambda: rows.batch_sweep(setting),
        "threads_sweep": lambda: rows.thread_sweep(setting),
        "engines": lambda: rows.engine_sides(setting, other),
    }
    if setting.threads > 1:
        work["dealing"] = lambda: rows.dealt_against_shared(setting)
    if arguments.weights is not None:
        work["eager"] = lambda: rows.against_eager(setting, arguments.weights)
    if other is not None:
        work["precision_ratio"] = lambda: rows.against_other(setting, other)
    if arguments.triton:
        work["served"] = lambda: benchmark_served.served(setting, arguments.weights)
    return work


if __name__ == "__main__":
    sys.exit(main())
