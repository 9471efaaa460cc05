"""Encoding on a card: torch as evaluation runs it, and the exported graph through onnxruntime's providers."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.steps import rate
from zoo.inference import InferenceModel
from zoo.loading import load_model

WEIGHTS = "densenet121.synthetic"
PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider")


def measure_evaluation(device: torch.device, size: int, batch: int, seconds: float) -> dict[str, Any]:
    """Measure the embeddings of images that the card holds, in fp32, against the CPU's."""
    model, card = load_model(WEIGHTS)
    image = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        wanted = InferenceModel(model, card)(image[:4]).embedding
        inference = InferenceModel(model, card).to(device)
        held = image.to(device)
        found = inference(held[:4]).embedding.cpu()
        speed = rate(lambda: inference(held), batch, device, seconds)
    cosine = torch.nn.functional.cosine_similarity(found, wanted).min().item()
    return {"batch": batch, "images_per_second": round(speed, 1), "least_cosine_to_cpu": round(cosine, 6)}


def measure_onnx(device: torch.device, size: int, batch: int, seconds: float) -> dict[str, Any]:
    """Export, and measure the providers that onnxruntime has here."""
    import onnxruntime

    from zoo.onnx_export import DeployedModel, export_onnx

    model, card = load_model(WEIGHTS)
    card = card.replace(input_size=(size, size))
    there = onnxruntime.get_available_providers()
    wanted = [
        name for name in PROVIDERS if name in there and (device.type == "cpu" or not name.startswith("CPU"))
    ]
    rows: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(DeployedModel(model, card), card, path)
        image = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8).numpy()
        for name in wanted:
            session = onnxruntime.InferenceSession(str(path), providers=[name])
            if session.get_providers()[0] != name:
                # It falls back without a word.
                rows[name] = None
                continue
            rows[name] = round(
                rate(lambda s=session: s.run(None, {"image": image}), batch, torch.device("cpu"), seconds), 1
            )
    return {
        "batch": batch,
        "providers": rows,
        "missing": [name for name in PROVIDERS[:2] if name not in there],
    }
