"""Ranks as processes: what they answer, and what is said when one of them fails or the user has enough."""

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import ctrl_c
from training.distributed.devices import KINDS, Devices
from training.distributed.elastic import Nodes, RankError, run_ranks
from training.distributed.ranks import Ranks
from training.run.recipe import RECIPES, load_recipe
from training.run.run_folder import RunFolder
from training.run.trainer import train
from zoo.errors import UserError

ROOT = Path(__file__).parents[3]
TWO = Devices(KINDS["cpu"], 2)


def tell(ranks: Ranks) -> dict[str, Any]:
    print("said by the ranks, of which only the first is heard")
    return {"sum": ranks.total(float(ranks.rank + 1)), "threads": torch.get_num_threads()}


def fail(ranks: Ranks, how: str) -> None:
    """Fail on the second rank while the first waits for it."""
    if ranks.is_first:
        ranks.barrier()
        ranks.barrier()
        return
    ranks.barrier()
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise LookupError("a fault of the program")


def write_recipe(folder: Path, epochs: int = 2) -> Path:
    """The smallest recipe that ships, for four vehicles and the network whose processes start fastest."""
    text = (RECIPES / "smoke.toml").read_text()
    for old, new in (
        ("epochs = 2", f"epochs = {epochs}"),
        ("num_identities = 4", "num_identities = 2"),
        ("[model]", '[model]\narch = "efficientnet_lite0"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "own.toml").write_text(text)
    return folder / "own.toml"


def test_the_first_rank_answers(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run_ranks(tell, TWO, Nodes(), threads=2) == {"sum": 3.0, "threads": 2}
    assert capfd.readouterr().out.count("said by the ranks") == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_fault_is_told_with_the_traceback_of_its_rank_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RankError) as raised:
        run_ranks(functools.partial(fail, how="fault"), TWO, Nodes(), threads=1)
    lines = str(raised.value).splitlines()
    assert lines[:2] == ["rank 1 failed:", "Traceback (most recent call last):"]
    assert lines[-1] == "LookupError: a fault of the program"
    assert str(raised.value).count("Traceback") == 1
    assert capfd.readouterr().err == ""


def test_bad_input_is_told_in_its_one_line(own_root: Path, tmp_path: Path) -> None:
    path = sorted((own_root / "image_train").iterdir())[0]
    path.write_bytes(b"")
    recipe = write_recipe(tmp_path)
    process = ctrl_c.start(
        "training.launch", "--data-root", own_root, "--out", tmp_path / "run", "--recipe", recipe, "--cpus", 2
    )
    output, errors = process.communicate()
    assert process.returncode == 2, errors
    assert output == ""
    first, *bars, last = errors.splitlines()
    assert "on 2 x cpu" in first
    assert not [line for line in bars if line.strip() and "img/s" not in line]
    assert last == f"error: {path}: the image is empty (0 bytes); copy it again"


def train_with_a_slow_first_rank(ranks: Ranks, root: Path, recipe: Path, out: Path) -> dict[str, Any] | None:
    if ranks.is_first:
        create = RunFolder.create
        RunFolder.create = lambda *given: time.sleep(2) or create(*given)  # type: ignore[method-assign,func-returns-value]
    return train(load_recipe(recipe), [root], ranks, out=out)


def test_the_run_is_told_of_before_any_rank_fails(
    own_root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in (own_root / "image_train").iterdir():
        path.write_bytes(b"")
    work = functools.partial(
        train_with_a_slow_first_rank, root=own_root, recipe=write_recipe(tmp_path), out=tmp_path / "run"
    )
    with pytest.raises(UserError, match="the image is empty"):
        run_ranks(work, TWO, Nodes(), threads=1)
    assert "on 2 x cpu" in capfd.readouterr().err.splitlines()[0]


def test_a_rank_that_is_killed_is_named() -> None:
    with pytest.raises(UserError, match=r"^rank \d (was killed by SIGKILL|lost its connection)"):
        run_ranks(functools.partial(fail, how="killed"), TWO, Nodes(), threads=1)


def test_two_machines_meet_at_an_endpoint() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
    code = (
        "from tests.training.distributed.test_elastic import *\n"
        f"print('answer', run_ranks(tell, Devices(KINDS['cpu'], 1), Nodes(2, {endpoint!r}, 'test'), 1))"
    )
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    machines = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [re.findall("answer (.*)", machine.communicate()[0]) for machine in machines]
    assert sorted(answer for (answer,) in answers) == ["None", "{'sum': 3.0, 'threads': 1}"]


@pytest.mark.parametrize("moment", ["while the ranks start", "in training"])
def test_ctrl_c_ends_all_ranks_quietly(own_root: Path, tmp_path: Path, moment: str) -> None:
    recipe = write_recipe(tmp_path, epochs=1000)
    out = tmp_path / "run"
    process = ctrl_c.start(
        "training.launch", "--data-root", own_root, "--out", out, "--recipe", recipe, "--cpus", 2
    )
    awaited = f"/proc/{process.pid}/task/{process.pid}/children"
    while process.poll() is None:
        if moment == "in training" and (out / "metrics.jsonl").exists():
            break
        # The resource tracker and the two ranks.
        if moment != "in training" and len(Path(awaited).read_text().split()) == 3:
            break
        time.sleep(0.02)
    code, errors = ctrl_c.press(process)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "interrupted"
    with contextlib.suppress(ProcessLookupError):
        # Until the last process of all has gone; forever, if one does not.
        while True:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
