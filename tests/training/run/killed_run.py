"""A training that is killed for real."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from training.run.checkpoint import PREVIOUS


def kill_within(argv: list[str], run: Path) -> None:
    """Start a training in a folder, and kill all its processes as soon as it has two checkpoints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "training.launch", *argv, "--out", str(run), "--checkpoint-every", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (run / PREVIOUS).exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
