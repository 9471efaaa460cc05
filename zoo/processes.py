"""Processes: how this project starts its own modules, and whose children are whose."""

import os
import sys
from contextlib import suppress
from pathlib import Path


def children(process: int) -> list[int]:
    """List the children of a process, from whichever of its threads they were started; on Linux, and none
    elsewhere."""
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended meanwhile
            found += map(int, file.read_text(encoding="ascii").split())
    return found


def own_module(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and environment that run a module of this project, not one of a folder of that name in the
    user's working directory."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return [sys.executable, "-P", "-m", module, *arguments], environment
