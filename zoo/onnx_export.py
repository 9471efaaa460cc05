"""From a torch model to an ONNX file: dynamic batch, named inputs and outputs, the card inside."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.card import Card
from zoo.inference import InferenceModel
from zoo.onnx_model import CARD_KEY
from zoo.pose import POSE_DTYPES

OPSET = 14
"""Read by all of onnxruntime, TensorRT, OpenVINO and every release of Ascend's ATC, and enough for int8 by
channel, which needs 13."""

TORCHSCRIPT: dict[str, Any] = {"dynamo": False} if torch.__version__ >= "2.5" else {}
"""What makes `torch.onnx.export` take the TorchScript exporter; before torch 2.5 there is no choice."""


def sample_inputs(card: Card, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Make random inputs by name: uint8 images [batch, H, W, 3] and whatever pose inputs the card names."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {"image": torch.randint(0, 256, (batch, *card.input_size, 3), generator=generator).byte()}
    for name, shape in card.pose_inputs.items():
        if POSE_DTYPES[name] == "uint8":
            inputs[name] = torch.randint(0, 256, (batch, *shape), generator=generator).byte()
        else:
            inputs[name] = torch.rand((batch, *shape), generator=generator) - 0.5
    return inputs


class DeployedModel(nn.Module):
    """A model with its card's inputs by position and its outputs as a tuple, as exporters want them."""

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.inference: nn.Module = InferenceModel(model, card)
        self.input_names = ["image", *card.pose_inputs]
        self.output_names = list(card.outputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Predict; see `zoo.inference.InferenceModel.forward`."""
        outputs = self.inference(**dict(zip(self.input_names, inputs, strict=True)))
        return tuple(getattr(outputs, name) for name in self.output_names)


def _with_plain_norms(model: DeployedModel) -> DeployedModel:
    """A copy in whose BatchNorms only a scale is left to fold.

    Torch's square root differs from processor to processor in the last digit; NumPy's is IEEE 754's.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_var is not None:
            scale = 1 / np.sqrt(module.running_var.double().numpy() + module.eps)
            module.running_var.fill_(1)
            module.eps = 0.0
            module.weight.copy_(torch.from_numpy(module.weight.double().numpy() * scale))
    return model


def export_onnx(model: DeployedModel, card: Card, path: Path, fold: bool = True, opset: int = OPSET) -> None:
    """Write the model as ONNX.

    Args:
        model: the model.
        card: its card, which goes into the file.
        path: of the file.
        fold: BatchNorm into the convolution before it; without, every initializer is a parameter as it is.
        opset: another one is for a graph that has to fit another.

    The TorchScript exporter is used on purpose. The one built on torch.export writes opset 18 and IR version
    10: its conversion of this graph to an older opset fails with a mere warning, and ATC reads neither. This
    one gives the opset, IR version 8 at most and a free batch axis. The same weights give the same bytes on
    every processor, so that the file's hash names the model.
    """
    import onnx

    axes = {name: {0: "batch"} for name in (*model.input_names, *model.output_names)}
    # Traced with two images: a batch of one is where a batch axis gets lost.
    sample = tuple(sample_inputs(card, batch=2).values())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _with_plain_norms(model.eval()) if fold else model.eval(),
            sample,
            str(path),
            **TORCHSCRIPT,
            training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=fold,
            opset_version=opset,
            input_names=model.input_names,
            output_names=model.output_names,
            dynamic_axes=axes,
        )
    proto = onnx.load(path)
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = card.outputs[output.name]
    proto.metadata_props.add(key=CARD_KEY, value=card.replace(sameness={}).to_json())
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
