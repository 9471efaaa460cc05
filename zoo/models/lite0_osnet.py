"""Two small trunks side by side under one head: EfficientNet-Lite0 and OSNet-AIN.

A trunk that starts from ImageNet knows what real vehicles look like, one that was trained on drawn vehicles
alone knows what tells one vehicle from another of its kind, and the two joined are better than either. Both
are small enough that the pair is still smaller than a DenseNet121. The trunks are described in
`zoo.models.efficientnet_lite0` and `zoo.models.osnet_ain`.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models import efficientnet_lite0, osnet_ain
from zoo.models.layers import GeM, Neck
from zoo.models.network import NetworkOptions, VehicleNetwork
from zoo.registry import register

_LEAST = 32
"""Pixels a side: an instance norm takes no maps of a single pixel."""

POOLED_DIM = efficientnet_lite0.POOLED_DIM + osnet_ain.POOLED_DIM


@dataclass(frozen=True)
class Lite0OsnetOptions(NetworkOptions):
    """Pooling is each trunk's own, by generalised means; the option `pool` changes nothing."""

    embedding_dim: int = 512
    attribute_dim: int = 256
    neck: Neck = "bn"


class PairTrunk(nn.Module):
    """Both trunks, each with its pooling.

    Args:
        input_channels: of the images.
    """

    def __init__(self, input_channels: int = 3) -> None:
        super().__init__()
        self.lite0 = efficientnet_lite0.make_trunk(input_channels)
        self.lite0_pool = GeM()
        self.osnet = osnet_ain.make_trunk(input_channels=input_channels)
        self.osnet_pool = GeM()

    def forward(self, image: Tensor) -> Tensor:
        """Compute float [N, 1280 + 512, 1, 1] from [N, input_channels, H, W].

        OSNet-AIN sees the image at three quarters of its size: it halves less often, and would take most of
        the time else.
        """
        height, width = (max(_LEAST, side * 3 // 4) for side in image.shape[-2:])
        smaller = F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False)
        return torch.cat((self.lite0_pool(self.lite0(image)), self.osnet_pool(self.osnet(smaller))), dim=1)


@register("lite0_osnet", Lite0OsnetOptions)
class Lite0Osnet(VehicleNetwork):
    """The multi-task network; the options are those of `Lite0OsnetOptions`."""

    def __init__(self, **options: Any) -> None:
        chosen = Lite0OsnetOptions(**options)
        super().__init__(PairTrunk(chosen.input_channels), POOLED_DIM, chosen)
