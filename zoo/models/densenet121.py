"""DenseNet121 (Huang et al., CVPR 2017): PAMTRI's network, and options that make it a stronger one.

`base.*` is torchvision's `densenet121().features`, so that published checkpoints load by name. torchvision's
own forward has a ReLU after `norm5`; those checkpoints were trained without it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from zoo.models.layers import InstanceBatchNorm2d, widen
from zoo.models.network import ImageNetTrunk, NetworkOptions, VehicleNetwork
from zoo.registry import register

POOLED_DIM = 1024

_IBN_BLOCKS = ("denseblock1", "denseblock2", "denseblock3")


@dataclass(frozen=True)
class DenseNet121Options(NetworkOptions):
    """Attributes: `last_stride` 1 leaves out the last halving of the maps; `ibn` normalises half of each
    bottleneck's channels by instance in all blocks but the last (IBN-a)."""

    last_stride: Literal[1, 2] = 2
    ibn: bool = False


@register("densenet121", DenseNet121Options)
class DenseNet121(VehicleNetwork):
    """The multi-task network; the options are those of `DenseNet121Options`."""

    imagenet = ImageNetTrunk(
        "DenseNet121_Weights.IMAGENET1K_V1",
        prefix="features.",
        leaves_out="classifier.",
        first="conv0.weight",
    )

    def __init__(self, **options: Any) -> None:
        chosen = DenseNet121Options(**options)
        super().__init__(_trunk(chosen), POOLED_DIM, chosen)


def _trunk(options: DenseNet121Options) -> nn.Module:
    from torchvision.models import densenet121

    trunk = densenet121(weights=None).features
    if options.input_channels > 3:
        trunk.conv0 = widen(trunk.conv0, options.input_channels - 3)
    if options.last_stride == 1:
        trunk.transition3.pool = nn.Identity()
    if options.ibn:
        # The norm after a bottleneck's first convolution, as in a ResNet; the last block, whose maps carry
        # identity more than style, keeps its own.
        for name in _IBN_BLOCKS:
            for layer in trunk.get_submodule(name).children():
                layer.norm2 = InstanceBatchNorm2d(layer.norm2.num_features)
    built: nn.Module = trunk
    return built
