"""What the cards' logs say together, without a card."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training.diagnosis.archive import anonymous
from training.diagnosis.cards import Log, Watch, judge
from training.diagnosis.clocks import judge as judge_clocks
from training.distributed.devices import KINDS, Devices

NAMES = ("card", "arithmetic", "speed", "all-reduce")


def log(upto: str, state: str = "ended", **found: object) -> Log:
    """The log of a card that came as far as a stage; the last one ended so."""
    stages = NAMES[: NAMES.index(upto) + 1]
    good = {"name": "NPU", "milliseconds": 1.0, "mib_per_second": 100.0}
    return [
        {
            "stage": s,
            "state": state if s == upto else "ended",
            "pid": 0,
            **good,
            **(found if s == upto else {}),
        }
        for s in stages
    ]


def lines(logs: list[Log], ended: str = "") -> list[str]:
    found = judge(logs, NAMES, Devices(KINDS["npu"], len(logs)), ended, 60.0)
    return [finding.line() for finding in found if finding.status != "ok"]


def test_all_is_well() -> None:
    assert lines([log("all-reduce")] * 8) == []


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        ([log("all-reduce"), log("arithmetic", "failed", error="507015 aicore exception", cure="")],
         "fail  arithmetic: card 1: 507015 aicore exception; the card is broken"),
        ([log("card", "failed", error="NPU out of memory", cure=""), log("card")],
         "fail  card: card 0: NPU out of memory; end what else runs on it"),
        ([log("speed"), log("speed"), log("speed", milliseconds=4.1)],
         "warn  speed: card 2 takes 4.1 times as long as the others"),
        ([log("all-reduce", "begun")] * 2,
         "fail  all-reduce: no answer from cards 0, 1 for 60 s; look at the links"),
        ([log("card", "begun"), log("speed")], "fail  card: no answer from card 0 for 60 s; look at card 0"),
        ([log("all-reduce")], ""),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(logs: list[Log], said: str) -> None:
    found = lines(logs)
    assert len(found) == bool(said)
    assert not said or found[0].startswith(said)


def test_a_rank_that_was_killed_is_told_by_the_launcher() -> None:
    logs = [
        log("all-reduce", "failed", error="Connection closed by peer", cure=""),
        log("all-reduce", "begun"),
    ]
    assert lines(logs, "rank 1 was killed by SIGKILL; was memory short?") == [
        "fail  ranks: rank 1 was killed by SIGKILL; was memory short?"
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([100.0, 101.0], "ok    clocks: 2 machines agree to 1.0 s"),
        ([100.0, 220.0], "fail  clocks: that of m1 is 120 s ahead of the others'"),
        ([100.0, 101.0, 30.0], "fail  clocks: that of m2 is 70 s behind the others'"),
    ],
)
def test_clocks(seconds: list[float], said: str) -> None:
    told = [(f"m{number}", value) for number, value in enumerate(seconds)]
    assert judge_clocks(told).line().startswith(said)


def test_an_archive_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mei")
    monkeypatch.setattr("platform.node", lambda: "lab-7")
    monkeypatch.setattr("getpass.getuser", lambda: "mei")
    text = "/home/mei/veri on lab-7 as mei (mei@example.org, 10.0.0.17:29500), torch 2.14.0, meissen, lab-70"
    assert anonymous(text) == "~/veri on HOST as USER (ADDRESS, ADDRESS:29500), torch 2.14.0, meissen, lab-70"


def test_a_card_without_a_sign_of_life_is_named_and_ended(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as hung:
        begun = {"stage": "step O2", "state": "begun", "pid": hung.pid}
        (tmp_path / "card-0.jsonl").write_text(json.dumps({**begun, "state": "ended"}) + "\n")
        (tmp_path / "card-1.jsonl").write_text(json.dumps(begun) + "\n")
        watch = Watch(tmp_path, patience=1.0)
        assert hung.wait(timeout=60) == -signal.SIGKILL
    watch.stop()
    assert watch.gave_up
    assert re.search(r"no sign of life for \d s: card 1 in step O2\n", capfd.readouterr().err)
