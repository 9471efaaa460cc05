"""`python -m benchmarks.served_cost --bundle B`: processor time of JPEGs through Triton, and where it goes.

Ready tensors in this process, batch 8, are the side to compare with. All sides take turns; processor seconds
are read of this process and of every process of the server, so that other work on the machine weighs little.
The server has a copy of the network for each of two cores, with one thread each.
"""

import argparse
import json
import statistics
import sys
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from serving.benchmarks.rows import Setting, encode, make_images, of_reference_size, run
from serving.benchmarks.served import serving
from serving.bundle import Bundle
from serving.encoders.triton import TritonEncoder
from serving.engines.timing import Work
from serving.triton.address import TritonAddress
from zoo.errors import exit_on_user_error

COPIES = 2

WAYS = {
    "one image a request, 8 at a time": {"batch": 1, "concurrency": 8},
    "4 images a request, 4 at a time": {"batch": 4, "concurrency": 4},
    "8 images a request, 4 at a time": {"batch": 8},
    "16 images a request, 4 at a time (default)": {},
    "the same through shared memory": {"transport": "shared-memory"},
}

PARTS = ("client", "server", "decoder", "network")


def processes(pid: int) -> list[int]:
    """A process and all that it started."""
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(found for part in children for child in part for found in processes(int(child)))]


def role(pid: int) -> str:
    """What a process of the server does."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    if b"vehicle_preprocess_" in line:
        return "decoder"
    return "network" if b"vehicle_reid_onnx_" in line else "server"


def worked(pids: list[int]) -> dict[str, float]:
    """Processor seconds so far by `role`."""
    seconds = {"server": 0.0, "decoder": 0.0, "network": 0.0}
    for pid in pids:
        # By the nanosecond, where `stat` counts ticks of ten milliseconds; these threads stay.
        threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
        seconds[role(pid)] += sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    return seconds


def measure(setting: Setting, turns: int, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of processor time an image by side: in total, and by who spends them; medians."""
    count = rounds * len(setting.images)
    with ExitStack() as stack:
        server = stack.enter_context(serving(setting, COPIES, 1))
        pids = processes(server.pid)
        model, batch = setting.model(), setting.ready(8)
        sides: dict[str, Work] = {
            "ready tensors in process": lambda: sum(run(model, batch) for _ in range(count // 8))
        }
        for name, options in WAYS.items():
            address = TritonAddress(server.grpc, **options)  # type: ignore[arg-type]
            encoder = stack.enter_context(closing(TritonEncoder(address)))
            sides[name] = partial(encode, encoder, rounds * setting.images)
        for work in sides.values():
            work()
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in tqdm(range(turns), unit="turn", leave=False):
            for name, work in sides.items():
                # Reading the server's times is none of the client's work.
                theirs, own = worked(pids), time.process_time()
                work()
                client = time.process_time() - own
                spent = {part: after - theirs[part] for part, after in worked(pids).items()}
                spent["client"] = client
                spent["total"] = sum(spent.values())
                taken[name].append({part: 1000 * value / count for part, value in spent.items()})
    found = {
        name: {part: statistics.median(row[part] for row in rows) for part in rows[0]}
        for name, rows in taken.items()
    }
    direct = found["ready tensors in process"]["total"]
    for row in found.values():
        row["ratio"] = direct / row["total"]
    return found


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.served_cost", description=__doc__)
    parser.add_argument("--bundle", type=Path, action="append", required=True, help="repeatable")
    parser.add_argument("--weights", help="a model that is exported at 256x256 and measured too")
    parser.add_argument("--turns", type=int, default=7, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=2, help="of 32 images in a turn [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        settings = [Setting(Bundle.open(path), COPIES, 0.0, make_images(32)) for path in arguments.bundle]
        if arguments.weights:
            settings.append(stack.enter_context(of_reference_size(settings[0], arguments.weights)))
        for setting in settings:
            card = setting.bundle.card
            title = f"{card.name}, {'x'.join(map(str, card.input_size))}, {setting.bundle.precision}"
            result[title] = measure(setting, arguments.turns, arguments.rounds)
            heads = "".join(f"{head:>9}" for head in ("total", "ratio", *PARTS))
            print(f"{title}\n{'ms an image':42}{heads}")
            for name, row in result[title].items():
                print(f"{name:42}" + "".join(f"{row[part]:9.2f}" for part in ("total", "ratio", *PARTS)))
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
