"""ResNet50-IBN-a (He et al., CVPR 2016; Pan et al., ECCV 2018) under the head of strong baselines.

`base.*` has the names of torchvision's `resnet50()` without its classifier. The norm after the first
convolution of each bottleneck in the first three stages is half instance, half batch normalisation.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from zoo.models.layers import InstanceBatchNorm2d, Neck, Pool, widen
from zoo.models.network import ImageNetTrunk, NetworkOptions, VehicleNetwork
from zoo.registry import register

POOLED_DIM = 2048

_STEM = ("conv1", "bn1", "relu", "maxpool")
_STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class ResNet50IbnOptions(NetworkOptions):
    """Attributes: `last_stride` 1 leaves out the last halving of the maps."""

    embedding_dim: int = 512
    attribute_dim: int = 256
    neck: Neck = "bn"
    pool: Pool = "gem"
    last_stride: Literal[1, 2] = 1


@register("resnet50_ibn", ResNet50IbnOptions)
class ResNet50Ibn(VehicleNetwork):
    """The multi-task network; the options are those of `ResNet50IbnOptions`."""

    # The edition that published baselines started from, not torchvision's later one.
    imagenet = ImageNetTrunk(
        "ResNet50_Weights.IMAGENET1K_V1", prefix="", first="conv1.weight", leaves_out="fc."
    )

    def __init__(self, **options: Any) -> None:
        chosen = ResNet50IbnOptions(**options)
        super().__init__(_trunk(chosen), POOLED_DIM, chosen)


def _trunk(options: ResNet50IbnOptions) -> nn.Module:
    from torchvision.models import resnet50

    whole = resnet50(weights=None)
    if options.input_channels > 3:
        whole.conv1 = widen(whole.conv1, options.input_channels - 3)
    for stage in _STAGES[:3]:
        for bottleneck in whole.get_submodule(stage).children():
            bottleneck.bn1 = InstanceBatchNorm2d(bottleneck.bn1.num_features)
    if options.last_stride == 1:
        first = whole.layer4[0]
        first.conv2.stride = first.downsample[0].stride = (1, 1)
    return nn.Sequential(OrderedDict((name, whole.get_submodule(name)) for name in (*_STEM, *_STAGES)))
