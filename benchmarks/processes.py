"""The processes of a running server, as the kernel lists them: it leads a session of its own."""

import os
from pathlib import Path

from zoo.processes import children


def session_members(session: int) -> list[int]:
    """List the living processes of a session, zombies left out."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members


def worker_of(server: int, model: str) -> int:
    """Find the process that runs a model of the server for the Python backend; there has to be one.

    Args:
        server: process id of the tritonserver.
        model: its name.
    """
    (worker,) = (process for process in session_members(server) if f"/{model}/" in _command_line(process))
    return worker


def server_of(launch: int) -> int:
    """Find the server that a `serving.launch` process started: the child of its watchdog."""
    (watchdog,) = children(launch)
    (server,) = children(watchdog)
    return server


def resident_bytes(session: int) -> int:
    """Add up the resident memory of a session's processes; shared pages count in each."""
    total = 0
    for process in session_members(session):
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # ended meanwhile
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""  # ended meanwhile
