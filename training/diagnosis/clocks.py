"""Whether the clocks of several machines agree.

torch's rendezvous takes a machine for dead whose last sign of life is some 15 seconds old by another's clock.
"""

import datetime
import json
import platform
import time

import torch.distributed as dist

from training.diagnosis.finding import Finding
from training.distributed.elastic import Nodes

LARGEST_SKEW = 5.0
"""Seconds."""


def check_clocks(nodes: Nodes, patience: float) -> Finding:
    """Meet the other machines, and compare what time it is; the same command runs on each."""
    host, _, port = nodes.endpoint.rpartition(":")
    wait = datetime.timedelta(seconds=patience)
    missing = Finding(
        "clocks",
        "fail",
        f"not all {nodes.count} machines came to {nodes.endpoint} within {patience:g} s",
        "start the same command on each, and let the port through their firewalls",
    )
    if not host or not port.isdigit():
        return Finding("clocks", "fail", f"--rdzv-endpoint {nodes.endpoint}: not HOST:PORT", "give both")
    try:
        store = _meet(host, int(port), nodes.count, wait)
        place = store.add("machines", 1) - 1
        store.wait([f"ready-{other}" for other in _ready(store, place, nodes.count)], wait)
        store.set(f"clock-{place}", json.dumps([platform.node(), time.time()]))
        told = [json.loads(store.get(f"clock-{other}")) for other in range(nodes.count)]
        _leave_together(store, nodes.count, wait)
    except (dist.DistError, OSError, RuntimeError):
        return missing
    return judge([(name, seconds) for name, seconds in told])


def judge(told: list[tuple[str, float]]) -> Finding:
    """Find the machine that is farthest from the others.

    Args:
        told: name and Unix time of each machine, at one moment.
    """
    middle = sorted(seconds for _, seconds in told)[(len(told) - 1) // 2]
    name, seconds = max(told, key=lambda clock: abs(clock[1] - middle))
    ahead = seconds - middle
    if abs(ahead) <= LARGEST_SKEW:
        return Finding("clocks", "ok", f"{len(told)} machines agree to {max(abs(ahead), 0.1):.1f} s")
    way = "ahead of" if ahead > 0 else "behind"
    return Finding(
        "clocks",
        "fail",
        f"that of {name} is {abs(ahead):.0f} s {way} the others', and they would take each other for dead",
        "set both by NTP: `timedatectl set-ntp true`, then `timedatectl`",
    )


def _meet(host: str, port: int, count: int, wait: datetime.timedelta) -> dist.TCPStore:
    """Join the machines' store; whoever can open the port there holds it."""
    try:
        return dist.TCPStore(host, port, count, is_master=True, timeout=wait, wait_for_workers=False)
    except (dist.DistNetworkError, RuntimeError):
        return dist.TCPStore(host, port, count, is_master=False, timeout=wait, wait_for_workers=False)


def _ready(store: dist.TCPStore, place: int, count: int) -> range:
    store.set(f"ready-{place}", "")
    return range(count)


def _leave_together(store: dist.TCPStore, count: int, wait: datetime.timedelta) -> None:
    """Keep the store until all have read it."""
    if store.add("done", 1) == count:
        store.set("all-done", "")
    store.wait(["all-done"], wait)
    # The one that holds the store answers the others' last request before it goes.
    time.sleep(0.5)
