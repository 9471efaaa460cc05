"""The scripts that Ascend users expect, each run on a small scale: logs, figures, messages."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.conftest import ROOT
from tests.simulated_npu import SITE, environment
from tests.training.veri_layout import make_veri
from zoo.registry import create_model, make_card
from zoo.weights import save_weights

ASCEND = ROOT / "deploy" / "ascend"
RECIPE = """
size = [32, 32]
epochs = 1
num_identities = 2
num_instances = 2
init = "none"
cache = true
[model]
embedding_dim = 16
attribute_dim = 8
"""
FIGURES = (
    "Network",
    "RankSize",
    "BatchSize",
    "DeviceType",
    "CaseName",
    "ActualFPS",
    "TrainingTime",
    "TrainAccuracy",
    "ActualLoss",
    "E2ETrainingTime",
)


@pytest.fixture(scope="module")
def veri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ascend")
    (folder / "tiny.toml").write_text(RECIPE)
    return make_veri(folder / "我的 veri", train_ids=16, test_ids=2, images=2)


def bash(script: str, *options: str, out: Path, cards: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a script; with cards, on a machine that has so many simulated NPUs."""
    folders = (SITE, ROOT) if cards else (ROOT,)
    env = environment(*folders, OUTPUT=str(out), PY=sys.executable, SIMULATED_NPUS=str(cards))
    command = ["bash", str(ASCEND / "test" / script), *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=580, cwd=out)


def trained(script: str, veri: Path, out: Path, *options: str, cards: int = 0) -> dict[str, str]:
    """Train, and read the figures that the script leaves."""
    more = f"--more=--recipe {veri.parent / 'tiny.toml'} --threads 1"
    done = bash(script, f"--data_path={veri}", more, *options, out=out, cards=cards)
    assert done.returncode == 0, done.stderr
    for line in (
        "Final Performance images/sec : ",
        "Final Train Accuracy : ",
        "E2E Training Duration sec : ",
    ):
        assert line in done.stdout
    (log,) = out.glob("PAMTRI_*.log")
    figures = dict(line.split(" = ") for line in log.read_text().splitlines())
    assert tuple(figures) == FIGURES
    assert figures["CaseName"] == log.stem
    return figures


def test_one_card_on_a_simulated_npu(veri: Path, tmp_path: Path) -> None:
    # Two steps: each operator goes through Python.
    few = make_veri(veri.with_name("我的 few"), train_ids=4, test_ids=2, images=2)
    figures = trained("train_full_1p.sh", few, tmp_path, cards=1)
    assert (figures["RankSize"], figures["BatchSize"], figures["DeviceType"]) == ("1", "32", "NPU")
    run = tmp_path / "run_1p_acc"
    assert json.loads((run / "metrics.json").read_text())["amp"] == "O2"
    assert json.loads((run / "environment.json").read_text())["variables"]["HCCL_EXEC_TIMEOUT"] == "3600"
    assert "allow_internal_format off" in (tmp_path / "train_0_1p_acc.log").read_text()


def test_evaluation_of_what_was_trained(veri: Path, tmp_path: Path) -> None:
    weights = f"--pth_path={ROOT / 'zoo' / 'pretrained' / 'osnet_ain.synthetic.safetensors'}"
    done = bash("eval.sh", f"--data_path={veri}", weights, "--device=cpus", out=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mAP" in done.stdout
    assert "mAP" in (tmp_path / "eval_0.log").read_text()


def test_export_by_the_originals_call(tmp_path: Path) -> None:
    out, weights = tmp_path / "new" / "PAMTRI.onnx", tmp_path / "weights.safetensors"
    model = create_model("efficientnet_lite0")
    save_weights(model, make_card(model, "efficientnet_lite0.test", (32, 32)), weights)
    call = [
        sys.executable,
        str(ASCEND / "PAMTRI_pth2onnx.py"),
        "-d",
        "veri",
        "-a",
        "densenet121",
        "--multitask",
    ]
    call += ["--load-weights", str(weights), "--output_path", str(out), "--batch_size", "1"]
    env = environment(ROOT)
    done = subprocess.run(
        call, capture_output=True, text=True, check=False, timeout=580, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr
    (image,) = onnx.load(out).graph.input
    assert [d.dim_value or d.dim_param for d in image.type.tensor_type.shape.dim][1:] == [3, 256, 256]


@pytest.mark.parametrize(
    ("script", "options", "said"),
    [
        ("train_full_1p.sh", (), "error: --data_path is missing"),
        ("eval.sh", ("--data_path=here",), "error: --pth_path is missing"),
        ("train_full_8p.sh", ("--data-path=here",), "error: --data-path=here: not an option"),
    ],
)
def test_what_is_missing_is_named(script: str, options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = bash(script, *options, out=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(said)


def test_a_training_that_fails_names_its_log(tmp_path: Path) -> None:
    done = bash("train_performance_1p.sh", "--data_path=nowhere", "--device=cpus", out=tmp_path)
    assert done.returncode == 2
    assert "the training failed with exit code 2; see " in done.stderr
    assert "nowhere" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_performance_1p.sh", "train_performance_8p.sh", "train_full_8p.sh"])
def test_the_other_trainings(script: str, veri: Path, tmp_path: Path) -> None:
    figures = trained(script, veri, tmp_path, "--device=cpus")
    assert figures["RankSize"] == ("8" if "8p" in script else "1")
