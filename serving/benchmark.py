"""How fast a bundle is, against what it should be compared with: `python -m serving.benchmark --bundle B`.

Every row has its sides in one run, in turns, and gives medians. Which rows there are depends on what is
given.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from serving import benchmark_rows as rows
from serving.bundle import Bundle
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text

BEGIN, END = "<!-- serving benchmark -->", "<!-- end of the serving benchmark -->"
"""The table's place in docs/export.md."""


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write it where that is wanted."""
    parser = argparse.ArgumentParser(prog="python -m serving.benchmark", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("build/bundle"), help="default: %(default)s")
    parser.add_argument("--against", type=Path, metavar="BUNDLE", help="one of another precision to compare")
    parser.add_argument("--weights", help="a model's name or .safetensors file, to compare with eager torch")
    parser.add_argument("--triton", action="store_true", help="compare a Triton server too")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, help="a row takes (default: %(default)g)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this page's marks")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    if arguments.threads < 1 or arguments.seconds <= 0:
        raise UserError("--threads must be at least 1, and --seconds more than 0")
    bundle = Bundle.open(arguments.bundle)
    if bundle.card.pose_inputs:
        raise UserError(f"{arguments.bundle}: the benchmark sends images alone; name an RGB-only bundle")
    if arguments.write is not None:
        around_table(
            arguments.write
        )  # a page that has no place for it is refused before anything is measured
    setting = rows.Setting(bundle, arguments.threads, arguments.seconds, rows.make_images(32))
    work = _choose(setting, arguments)
    found: dict[str, Any] = {"model": bundle.card.name, "size": list(bundle.card.input_size)}
    found |= {"precision": bundle.precision, "threads": arguments.threads, "machine": machine()}
    for name, measure in tqdm(work.items(), "benchmark", unit="row", leave=False):
        found[name] = measure()
    table = render(found, list(work))
    print(table)
    if arguments.write is not None:
        before, after = around_table(arguments.write)
        write_text(arguments.write, f"{before}\n\n{table}\n\n{after}")
    if arguments.json:
        print(json.dumps(found))
    return 0


def _choose(setting: rows.Setting, arguments: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """Name the rows that can be measured with what is given."""
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "single": lambda: rows.single_image(setting),
        "batches": lambda: rows.batch_sweep(setting),
        "threads_sweep": lambda: rows.thread_sweep(setting),
    }
    if arguments.weights is not None:
        work["eager"] = lambda: rows.against_eager(setting, arguments.weights)
    if arguments.against is not None:
        other = Bundle.open(arguments.against)
        same = other.card.input_size == setting.bundle.card.input_size and not other.card.pose_inputs
        if not same or other.precision == setting.bundle.precision:
            raise UserError(
                f"{arguments.against}: must be of another precision than --bundle and of its input size"
            )
        work["precision_ratio"] = lambda: rows.against_other(setting, other)
    if arguments.triton:
        work["triton"] = lambda: rows.served_against_direct(setting)
    return work


def machine() -> str:
    """Name the processor and its number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def render(found: dict[str, Any], names: list[str]) -> str:
    """Write the figures as a Markdown table."""
    height, width = found["size"]
    lines = [
        f"`{found['model']}`, {height}x{width}, {found['precision']}, {found['threads']} threads, "
        f"{found['machine']}; medians, images/s unless said otherwise.",
        "",
        "| row | figures |",
        "|---|---|",
    ]
    for name in names:
        cells = [f"{key.replace('_', ' ')} {value:.2f}" for key, value in found[name].items()]
        lines.append(f"| {name.replace('_', ' ')} | {', '.join(cells)} |")
    return "\n".join(lines)


def around_table(page: Path) -> tuple[str, str]:
    """Read what stands before and after the table, the marks included.

    Raises:
        UserError: the page cannot be read, or has not got the marks.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page}: cannot be read ({error.strerror}); name a page with the marks") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{page}: has not got the marks `{BEGIN}` and `{END}`, between which the table goes")
    return text.partition(BEGIN)[0] + BEGIN, END + text.partition(END)[2]


if __name__ == "__main__":
    sys.exit(main())
