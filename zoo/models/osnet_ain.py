"""OSNet-AIN: a small network of several scales at once, with instance norms against camera style.

Omni-Scale Feature Learning for Person Re-Identification (Zhou et al., ICCV 2019) and Learning Generalisable
Omni-Scale Representations (Zhou et al., TPAMI 2021), written from the papers. The instance norms stand where
the second paper's search put them.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers import Neck, Pool
from zoo.models.network import NetworkOptions, VehicleNetwork
from zoo.registry import register

_CHANNELS = (64, 256, 384, 512)
"""Of the stem and the three stages, at width 1."""

POOLED_DIM = _CHANNELS[-1]

_INSTANCE_NORMS = ((True, True), (False, True), (True, False))
"""Which of each stage's two blocks have one."""

_NUM_STREAMS = 4
_GATE_REDUCTION = 16


def _conv_norm(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        norm=nn.BatchNorm2d(out_channels),
    )
    if relu:
        layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _light_conv(channels: int) -> nn.Sequential:
    """A 3x3 convolution in two factors: across channels, then within each."""
    return nn.Sequential(
        OrderedDict(
            pointwise=nn.Conv2d(channels, channels, 1, bias=False),
            depthwise=nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
        )
    )


class AggregationGate(nn.Module):
    """Weighs a stream's channels by what the stream itself sees; all streams of a block share one gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // _GATE_REDUCTION, 1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh float [N, C, H, W]."""
        pooled = F.adaptive_avg_pool2d(maps, 1)
        return maps * torch.sigmoid(self.expand(F.relu(self.reduce(pooled))))


class OmniScaleBlock(nn.Module):
    """A residual bottleneck of four streams that see 3, 5, 7 and 9 pixels wide.

    Args:
        in_channels: of the maps that come in.
        out_channels: of the maps that go out.
        instance_norm: normalises the residual by instance before it is added.
    """

    def __init__(self, in_channels: int, out_channels: int, instance_norm: bool) -> None:
        super().__init__()
        middle = out_channels // 4
        self.reduce = _conv_norm(in_channels, middle)
        self.streams = nn.ModuleList(
            nn.Sequential(*[_light_conv(middle) for _ in range(depth)])
            for depth in range(1, _NUM_STREAMS + 1)
        )
        self.gate = AggregationGate(middle)
        if instance_norm:
            self.expand: nn.Module = nn.Conv2d(middle, out_channels, 1, bias=False)
            self.norm: nn.Module = nn.InstanceNorm2d(out_channels, affine=True)
        else:
            self.expand = _conv_norm(middle, out_channels, relu=False)
            self.norm = nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = _conv_norm(in_channels, out_channels, relu=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute float [N, out_channels, H, W] from [N, in_channels, H, W]."""
        reduced = self.reduce(maps)
        streams = [self.gate(stream(reduced)) for stream in self.streams]
        residual = self.norm(self.expand(torch.stack(streams).sum(0)))
        return F.relu(self.shortcut(maps) + residual)


@dataclass(frozen=True)
class OsnetAinOptions(NetworkOptions):
    """Attributes: `width` multiplies the channels of all layers."""

    embedding_dim: int = 256
    attribute_dim: int = 128
    neck: Neck = "bn"
    pool: Pool = "gem"
    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.25 <= self.width <= 2.0:
            raise ValueError(f"width = {self.width}: must be in 0.25..2")


@register("osnet_ain", OsnetAinOptions)
class OsnetAin(VehicleNetwork):
    """The multi-task network; the options are those of `OsnetAinOptions`."""

    def __init__(self, **options: Any) -> None:
        chosen = OsnetAinOptions(**options)
        # Multiples of 16 fill the vector registers, and a quarter of them splits evenly.
        channels = [16 * round(count * chosen.width / 16) for count in _CHANNELS]
        super().__init__(make_trunk(channels, chosen.input_channels), channels[-1], chosen)


def make_trunk(channels: Sequence[int] = _CHANNELS, input_channels: int = 3) -> nn.Module:
    """Make the trunk, from float [N, input_channels, H, W] to maps [N, channels[-1], H / 16, W / 16].

    Args:
        channels: of the stem and the three stages.
        input_channels: of the images.
    """
    stem = nn.Conv2d(input_channels, channels[0], 7, stride=2, padding=3, bias=False)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=stem,
        norm1=nn.InstanceNorm2d(channels[0], affine=True),
        relu1=nn.ReLU(inplace=True),
        pool1=nn.MaxPool2d(3, stride=2, padding=1),
    )
    for stage, norms in enumerate(_INSTANCE_NORMS, start=1):
        before, after = channels[stage - 1], channels[stage]
        layers[f"stage{stage}"] = nn.Sequential(
            OmniScaleBlock(before, after, norms[0]), OmniScaleBlock(after, after, norms[1])
        )
        if stage < len(_INSTANCE_NORMS):
            layers[f"transition{stage}"] = nn.Sequential(_conv_norm(after, after), nn.AvgPool2d(2))
    layers["conv5"] = _conv_norm(channels[-1], channels[-1])
    trunk = nn.Sequential(layers)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if input_channels > 3:
        # As in the trunks that start from ImageNet's weights.
        nn.init.normal_(stem.weight.data[:, 3:], mean=0.0, std=0.02)
    return trunk
