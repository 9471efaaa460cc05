"""A Triton server for one bundle, as a context manager: started, proved by a real inference, and stopped."""

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from serving.bundle import Bundle
from serving.probe import failure, probe
from serving.server.binary import find_server
from serving.server.settings import ServerSettings
from serving.triton.client import require_client
from serving.triton.repository import Repository, check_repository, server_flags
from zoo.card import Card
from zoo.errors import UserError

HOST = "127.0.0.1"

_TAIL_LINES = 12

_STARTS = 3
"""On a machine with several times more work than cores, one start in six was seen to crash: the Python
backend faults in its first request. A server that has answered one was never seen to."""

_CRASHES = {256 - number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)}
"""Exit codes of a server that crashed, as the watchdog passes them on."""

_logger = logging.getLogger(__name__)


class TritonServer:
    """A running tritonserver on the loopback address.

    Args:
        source: path of a bundle, or an opened bundle or repository.
        grpc_port: a free one is chosen where None is given; likewise the others.
        http_port: see `grpc_port`.
        metrics_port: see `grpc_port`.
        log: file for the server's log; without one, the log goes with the server.
        start_timeout: seconds until the first inference must have succeeded.
        stop_timeout: seconds that the server gets to end before it is killed.
        settings: what else the server is told.

    Attributes:
        grpc: address as `host:port`; likewise `http` and `metrics`.
        log: path of the server's log.
    """

    def __init__(
        self,
        source: str | Path | Bundle | Repository,
        *,
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        log: str | Path | None = None,
        start_timeout: float = 120.0,
        stop_timeout: float = 10.0,
        settings: ServerSettings | None = None,
    ) -> None:
        self._source = Bundle.open(source) if isinstance(source, str | Path) else source
        self._settings = settings or ServerSettings()
        self._ports: dict[str, int | None] = {"grpc": grpc_port, "http": http_port, "metrics": metrics_port}
        self._log = None if log is None else Path(log)
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._run_folder: Path | None = None
        self._shm_prefix = f"vehicle_reid_{os.getpid()}_{secrets.token_hex(4)}_"

    def __enter__(self) -> Self:
        """Start; see `start`."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the tritonserver itself."""
        assert self._run_folder is not None, "the server is not running"
        return int((self._run_folder / "server.pid").read_text(encoding="ascii"))

    def start(self) -> None:
        """Start the server and wait until it answers a real image.

        Raises:
            UserError: no server can be found, no client is installed to ask it, a port is in use, or the
                server does not come up.
        """
        require_client()
        repository = self._checked_repository()
        for starts_left in reversed(range(_STARTS)):
            try:
                return self._start(repository)
            except BaseException as error:
                code = None if self._process is None else self._process.poll()
                self.stop()
                if not (isinstance(error, UserError) and code in _CRASHES and starts_left):
                    raise
                _logger.warning(
                    "the Triton server crashed as it started (exit code %s); starting again", code
                )

    def _start(self, repository: Path) -> None:
        # Kept, so that a server which is started again is found where it was.
        ports = choose_ports(self._ports)
        self._ports.update(ports)
        self._run_folder = _make_run_folder()
        self.log = self._log or self._run_folder / "server.log"
        binary = find_server(repository, self._run_folder)
        (self._run_folder / "models").symlink_to(repository.absolute())
        command = [
            *binary.command,
            f"--model-repository={self._run_folder / 'models'}",
            # The configs are complete; completing them would start every Python model twice.
            "--disable-auto-complete-config",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            f"--exit-timeout-secs={max(1, int(self._stop_timeout) - 1)}",
            *server_flags(repository, self._settings.cache_bytes),
            *self._settings.flags(),
        ]
        for service, port in ports.items():
            command += [f"--{service}-address={HOST}", f"--{service}-port={port}"]
        watchdog = [sys.executable, "-I", str(Path(__file__).with_name("watchdog.py"))]
        watchdog += [str(os.getpid()), str(self._stop_timeout), self._shm_prefix, str(self._run_folder)]
        with _open_log(self.log) as output:
            self._process = subprocess.Popen(
                [*watchdog, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **binary.environment},
                start_new_session=True,  # Ctrl-C in the terminal reaches us, and we stop the server
            )
        self.grpc, self.http, self.metrics = (f"{HOST}:{ports[name]}" for name in self._ports)
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server and remove what it leaves behind. Stopping twice is harmless."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(self._stop_timeout + 20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process is not None and process.returncode < 0:
            # The watchdog was killed. The server dies with it, but the server's workers need not.
            with contextlib.suppress(OSError, ValueError):
                os.killpg(self.pid, signal.SIGKILL)
            for region in Path("/dev/shm").glob(f"{self._shm_prefix}*"):
                region.unlink(missing_ok=True)
        folder, self._run_folder = self._run_folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def kill(self) -> None:
        """End a broken server at once: it would wait for its dead worker. `stop` removes what it leaves."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                os.killpg(self.pid, signal.SIGKILL)

    def failure(self, timeout: float = 30.0) -> str | None:
        """Tell why no real inference is answered, None where one is; see `serving.probe.failure`."""
        try:
            self.check()
        except UserError as error:
            return str(error)
        return failure(self.http, timeout)

    def check(self) -> None:
        """Make sure that the server has not ended by itself.

        Raises:
            UserError: it has; the message ends with the end of its log.
        """
        if self._process is None or self._process.poll() is not None:
            code = None if self._process is None else self._process.returncode
            raise UserError(f"the Triton server ended (exit code {code}){self._log_tail()}")

    @property
    def card(self) -> Card:
        """Of the model that the server was given to serve."""
        return self._source.card

    def _checked_repository(self) -> Path:
        """Return the folder of the repository, whole. It may have changed since the last start."""
        if isinstance(self._source, Bundle):
            check_repository(self._source)
            return self._source.repository
        self._source = Repository.open(self._source.path)
        return self._source.path

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        reason = "it never became ready"
        while time.monotonic() < deadline:
            self.check()
            answer = probe(self.http, self.card.outputs, timeout=max(1.0, deadline - time.monotonic()))
            if answer is None:
                return
            reason = answer
            time.sleep(0.2)
        raise UserError(
            f"the Triton server did not answer an image within {self._start_timeout:g} s ({reason})"
            f"{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        # The cause is in error lines; the tables and stack traces around them are long.
        errors = [line for line in lines if line.startswith("E") or "error" in line.lower()]
        tail = (errors or lines)[-_TAIL_LINES:]
        return "; from its log:\n" + "\n".join(f"  {line[:400]}" for line in tail) if tail else ""


def choose_ports(wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Check the ports that are given and choose free ones for the others.

    Raises:
        UserError: a given port is in use, is given twice, or may not be bound.
    """
    given = [port for port in wanted.values() if port is not None]
    if len(set(given)) != len(given):
        raise UserError(f"ports {given}: each service needs a port of its own")
    chosen: dict[str, int] = {}
    with contextlib.ExitStack() as sockets:
        # Given ones first, so that none of them is handed out as a free one.
        for service, port in sorted(wanted.items(), key=lambda item: item[1] is None):
            listener = sockets.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port or 0))
            except (OSError, OverflowError) as error:
                reason = error.strerror if isinstance(error, OSError) else "no such port"
                raise UserError(
                    f"port {port} for {service} cannot be used ({reason}); choose another with "
                    f"--{service}-port, or leave it out to get a free one"
                ) from error
            chosen[service] = listener.getsockname()[1]
    return {service: chosen[service] for service in wanted}


def _make_run_folder() -> Path:
    """Make the folder of one start.

    The server hands its workers the model's path through a shell, unquoted: with a space in it, a worker dies
    and the server waits for ever. So the repository is reached by a link in here, and this path has no space.
    """
    root = tempfile.gettempdir()
    if not re.fullmatch(r"[\w./-]+", root, re.ASCII):
        root = "/tmp"
    try:
        return Path(tempfile.mkdtemp(prefix="vehicle-reid-triton-", dir=root))
    except OSError as error:
        raise UserError(
            f"{root}: cannot be written to ({error.strerror}); set TMPDIR to another folder"
        ) from error


def _open_log(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise UserError(
            f"{path}: the log cannot be written ({error.strerror}); choose another --log"
        ) from error
