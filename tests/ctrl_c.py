"""Ctrl-C as a terminal gives it."""

import os
import signal
import subprocess


def heed() -> None:
    """To be run in a child before it becomes a command: a suite in the background passes on deaf ears."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def press(process: "subprocess.Popen[str]", patience: float = 60) -> tuple[int, str]:
    """Interrupt everybody in the session of `process`; return its exit code and stderr."""
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=patience)
    return process.returncode, stderr
