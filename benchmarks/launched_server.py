"""A server under `serving.launch --restarts`, and how it recovers when parts of it are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load_clients import Load
from benchmarks.processes import server_of, worker_of
from serving.triton.configs import ONNX_MODEL, PREPROCESS_MODEL
from zoo.errors import UserError

CHECK_SECONDS = 2.0
"""Between the questions of `serving.launch` whether the server works."""

VICTIMS = {"network worker": ONNX_MODEL, "decoder worker": PREPROCESS_MODEL, "server": None}
"""What `--kill` kills, in order, and whose worker it is."""


class Launched:
    """A server under `serving.launch --restarts`.

    Attributes:
        grpc: its address, which stays.
        restarts: what the command told of each restart.
    """

    def __init__(self, process: "subprocess.Popen[str]", grpc: str) -> None:
        self._process = process
        self.grpc = grpc
        self.restarts: list[dict[str, Any]] = []

    @property
    def pid(self) -> int:
        """Process id of the server as it is now."""
        return server_of(self._process.pid)

    def listen(self) -> None:
        """Take down restarts until the command ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.restarts.append(json.loads(line))


@contextmanager
def launched(bundle: Path) -> Iterator[Launched]:
    """Serve a bundle until the block ends.

    Raises:
        UserError: the server does not come up; its message stands on stderr.
    """
    command = [sys.executable, "-m", "serving.launch", "--bundle", str(bundle), "--json"]
    command += ["--restarts", "1000", "--check", str(CHECK_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise UserError(f"{bundle}: serving.launch ended; its message stands above")
            server = Launched(process, json.loads(line)["grpc"])
            listener = threading.Thread(target=server.listen)
            listener.start()
            yield server
        finally:
            process.terminate()
    listener.join()


@dataclass
class Recovery:
    """What came of a kill.

    Attributes:
        killed: a key of `VICTIMS`.
        at: when, in seconds of the monotonic clock.
        seconds: until a request that was sent after it was answered rightly; None where none was.
        cause: what `serving.launch` saw.
    """

    killed: str
    at: float
    seconds: float | None = None
    cause: str | None = None


class Killer:
    """Kills one thing after another, when its time has come and what was killed before has recovered."""

    def __init__(self, server: Launched, load: Load, seconds: float) -> None:
        self._server, self._load = server, load
        began = time.monotonic()
        self._due = [
            (began + seconds * (number + 1) / (len(VICTIMS) + 1), name) for number, name in enumerate(VICTIMS)
        ]
        self.recoveries: list[Recovery] = []

    def __call__(self) -> None:
        """Look whether it is time."""
        self.look()
        waiting = self.recoveries and self.recoveries[-1].seconds is None
        if not self._due or time.monotonic() < self._due[0][0] or waiting:
            return
        _, name = self._due.pop(0)
        model = VICTIMS[name]
        server = self._server.pid
        victim = server if model is None else worker_of(server, model)
        os.kill(victim, signal.SIGKILL)
        self.recoveries.append(Recovery(name, time.monotonic()))

    def look(self) -> None:
        """Note the first right answer since the last kill, and the causes that were told."""
        if self.recoveries and self.recoveries[-1].seconds is None:
            last = self.recoveries[-1]
            ends = [
                each.ended for each in self._load.asked if each.outcome == "right" and each.sent > last.at
            ]
            last.seconds = round(min(ends) - last.at, 1) if ends else None
        for recovery, restart in zip(self.recoveries, self._server.restarts, strict=False):
            recovery.cause = restart["cause"].partition("; from its log")[0]
