"""Proof that an ONNX file computes what the torch model computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from zoo.card import Card
from zoo.errors import UserError
from zoo.onnx_export import DeployedModel, sample_inputs
from zoo.onnx_model import OnnxModel

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the output's largest value."""

BATCHES = (1, 5, 16)
"""One image, a ragged batch that is no size anything was traced or tuned with, and a full one."""


def check_parity(
    model: DeployedModel, card: Card, onnx_file: Path, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Compare torch and onnxruntime on random images.

    Returns:
        The report: versions, tolerance, and per batch size and output the largest absolute and relative
        difference.

    Raises:
        UserError: an output is missing, misshapen, not finite, or differs by more than the tolerance.
    """
    onnx_model = OnnxModel(onnx_file)
    checks = []
    for batch in BATCHES:
        inputs = sample_inputs(card, batch, seed=batch)
        with torch.no_grad():
            expected = dict(zip(model.output_names, model(*inputs.values()), strict=True))
        try:
            answers = onnx_model.run({name: value.numpy() for name, value in inputs.items()})
        except Exception as error:
            raise UserError(
                f"{card.name}: the exported graph fails at batch size {batch}; no bundle was written "
                f"({' '.join(str(error).split())})"
            ) from error
        for name, dimension in card.outputs.items():
            check = compare(name, expected[name].numpy(), answers[name], (batch, dimension))
            if not check["relative"] <= tolerance:
                raise UserError(
                    f"{card.name}: output {name} differs between torch and onnxruntime at batch size {batch} "
                    f"(relative {check['relative']:.2g}, allowed {tolerance:g}); no bundle was written"
                )
            checks.append({"batch": batch, **check})
    return {
        "tolerance": tolerance,
        "torch": str(torch.__version__),
        "onnxruntime": onnxruntime.__version__,
        "checks": checks,
    }


def compare(name: str, expected: np.ndarray, answer: np.ndarray, shape: tuple[int, int]) -> dict[str, Any]:
    """Find the largest absolute and relative difference of one output; infinite for none that fits."""
    if answer.shape != shape or expected.shape != shape or not np.isfinite(expected).all():
        return {"output": name, "absolute": float("inf"), "relative": float("inf")}
    absolute = float(np.abs(expected.astype(np.float64) - answer).max())
    scale = float(np.abs(expected).max())
    return {"output": name, "absolute": absolute, "relative": absolute / max(scale, 1e-12)}
