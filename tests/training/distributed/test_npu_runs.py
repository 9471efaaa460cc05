"""The commands, unchanged, on a simulated NPU: placement, back ends, ranks, O2, resumption, evaluation.

Where FAKE_CANN names a folder of `tests.fake_cann.build`, they run on the real torch_npu: `make test-npu`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests import fake_cann, simulated_npu
from tests.conftest import ROOT
from tests.training.veri_layout import make_veri
from training.evaluate import main as evaluate_here

pytestmark = [] if fake_cann.is_built() else [simulated_npu.wants_simulation]

# On a simulated NPU, where each operator goes through Python, the one with the fewest layers.
ARCH = "densenet121" if fake_cann.is_built() else "efficientnet_lite0"
RECIPE = """
size = [32, 32]
epochs = 1
num_identities = 2
num_instances = 2
init = "none"
cache = true
channels_last = {channels_last}
[model]
arch = "{arch}"
embedding_dim = 16
attribute_dim = 8
[optimizer]
name = "sgd"
lr = 1e-2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So few images that an epoch of two ranks is three steps."""
    folder = tmp_path_factory.mktemp("npu")
    # NPUs refuse channels_last, so asking for it shows that they are spared it; CPUs would round otherwise.
    (folder / "npu.toml").write_text(RECIPE.format(arch=ARCH, channels_last="true"))
    (folder / "cpu.toml").write_text(RECIPE.format(arch=ARCH, channels_last="false"))
    return make_veri(folder / "veri", train_ids=4, test_ids=2, images=3)


def command(data: Path, out: Path, *more: str, recipe: str = "npu") -> list[str]:
    path = data.parent / f"{recipe}.toml"
    argv = ["--data-root", str(data), "--recipe", str(path), "--out", str(out), "--threads", "1", *more]
    return [sys.executable, "-m", "training.launch", *argv]


def machine(cards: int) -> dict[str, str]:
    """Variables of a process on a machine with so many cards."""
    if fake_cann.is_built():
        return fake_cann.environment(cards)
    return simulated_npu.environment(simulated_npu.SITE, SIMULATED_NPUS=str(cards))


CARD = "Ascend910B3" if fake_cann.is_built() else "simulated NPU"


def run(argv: list[str], cards: int) -> str:
    """Run a command on a machine with so many cards."""
    result = subprocess.run(
        argv, cwd=ROOT, env=machine(cards), capture_output=True, text=True, check=False, timeout=500
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def weights(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "last.safetensors")


def epochs(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_npus_train_as_two_cpus_do(data: Path, tmp_path: Path) -> None:
    run(command(data, tmp_path / "npu", "--npus", "2"), cards=2)
    run(command(data, tmp_path / "cpu", "--cpus", "2", recipe="cpu"), cards=0)
    (npu,), (cpu,) = epochs(tmp_path / "npu"), epochs(tmp_path / "cpu")
    for name in [name for name in cpu if name.startswith("loss")]:
        assert npu[name] == pytest.approx(cpu[name], rel=1e-5), name
    assert npu["mAP"] == cpu["mAP"]
    expected = weights(tmp_path / "cpu")
    for name, found in weights(tmp_path / "npu").items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-6, msg=name)
    assert json.loads((tmp_path / "npu" / "metrics.json").read_text())["device"] == CARD


def test_a_killed_run_goes_on_bit_for_bit_and_its_weights_are_evaluated(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--npus", "1", "--amp", "O2", "--epochs", "2", "--checkpoint-every", "1")
    run(command(data, tmp_path / "whole", *options), cards=1)
    argv, out = command(data, tmp_path / "killed", *options), tmp_path / "killed"
    with subprocess.Popen(
        argv, cwd=ROOT, env=machine(1), stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 300
        while not (out / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    run([*argv, "--resume"], cards=1)
    whole, resumed = weights(tmp_path / "whole"), weights(out)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert {value.dtype for value in whole.values() if value.is_floating_point()} == {torch.float32}
    # Saved from an NPU, read by a process that has none.
    best = ["--data-root", str(data), "--weights", str(out / "best.safetensors"), "--json"]
    evaluate = [sys.executable, "-m", "training.evaluate", *best, "--npus", "1", "--workers", "1"]
    on_npu = json.loads(run(evaluate, cards=1).splitlines()[-1])
    if fake_cann.is_built():  # torchvision is imported by its processes alone
        said = run([sys.executable, "-m", "training.evaluate", *best, "--cpus", "1"], cards=0)
    else:
        assert evaluate_here([*best, "--cpus", "1"]) == 0
        said = capsys.readouterr().out
    on_cpu = json.loads(said.splitlines()[-1])
    assert on_npu["mAP"] == on_cpu["mAP"]


@pytest.mark.slow
def test_eight_npus(data: Path, tmp_path: Path) -> None:
    wide = make_veri(data.parent / "wide", train_ids=16, test_ids=2, images=3)
    argv = command(wide, tmp_path / "run", "--npus", "8", "--amp", "O2", "--loss-scale", "128")
    run(argv, cards=8)
    (epoch,) = epochs(tmp_path / "run")
    assert epoch["skipped"] == 0
    assert epoch["loss"] > 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["amp"], metrics["device"]) == ("O2", CARD)
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


@pytest.mark.slow
def test_two_machines_train_as_one_does(data: Path, tmp_path: Path) -> None:
    wide = make_veri(data.parent / "two", train_ids=8, test_ids=2, images=3)
    run(command(wide, tmp_path / "one", "--npus", "4"), cards=4)
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    argv = command(wide, tmp_path / "two", "--npus", "2", "--nnodes", "2", "--rdzv-endpoint", endpoint)
    with ThreadPoolExecutor(2) as both:
        list(both.map(run, [argv, argv], [2, 2]))
    (one,), (two,) = epochs(tmp_path / "one"), epochs(tmp_path / "two")
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    expected = weights(tmp_path / "one")
    for name, found in weights(tmp_path / "two").items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-6, msg=name)
