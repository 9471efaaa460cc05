"""The demo's stages: the project's own commands, each in a process that is stopped in order."""

import contextlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import UserError

_STOP_SECONDS = 20


def start(title: str, module: str, *arguments: str | Path) -> "subprocess.Popen[str]":
    """Start one of the project's commands, with the answer wanted as JSON.

    It gets a session of its own, so that Ctrl-C reaches this process alone, which stops the others in order.
    """
    print(f"\n== {title}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", module, *map(str, arguments), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def stop(process: "subprocess.Popen[str]") -> None:
    """End a command as Ctrl-C does; kill it where that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(title: str, module: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a stage to its end; its progress goes to the terminal, its last line of stdout is the answer.

    Raises:
        UserError: the stage failed; it has already said why on stderr.
    """
    process = start(title, module, *arguments)
    try:
        output, _ = process.communicate()
    finally:
        stop(process)
    if process.returncode != 0:
        raise UserError(
            f"the stage '{title}' ended with exit code {process.returncode}; its message stands above"
        )
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer


@contextlib.contextmanager
def service(title: str, module: str, *arguments: str | Path) -> Iterator[dict[str, Any]]:
    """Start a service, yield the line of JSON that it prints when it is ready, and stop it at the end."""
    process = start(title, module, *arguments)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
                break
        else:
            code = process.wait()
            raise UserError(
                f"'{title}' ended with exit code {code} before it was ready; its message stands above"
            )
    finally:
        stop(process)


def check_page(address: str) -> None:
    """Raise unless a page answers."""
    try:
        with urllib.request.urlopen(address, timeout=30) as response:
            if response.status != 200:
                raise UserError(f"{address}: the page answers with status {response.status}")
    except urllib.error.URLError as error:
        raise UserError(f"{address}: the page does not answer ({error.reason})") from error
