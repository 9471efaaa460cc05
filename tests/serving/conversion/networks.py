"""Networks from elsewhere as ONNX files: torch's own modules and one of ours, by either exporter."""

import contextlib
import io
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from zoo.onnx_export import TORCHSCRIPT


class TinyNet(nn.Module):
    """A small convolutional network that takes images of any size."""

    def __init__(self, dimension: int = 16) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, dimension)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Embed float32 [N, 3, H, W]."""
        pooled = self.pool(self.features(image))
        embedding: Tensor = self.head(pooled.reshape(pooled.shape[0], -1))
        return embedding


class Ours(nn.Module):
    """One of the zoo's models as others would export it: its embedding of normalised planes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Embed float32 [N, 3, H, W]."""
        embedding: Tensor = self.model(image, None).embedding
        return embedding


def transformer(size: int = 32) -> nn.Module:
    """torchvision's vision transformer, small, without its classifier."""
    torch.manual_seed(4)
    model = VisionTransformer(size, 16, 2, 2, 32, 64)
    model.heads = nn.Identity()
    return model.eval()


def write_onnx(
    path: Path,
    model: nn.Module,
    size: tuple[int, int] = (64, 48),
    *,
    batch: int = 1,
    free: tuple[int, ...] = (),
    opset: int = 17,
    dynamo: bool = False,
    outputs: tuple[str, ...] = ("features",),
) -> Path:
    """Export a network; `free` are the axes of its image that stay open."""
    sample = torch.zeros(2 if 0 in free and batch == 1 else batch, 3, *size)
    options: dict[str, object] = {"opset_version": opset, **TORCHSCRIPT}
    if free:
        options["dynamic_axes"] = {"image": {axis: f"axis{axis}" for axis in free}} | {
            name: {0: "axis0"} for name in outputs if 0 in free
        }
    if dynamo:
        if not TORCHSCRIPT:
            pytest.skip(f"torch {torch.__version__} has the old exporter alone")
        options = {"dynamo": True}
        if free:
            options["dynamic_shapes"] = ({axis: torch.export.Dim(f"axis{axis}") for axis in free},)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        # "image" and "features" collide with our own names, as many files' do.
        torch.onnx.export(
            model.eval(), (sample,), str(path), input_names=["image"], output_names=list(outputs), **options
        )
    return path
