"""Colours and types from one of our models over the same image as somebody else's network, in one graph."""

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from serving.conversion.foreign_graph import add_prefix
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel, InferenceOutputs
from zoo.onnx_export import DeployedModel, export_onnx

OUTPUTS = ("color_probs", "type_probs")

_PREFIX = "attributes/"

_OPSETS = range(9, 21)
"""That torch's exporter writes, and that our models' operators are part of."""


class _Attributes(nn.Module):
    """A model's colours and types of images of another size than its own.

    The pixels are resized by the filter of `zoo.preprocess.resize` that the card names, as one
    product of matrices for each axis, which every opset knows. Nothing is rounded to bytes on the way.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, model: nn.Module, card: Card, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = InferenceModel(model, card)
        self.is_resized = size != card.input_size
        rows, columns = (
            resizing_matrix(*pair, card.antialias) for pair in zip(size, card.input_size, strict=True)
        )
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("columns", torch.from_numpy(columns.T.copy()), persistent=False)

    def forward(self, image: Tensor) -> InferenceOutputs:
        """Predict; see `zoo.inference.InferenceModel.forward`."""
        if self.is_resized:
            planes = image.permute(0, 3, 1, 2).float()
            image = torch.matmul(torch.matmul(self.rows, planes), self.columns).permute(0, 2, 3, 1)
        answer: InferenceOutputs = self.model(image)
        return answer


class BorrowedAttributes(DeployedModel):
    """One of our models as far as it tells colours and types, for images of another network's size.

    Args:
        model: with its weights.
        card: its card.
        host: the card of the network that it stands beside.

    Attributes:
        card: `host` with the outputs and classes of the model, and a word on whose they are.

    Raises:
        UserError: the model tells neither, or needs more than the image.
    """

    def __init__(self, model: nn.Module, card: Card, host: Card) -> None:
        outputs = {name: card.outputs[name] for name in OUTPUTS if name in card.outputs}
        if not outputs:
            raise UserError(f"{card.name}: tells neither colour nor type; name another --attributes-from")
        if card.pose_inputs:
            raise UserError(
                f"{card.name}: needs {', '.join(card.pose_inputs)} beside the image; name another "
                "--attributes-from"
            )
        what = " and ".join(
            word for name, word in zip(OUTPUTS, ("colours", "types"), strict=True) if name in outputs
        )
        self_card = host.replace(
            outputs={**host.outputs, **outputs},
            colors=card.colors if "color_probs" in outputs else (),
            types=card.types if "type_probs" in outputs else (),
            temperature=card.temperature,
            licence=f"{host.licence}; {what}: {card.licence}",
            notes=" ".join(
                filter(None, (host.notes, f"Its {what} are those of {card.name} over the same image."))
            ),
        )
        super().__init__(model, self_card.replace(outputs=outputs))
        self.inference = _Attributes(model, card, host.input_size).eval()
        self.card = self_card

    def merge_into(self, proto: onnx.ModelProto, opset: int, folder: Path) -> None:
        """Put the model's graph beside the one in `proto`, over the same `image`.

        Args:
            proto: changed in place.
            opset: of the operators of `proto`, which both have to share.
            folder: for a file in between.

        Raises:
            UserError: our models cannot be written at that opset.
        """
        if opset not in _OPSETS:
            raise UserError(
                f"--attributes-from is written at opset {_OPSETS[0]} to {_OPSETS[-1]}, and the network has "
                f"{opset}; export the network at one of these, or leave out --attributes-from"
            )
        file = folder / "attributes.onnx"
        export_onnx(self, self.card.replace(outputs=self.outputs), file, opset=opset)
        ours = onnx.load(file)
        file.unlink()
        add_prefix(ours.graph, _PREFIX)
        for node in ours.graph.node:
            node.input[:] = ["image" if name == f"{_PREFIX}image" else name for name in node.input]
            node.output[:] = [
                name.removeprefix(_PREFIX) if name.removeprefix(_PREFIX) in self.outputs else name
                for name in node.output
            ]
        proto.graph.node.extend(ours.graph.node)
        proto.graph.initializer.extend(ours.graph.initializer)
        for output in ours.graph.output:
            output.name = output.name.removeprefix(_PREFIX)
            proto.graph.output.append(output)

    @property
    def outputs(self) -> dict[str, int]:
        """What the model adds: name -> dimension."""
        return {name: self.card.outputs[name] for name in self.output_names}


def resizing_matrix(source: int, target: int, antialias: bool = True) -> np.ndarray:
    """The weights of a bilinear resize of one axis, antialiased as Pillow does it, or plain.

    Returns:
        float32 [target, source]; every row sums to 1.
    """
    scale = source / target
    support = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(target) + 0.5) * scale
    if not antialias:
        centres = np.clip(centres, 0.5, source - 0.5)
    distances = np.abs(np.arange(source) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - distances, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
