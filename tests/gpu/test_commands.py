"""The commands on a GPU: a run that is killed and continued, evaluation, export."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.conftest import ROOT
from zoo.inference import InferenceModel
from zoo.loading import load_model

pytestmark = pytest.mark.gpu
WEIGHTS = "osnet_ain.synthetic"


def run(*command: str) -> dict:
    """Run a command of the project; its JSON line."""
    argv = [sys.executable, "-m", *command, "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_killed_run_goes_on(veri: Path, tmp_path: Path, option: tuple[str, str], device) -> None:
    level = "O2" if device.type == "cuda" else "bf16"
    command = ["training.launch", "--data-root", str(veri), "--recipe", "smoke", "--amp", level, *option]
    command += ["--checkpoint-every", "1", "--threads", "1"]
    run(*command, "--out", str(tmp_path / "whole"))
    out = tmp_path / "killed"
    argv = [sys.executable, "-m", *command, "--out", str(out)]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while not (out / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    run(*command, "--out", str(out), "--resume")
    whole, resumed = (
        safetensors.torch.load_file(folder / "last.safetensors") for folder in (tmp_path / "whole", out)
    )
    for name, wanted in whole.items():
        if wanted.is_floating_point():
            # Kernels of a GPU add up in an order of their own each time.
            near = 0.05 if device.type == "cuda" else 0.0
            assert (resumed[name] - wanted).norm() <= near * wanted.norm() + near, name


def test_evaluation_equals_the_cpus(veri: Path, option: tuple[str, str]) -> None:
    command = ["training.evaluate", "--data-root", str(veri), "--weights", WEIGHTS]
    found, wanted = run(*command, *option), run(*command, "--cpus", "1")
    assert found["mAP"] == pytest.approx(wanted["mAP"], abs=1e-3)
    assert found["color_accuracy"] == pytest.approx(wanted["color_accuracy"], abs=1e-2)


def test_export_of_a_model_that_was_on_the_device(device, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from zoo.onnx_export import DeployedModel, export_onnx
    from zoo.onnx_model import OnnxModel

    model, card = load_model(WEIGHTS)
    model.to(device).eval()
    image = torch.randint(0, 256, (3, *card.input_size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        wanted = InferenceModel(model, card).to(device)(image.to(device)).embedding.cpu()
    export_onnx(DeployedModel(model.cpu(), card), card, tmp_path / "model.onnx")
    assert OnnxModel(tmp_path / "model.onnx").run({"image": image.numpy()})["embedding"] == pytest.approx(
        wanted.numpy(), abs=2e-3
    )


def test_onnxruntime_on_the_gpu(device, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    provider = {"cuda": "CUDAExecutionProvider"}.get(device.type, "CPUExecutionProvider")
    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {provider}: it takes the package onnxruntime-gpu")
    path = ROOT / "zoo" / "pretrained" / f"{WEIGHTS}.onnx"
    sessions = [onnxruntime.InferenceSession(path, providers=[p]) for p in (provider, "CPUExecutionProvider")]
    # It falls back without a word.
    assert sessions[0].get_providers()[0] == provider
    size = load_model(WEIGHTS)[1].input_size
    image = torch.randint(0, 256, (3, *size, 3), dtype=torch.uint8).numpy()
    found, wanted = (session.run(["embedding"], {"image": image})[0] for session in sessions)
    assert found == pytest.approx(wanted, abs=2e-3)
