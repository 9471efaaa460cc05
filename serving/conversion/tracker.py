"""One of our models as trackers take one: a float image in, an embedding out, and no more."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from serving.conversion.foreign_network import open_session, run_session
from serving.conversion.parity import BATCHES, TOLERANCE, compare
from zoo.card import IMAGENET_MEAN, IMAGENET_STD, Card
from zoo.errors import UserError
from zoo.files import replacing
from zoo.onnx_export import OPSET, TORCHSCRIPT


class TrackerModel(nn.Module):
    """A model behind the normalisation that trackers do themselves.

    BoxMOT and those like it give RGB with ImageNet's mean and standard deviation. What a card asks for beyond
    that is made up for here; where a card asks for the same, nothing is.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.channels = card.channels
        given_mean, given_std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        if card.channels == "BGR":
            given_mean, given_std = given_mean.flip(0), given_std.flip(0)
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        self.is_shifted = not (torch.equal(mean, given_mean) and torch.equal(std, given_std))
        self.register_buffer("scale", (given_std / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((given_mean - mean) / std).view(1, 3, 1, 1), persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Embed float32 [N, 3, H, W]: float32 [N, D]."""
        pixels = images if self.channels == "RGB" else images.flip(1)
        if self.is_shifted:
            pixels = pixels * self.scale + self.shift
        embedding: Tensor = self.model(pixels, None).embedding
        return embedding.float()


def export_tracker(model: nn.Module, card: Card, out: Path, batch: int | None = None) -> dict[str, Any]:
    """Write `images` float32 [N, 3, H, W] in, `embedding` float32 [N, D] out, whole or not at all.

    Args:
        model: from `zoo.registry`, with its weights.
        card: its card.
        out: the .onnx file.
        batch: N, written into the file; None leaves it free.

    Returns:
        The largest difference from torch at each batch size.

    Raises:
        UserError: the model needs more than an image, the file does not give its numbers, or `out` cannot be
            written.
    """
    if card.pose_inputs:
        wanted = ", ".join(card.pose_inputs)
        raise UserError(f"{card.name}: needs {wanted} with each image; trackers give the image alone")
    tracker = TrackerModel(model, card)
    sample = torch.zeros(batch or 2, 3, *card.input_size)
    with replacing(out) as temporary:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                tracker,
                (sample,),
                str(temporary),
                **TORCHSCRIPT,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["embedding"],
                dynamic_axes=None if batch else {"images": {0: "batch"}, "embedding": {0: "batch"}},
            )
        proto = onnx.load(temporary)
        proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = card.outputs["embedding"]
        # Not the card: by that, programs know files that take bytes.
        about = {
            "name": card.name,
            "licence": card.licence,
            "resize": "bilinear, antialiased" if card.antialias else "bilinear, not antialiased",
            "pixels": f"RGB, (x / 255 - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}",
        }
        onnx.helper.set_model_props(proto, about)
        onnx.checker.check_model(proto, full_check=True)
        temporary.write_bytes(proto.SerializeToString())
        return _check(tracker, card, temporary, (batch,) if batch else BATCHES)


def _check(tracker: TrackerModel, card: Card, file: Path, batches: tuple[int, ...]) -> dict[str, Any]:
    session = open_session(file)
    checks = []
    for batch in batches:
        images = torch.randn(batch, 3, *card.input_size, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = tracker(images).numpy()
        found = run_session(session, file, np.asarray(images))
        check = compare("embedding", expected, found, (batch, card.outputs["embedding"]))
        if not check["relative"] <= TOLERANCE:
            raise UserError(
                f"{card.name}: the tracker's file differs from torch at batch size {batch} (relative "
                f"{check['relative']:.2g}, allowed {TOLERANCE:g}); nothing was written"
            )
        checks.append({"batch": batch, **check})
    return {"tolerance": TOLERANCE, "checks": checks}
