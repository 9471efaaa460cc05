"""Ctrl-C as a terminal gives it: to a command and to every process that it has started."""

import os
import signal
import subprocess
import sys


def start(module: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start one of the project's commands in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed,  # noqa: PLW1509 - no thread of the tests holds a lock that this needs
    )


def press(process: "subprocess.Popen[str]", patience: float = 60) -> tuple[int, str]:
    """Press Ctrl-C; return the command's exit code and stderr."""
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=patience)
    return process.returncode, stderr


def _heed() -> None:
    """A shell starts what runs in the background deaf to Ctrl-C, and the tests may be just that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
