"""Starting a run's ranks through torch's elastic launcher, and telling of the one that failed.

Each rank that fails writes down why; the earliest of these reports is the cause, the others only lost their
connection to it. On one machine the ranks find each other through a file and talk over the loopback device.
"""

import contextlib
import gc
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from training.distributed.devices import KINDS, Devices, enter_device
from training.distributed.ranks import Ranks, joined
from training.distributed.rendezvous import ALONE
from zoo.errors import UserError
from zoo.preprocess import ImageError
from zoo.processes import children

Work = Callable[[Ranks], dict[str, Any] | None]
"""What each rank does; the first one's answer counts. It travels to the ranks' processes by pickling."""


class RankError(Exception):
    """A rank failed by a fault that is not the user's; the message holds its traceback."""


@dataclass(frozen=True)
class Nodes:
    """The machines of a run.

    Attributes:
        count: of machines; on each, the same command is started.
        endpoint: HOST:PORT of one of them, where they meet; needed from two on.
        run_id: tells this run from others that meet there.
    """

    count: int = 1
    endpoint: str = ""
    run_id: str = "training"


def set_threads(threads: int | None, ranks_here: int = 1) -> None:
    """Settle torch's CPU threads: as many as asked for, else each rank its share of the cores."""
    if threads is None and ranks_here > 1 and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, torch.get_num_threads() // ranks_here)
    if threads is not None:
        torch.set_num_threads(threads)


def run_ranks(work: Work, devices: Devices, nodes: Nodes, threads: int | None) -> dict[str, Any] | None:
    """Run `work` on a rank for each device of each machine, in processes of their own.

    Returns:
        The first rank's answer; None on a machine that does not have that rank.

    Raises:
        UserError: a rank raised it, or died without a word.
        RankError: a rank raised anything else.
    """
    # What they would say of a failed rank: a page, and a line for each rank that is ended because of it.
    for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    with tempfile.TemporaryDirectory(prefix="training-ranks-") as folder, _ranks_start_deaf_to_ctrl_c():
        reports = Path(folder)
        config = LaunchConfig(
            min_nodes=nodes.count,
            max_nodes=nodes.count,
            nproc_per_node=devices.count,
            run_id=nodes.run_id,
            max_restarts=0,
            monitor_interval=0.1,
            start_method="spawn",
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            rdzv_backend=ALONE if nodes.count == 1 else "c10d",
            rdzv_endpoint=nodes.endpoint,
            local_addr="127.0.0.1" if nodes.count == 1 else None,
        )
        others = set(children(os.getpid()))
        try:
            answers: dict[int, dict[str, Any] | None] = elastic_launch(config, _run_rank)(
                work,
                devices.kind.type,
                nodes.count == 1,
                threads,
                folder,
                os.getpid(),
                multiprocessing.get_start_method(),
            )
        except SignalException as error:
            # The launcher ends the ranks, but not those that it was still about to start: without it they
            # would each tell that what they are to begin with has gone.
            for rank in set(children(os.getpid())) - others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank, signal.SIGKILL)
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + error.sigval) from None
        except ChildFailedError as error:
            if any(failure.exitcode == -signal.SIGINT for failure in error.failures.values()):
                raise KeyboardInterrupt from None
            cause = _cause(reports, error)
            if isinstance(cause, UserError):
                # The first rank may have been ended within its progress bar: one line has a line of its own.
                print(file=sys.stderr)
            raise cause from None
    return answers.get(0)


def _run_rank(
    work: Work,
    device_type: str,
    one_machine: bool,
    threads: int | None,
    folder: str,
    launcher: int,
    start_method: str,
) -> dict[str, Any] | None:
    """A rank's whole life, in its own process."""
    # Modules are no garbage: looking through them at the end alone takes half a second.
    gc.freeze()
    # From here on Ctrl-C ends it without a word; before, it would have been a traceback of half an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()
    # That of this process's own children, such as a loader's: it would be the one that it was started by.
    multiprocessing.set_start_method(start_method, force=True)
    rank, here, local_rank, world_size = (
        int(os.environ[name]) for name in ("RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "WORLD_SIZE")
    )
    if rank > 0:
        # Warnings of N ranks are N times the same.
        with open(Path(folder) / f"output-{rank}", "wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    rendezvous = {}
    if one_machine:
        rendezvous["init_method"] = f"file://{folder}/group"
        if "lo" in (name for _, name in socket.if_nameindex()):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        set_threads(threads, here)
        device = enter_device(KINDS[device_type], local_rank)
        with joined(rank, world_size, device, **rendezvous) as ranks:
            return work(ranks)
    except BaseException as error:
        # Nothing may be raised beyond here: what torch writes of it on a full disk cannot be read again.
        with contextlib.suppress(OSError):
            _report(Path(folder), rank, error)
        for child in multiprocessing.active_children():
            child.terminate()
        # At once: a regular end would wait for collectives that never come to theirs.
        os._exit(1)


def _report(folder: Path, rank: int, error: BaseException) -> None:
    lost = isinstance(error, dist.DistBackendError | dist.DistNetworkError) or "gloo/" in str(error)
    report = {
        "time": time.time_ns(),
        "rank": rank,
        "kind": "user" if isinstance(error, UserError | ImageError) else "lost" if lost else "fault",
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    partial = folder / f"failure-{rank}.part"
    partial.write_text(json.dumps(report), encoding="utf-8")
    partial.rename(folder / f"failure-{rank}.json")


def _cause(folder: Path, error: ChildFailedError) -> Exception:
    """Find what made a run fail."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("failure-*.json")]
    first = min(reports, key=lambda report: (report["kind"] == "lost", report["time"]), default=None)
    if first is not None and first["kind"] == "user":
        return UserError(first["message"])
    if first is not None and first["kind"] == "fault":
        return RankError(f"rank {first['rank']} failed:\n{first['traceback'].rstrip()}")
    rank, failure = min(error.failures.items(), key=lambda item: item[1].exitcode)
    how = "ended without a report"
    if failure.exitcode < 0:
        how = f"was killed by {signal.Signals(-failure.exitcode).name}"
    elif first is not None:
        rank, how = first["rank"], "lost its connection to another rank, which ended without a report"
    return UserError(
        f"rank {rank} {how}; was memory short, or a disk full? See the kernel's log, here and on the other "
        "machines, start fewer ranks, or continue with --resume"
    )


@contextlib.contextmanager
def _ranks_start_deaf_to_ctrl_c() -> Iterator[None]:
    """Let this process alone heed Ctrl-C, which a terminal sends to the ranks too, while they start.

    Processes inherit which signals the thread that starts them has blocked, and are so from their first
    instruction on, until `_run_rank`. A signal still reaches this process, by another thread that has not
    blocked it. The launcher's own handlers are taken off again at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Now: when it is started with the first rank, it leaves the signal unblocked behind it.
    resource_tracker.ensure_running()
    done = threading.Event()
    threading.Thread(target=done.wait, daemon=True).start()
    handlers = {number: signal.getsignal(number) for number in _HANDLED}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        done.set()


_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def _end_with(launcher: int) -> None:
    """End this process when the launcher has gone without ending it, killed itself."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)
