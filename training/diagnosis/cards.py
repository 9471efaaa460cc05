"""The cards of a machine, each examined by a process of its own, and what their logs say together."""

import functools
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from training.diagnosis.card import FREE_SHARE, TOGETHER, examine_card, small_step, stages
from training.diagnosis.finding import Finding
from training.distributed.devices import KINDS, Devices
from training.distributed.elastic import Nodes, RankError, run_ranks
from training.options import Level
from zoo.errors import UserError

SLOW = 2.0
"""Times the median of the others, from which a card counts as slow."""

NOTICE = 15.0
"""Seconds without a sign of life after which it is said where the cards are."""

CURES = {
    "internal format": "the card keeps internal formats though they were switched off "
    "(allow_internal_format); take a newer torch_npu and driver",
    "out of memory": "end what else runs on it: `npu-smi info`, `nvidia-smi`",
    "aicore exception": "the card is broken or wants a reset: `npu-smi info -t health -i {card}`",
    "507": "the card is broken or wants a reset: `npu-smi info -t health -i {card}`",
    "CUDA error": "look for Xid in the kernel's log, and at `nvidia-smi -q -i {card}`",
}
"""Part of an error's text -> what to do."""

Log = list[dict[str, Any]]


def check_cards(
    devices: Devices, nodes: Nodes, levels: Sequence[Level], patience: float
) -> tuple[list[Finding], list[Log]]:
    """Examine this machine's cards, one by one and together with those of the other machines.

    Args:
        devices: of this machine.
        nodes: all machines.
        levels: of precision, to take a step at.
        patience: seconds without a sign of life after which the cards are given up.

    Returns:
        The findings, and the cards' logs.
    """
    ended = ""
    expected = small_step("O0", torch.device("cpu"))
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        watch = Watch(Path(folder), patience)
        try:
            work = functools.partial(examine_card, folder, devices.kind.type, levels, expected)
            run_ranks(work, Devices(KINDS["cpu"], devices.count), nodes, None)
        except (UserError, RankError) as error:
            ended = str(error).splitlines()[-1]
        finally:
            watch.stop()
        logs = watch.logs()
    names = (*stages(levels), *TOGETHER)
    return list(judge(logs, names, devices, "" if watch.gave_up else ended, patience)), logs


