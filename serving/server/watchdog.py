"""Runs a server for a parent process and ends it when the parent ends, however the parent ends.

Started by `serving.server.server` as a script of its own (standard library only):
`server_watchdog.py PARENT_PID GRACE_SECONDS SHM_PREFIX RUN_FOLDER COMMAND...`.
A process of its own, because a signal tied to the parent's death fires when the starting *thread* ends, and
because after kill -9 of the parent somebody must still remove the shared memory and the run folder.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.1


def main(arguments: list[str]) -> int:
    """Run the command until it ends, SIGTERM arrives or the parent is gone; return its exit code."""
    parent, grace, shm_prefix, run_folder = int(arguments[0]), float(arguments[1]), arguments[2], arguments[3]
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    libc = ctypes.CDLL(None)
    server = subprocess.Popen(
        arguments[4:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # For the case that this watchdog itself is killed. It has one thread, so running Python here is safe.
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509
    )
    try:
        Path(run_folder, "server.pid").write_text(str(server.pid), encoding="ascii")
        while server.poll() is None and not stopping and os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
    finally:
        _end(server, grace)
        for region in Path("/dev/shm").glob(f"{shm_prefix}*"):
            region.unlink(missing_ok=True)
        if os.getppid() != parent:
            shutil.rmtree(run_folder, ignore_errors=True)
    return server.returncode


def _end(server: "subprocess.Popen[bytes]", grace: float) -> None:
    """SIGTERM, then SIGKILL for the whole group: the Python backend's workers belong to it."""
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
