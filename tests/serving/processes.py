"""What the tests ask of the process table."""

import time
from pathlib import Path


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


def command_line(process: int) -> str:
    """Return a process's command line."""
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def wait_until_gone(session: int, seconds: float) -> list[int]:
    """Wait for a session to empty; return who is left."""
    deadline = time.monotonic() + seconds
    while (left := session_members(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
