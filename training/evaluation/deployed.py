"""A model as an evaluation runs it: eager torch, or the graph that would be served where that is faster."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from training.distributed.devices import kind_of
from zoo.card import Card
from zoo.inference import InferenceModel, OnnxInference
from zoo.loading import load_model
from zoo.onnx_export import DeployedModel, export_onnx, sample_inputs
from zoo.registry import network_folder

EXPORTED_FROM = 400
"""Images from which an export, two to six seconds of processor time, is worth it."""

TOLERANCE = 1e-4
"""Largest difference of the graph from torch that is taken, relative to an output's largest value."""

_log = logging.getLogger(__name__)


@contextmanager
def deployed_model(
    weights: str | Path, device: torch.device, images: int
) -> Iterator[tuple[InferenceModel | OnnxInference, Card]]:
    """Open weights, a model of the zoo or an exported ONNX file, and its card.

    On a CPU, weights are run by onnxruntime where many `images` follow: it takes about half of the processor
    time of eager torch, with the same numbers.

    Raises:
        UserError: see `load_model` and `OnnxInference`.
    """
    if (network := network_folder(weights)) is not None:
        weights = network / "model.onnx"
    if str(weights).endswith(".onnx"):
        exported = OnnxInference(weights)
        yield exported, exported.card
        return
    model, card = load_model(weights)
    if device.type == "cpu" and images >= EXPORTED_FROM:
        with tempfile.TemporaryDirectory() as folder:
            graph = _exported(DeployedModel(model, card), card, Path(folder) / "model.onnx")
            if graph is not None:
                yield graph, card
                return
    deployed = InferenceModel(model, card).to(device)
    if kind_of(device).channels_last:
        deployed = deployed.to(memory_format=torch.channels_last)
    yield deployed, card


def _exported(model: DeployedModel, card: Card, path: Path) -> OnnxInference | None:
    """The model as a graph; None where it cannot be one, or answers otherwise."""
    try:
        export_onnx(model, card, path)
        graph = OnnxInference(path)
        # Neither the images nor their number are those of the trace.
        sample = sample_inputs(card, batch=3, seed=1)
        with torch.inference_mode():
            expected, answer = model.inference(**sample), graph(**sample)
        for name, right, found in zip(expected._fields, expected, answer, strict=True):
            if right is not None and (right - found).abs().max() > TOLERANCE * right.abs().max():
                raise ValueError(f"{name} differs from torch's")
    except Exception as error:
        # Exporters and runtimes raise whatever they like of a network that they do not know.
        _log.info("%s: evaluated by torch, not as a graph (%s)", card.name, " ".join(str(error).split()))
        return None
    return graph