class Watch:
    """Ends the ranks when none of them has written into its log for too long."""

    def __init__(self, folder: Path, patience: float) -> None:
        self.folder, self.patience, self.gave_up = folder, patience, False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End watching."""
        self._done.set()
        self._thread.join()

    def logs(self) -> list[Log]:
        """What the ranks have written, in rank order."""
        paths = sorted(self.folder.glob("card-*.jsonl"), key=lambda path: int(path.stem.partition("-")[2]))
        return [[json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in paths]

    def _whereabouts(self) -> str:
        """Where the cards are that are not through."""
        last = {card: log[-1] for card, log in enumerate(self.logs())}
        return ", ".join(f"card {c} in {e['stage']}" for c, e in last.items() if e["state"] == "begun")

    def _run(self) -> None:
        size, since, told = 0, time.monotonic(), False
        while not self._done.wait(0.2):
            now = sum(path.stat().st_size for path in self.folder.glob("card-*.jsonl"))
            if now != size:
                size, since = now, time.monotonic()
                told = False
            silent = time.monotonic() - since
            if size and silent > min(NOTICE, self.patience / 2) and not told:
                told = True
                print(f"no sign of life for {silent:.0f} s: {self._whereabouts()}", file=sys.stderr)
            if size and silent > self.patience:
                self.gave_up = True
                for log in self.logs():
                    with suppress(ProcessLookupError):
                        os.kill(log[0]["pid"], signal.SIGKILL)
                return


def judge(
    logs: Sequence[Log], names: Sequence[str], devices: Devices, ended: str, patience: float
) -> Iterator[Finding]:
    """Tell what the cards' logs say, one line a stage, or one for each card that is at fault.

    Args:
        logs: of the cards, in their order.
        names: of the stages, in theirs.
        devices: that they belong to.
        ended: what the launcher said of ranks that failed; empty where none did.
        patience: seconds that were waited for a card.
    """
    failed = False
    for stage in names:
        entries = [next((e for e in reversed(log) if e["stage"] == stage), None) for log in logs]
        bad = {card: e for card, e in enumerate(entries) if e and e["state"] == "failed"}
        stuck = [card for card, e in enumerate(entries) if e and e["state"] == "begun"]
        good = [entry for entry in entries if entry and entry["state"] == "ended"]
        if ended and stage in TOGETHER:
            # The others fail there because of the rank that is gone.
            continue
        for card, entry in bad.items():
            failed = True
            yield _failure(stage, card, entry)
        if stuck and not ended:
            failed = True
            yield _stuck(stage, stuck, patience)
        elif good and not bad and not stuck:
            yield from SUMMARIES.get(stage, _steps)(stage, good, devices)
    if ended:
        text, _, cure = ended.partition("; ")
        yield Finding("ranks", "fail", text, cure)
    elif not failed and len(logs) < devices.count:
        yield Finding(
            "ranks", "fail", f"{len(logs)} of {devices.count} processes came up", "see the messages above"
        )


def _failure(stage: str, card: int, entry: dict[str, Any]) -> Finding:
    known = next((cure for part, cure in CURES.items() if part in entry["error"]), "")
    cure = entry["cure"] or known or "look the message up at the vendor's, or send a maintainer --bundle FILE"
    return Finding(stage, "fail", f"card {card}: {entry['error']}", cure.format(card=card))


def _stuck(stage: str, cards: Sequence[int], patience: float) -> Finding:
    named = f"card{'s' * (len(cards) > 1)} {', '.join(map(str, cards))}"
    cure = f"look at {named} with `npu-smi info` or `nvidia-smi`"
    if stage == "all-reduce":
        cure = (
            "look at the links (`hccn_tool -i N -link -g`, `nvidia-smi topo -m`), the firewall, and "
            "HCCL_IF_IP or NCCL_SOCKET_IFNAME"
        )
    return Finding(stage, "fail", f"no answer from {named} for {patience:g} s", cure)


def _cards(stage: str, entries: Sequence[dict[str, Any]], devices: Devices) -> Iterator[Finding]:
    names = ", ".join(sorted({entry["name"] for entry in entries}))
    told = f"{len(entries)} x {names}"
    for card, entry in enumerate(entries):
        if "total_gib" in entry and entry["free_gib"] < FREE_SHARE * entry["total_gib"]:
            text = f"card {card}: {entry['free_gib']:g} of {entry['total_gib']:g} GiB free"
            yield Finding("card memory", "warn", text, "end what else runs on it")
    if totals := [entry["total_gib"] for entry in entries if "total_gib" in entry]:
        told += f", {min(totals):g} GiB"
    yield Finding("cards", "ok", told)


def _overflow(stage: str, entries: Sequence[dict[str, Any]], devices: Devices) -> Iterator[Finding]:
    saturates = any(entry["saturates"] for entry in entries)
    yield Finding(stage, "ok", "saturates, and the card's flag tells" if saturates else "is Inf")


def _steps(stage: str, entries: Sequence[dict[str, Any]], devices: Devices) -> Iterator[Finding]:
    shown = (
        "" if "loss" not in entries[0] else f"loss {entries[0]['loss']:.4f}, CPU {entries[0]['cpu_loss']:.4f}"
    )
    yield Finding(stage, "ok", shown or "right")


def _speed(stage: str, entries: Sequence[dict[str, Any]], devices: Devices) -> Iterator[Finding]:
    times = [entry["milliseconds"] for entry in entries]
    slow = False
    for card, own in enumerate(times):
        others = statistics.median(times[:card] + times[card + 1 :]) if len(times) > 1 else own
        if own > SLOW * others:
            slow = True
            text = f"card {card} takes {own / others:.1f} times as long as the others, which all wait for it"
            yield Finding(
                stage,
                "warn",
                text,
                f"look for heat and other programs: `npu-smi info -t usages -i {card}`, `nvidia-smi`",
            )
    if not slow:
        yield Finding(stage, "ok", f"four products of 128x128 in {max(times):.2f} ms")


def _all_reduce(stage: str, entries: Sequence[dict[str, Any]], devices: Devices) -> Iterator[Finding]:
    slowest = min(entry["mib_per_second"] for entry in entries)
    backend = devices.kind.collective
    yield Finding(stage, "ok", f"{backend}, 16 MiB at {slowest:.0f} MiB/s")


SUMMARIES: dict[str, Callable[[str, Sequence[dict[str, Any]], Devices], Iterator[Finding]]] = {
    "card": _cards,
    "overflow": _overflow,
    "speed": _speed,
    "all-reduce": _all_reduce,
}
