"""Serve a bundle with a real tritonserver: `python -m serving.launch --bundle build/bundle`."""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from serving.server import TritonServer
from zoo.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command: serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m serving.launch", description=__doc__)
    parser.add_argument(
        "--bundle",
        type=Path,
        default=Path("build/bundle"),
        help="folder of the bundle (default: %(default)s)",
    )
    for service in ("grpc", "http", "metrics"):
        parser.add_argument(
            f"--{service}-port", type=int, metavar="PORT", help="a free one is chosen by default"
        )
    parser.add_argument("--log", type=Path, help="file for the server's log; without it, the log is not kept")
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        help="seconds to wait for the first answer (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print the addresses only, as one JSON line")
    arguments = parser.parse_args(argv)

    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # While it starts, stop() must interrupt whatever is waiting; later, the event is enough.
        if not serving:
            raise KeyboardInterrupt
        stopping.set()

    serving = False
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server = TritonServer(
            arguments.bundle,
            grpc_port=arguments.grpc_port,
            http_port=arguments.http_port,
            metrics_port=arguments.metrics_port,
            log=arguments.log,
            start_timeout=arguments.timeout,
        )
        with server:
            serving = True
            print(
                json.dumps({"grpc": server.grpc, "http": server.http, "metrics": server.metrics}), flush=True
            )
            if not arguments.json:
                print(f"serving {server.bundle.card.name}; Ctrl-C stops it", file=sys.stderr, flush=True)
            while not stopping.wait(0.5):
                server.check()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


if __name__ == "__main__":
    sys.exit(main())
