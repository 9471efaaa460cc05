"""Serve a bundle with a real tritonserver: `python -m serving.launch --bundle build/bundle`.

`--repository` serves one that `serving.repository` has made, with its options. With `--restarts`, the server
is asked for a real inference now and then, and started again when it gives none.
"""

import json
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from serving.server.server import TritonServer
from serving.server.settings import ServerSettings
from serving.triton.repository import Repository
from zoo.command_line import CommandParser
from zoo.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command: serve until SIGINT or SIGTERM."""
    parser = CommandParser(
        module="serving.launch",
        section="serve",
        examples=["--bundle build/bundle --grpc-port 8001"],
        description=__doc__,
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        default=Path("build/bundle"),
        help="folder of the bundle (default: %(default)s)",
    )
    parser.add_argument("--repository", type=Path, help="folder of a Triton repository, instead of a bundle")
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
    parser.add_argument(
        "--poll",
        type=int,
        default=0,
        metavar="SECONDS",
        help="look at the repository so often for a new version (default: never)",
    )
    parser.add_argument(
        "--cache-megabytes", type=int, default=64, help="of a repository with response_cache = true"
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write the timestamps of requests there")
    parser.add_argument(
        "--trace-otlp",
        default="",
        metavar="URL",
        help="send OpenTelemetry's spans of requests there instead, as to http://127.0.0.1:4318/v1/traces",
    )
    parser.add_argument(
        "--trace-rate", type=int, default=1000, metavar="N", help="trace every N-th (default: %(default)d)"
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="N",
        help="start a server again that answers no more, N times at most (default: end with an error)",
    )
    parser.add_argument(
        "--check",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="between the inferences that --restarts asks for (default: %(default)g)",
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
            arguments.bundle if arguments.repository is None else Repository.open(arguments.repository),
            grpc_port=arguments.grpc_port,
            http_port=arguments.http_port,
            metrics_port=arguments.metrics_port,
            log=arguments.log,
            start_timeout=arguments.timeout,
            settings=ServerSettings(
                cache_bytes=arguments.cache_megabytes * 2**20,
                poll_seconds=arguments.poll,
                trace=arguments.trace,
                trace_rate=arguments.trace_rate,
                trace_otlp=arguments.trace_otlp,
            ),
        )
        with server:
            serving = True
            print(json.dumps(_addresses(server)), flush=True)
            if not arguments.json:
                print(f"serving {server.card.name}; Ctrl-C stops it", file=sys.stderr, flush=True)
            if arguments.restarts:
                _watch(server, stopping, arguments.restarts, arguments.check)
            while not stopping.wait(0.5):
                server.check()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _watch(server: TritonServer, stopping: threading.Event, restarts: int, seconds: float) -> None:
    """Start the server again whenever it answers no more, until told to stop or once too often.

    Each restart is a JSON line on stdout with its cause and the addresses, which stay what they were.
    """
    done = 0
    while done < restarts and not stopping.wait(seconds):
        cause = server.failure()
        if cause is None or stopping.is_set():
            continue
        server.kill()
        server.stop()
        server.start()
        done += 1
        print(json.dumps({"restart": done, "cause": cause, **_addresses(server)}), flush=True)


def _addresses(server: TritonServer) -> dict[str, str]:
    return {"grpc": server.grpc, "http": server.http, "metrics": server.metrics}


if __name__ == "__main__":
    sys.exit(main())
