"""A real `retrieval.app` process for tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running_app(
    *arguments: object,
    stderr: IO[str] | None = None,
    environment: Mapping[str, str] | None = None,
    preexec: Callable[[], object] | None = None,
) -> Iterator[str]:
    """Start the service on a free port and yield its address; end it, and insist that it ends well."""
    command = [sys.executable, "-m", "retrieval.app", "--port", "0", "--json", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        preexec_fn=preexec,  # noqa: PLW1509 - no thread of the tests holds a lock that this needs
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the service ended with {process.wait()}"
        yield json.loads(line)["url"]
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            # 2 s for requests, 5 s for a server's last answers, and a second or two of processor time, which
            # take long where others keep the machine busy.
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
