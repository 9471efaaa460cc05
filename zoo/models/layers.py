"""Layers that the networks share: pooling, normalisation, the neck, more input channels."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pool = Literal["avg", "gem"]
Neck = Literal["none", "bn"]


class GeM(nn.Module):
    """Generalised-mean pooling with a learnable exponent (Radenovic et al., TPAMI 2019, equation 3).

    Exponent 1 is the average of the positive part, infinity the maximum. Negative values count as zero: after
    a trunk without a last ReLU, this pooling is that ReLU too.

    Args:
        p: the exponent to start from.
        eps: the least value that is raised to a power, so that its gradient stays finite.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))
        self.eps = eps

    def forward(self, maps: Tensor) -> Tensor:
        """Pool float [N, C, H, W] to [N, C, 1, 1]."""
        # A cube leaves half precision's range at 40, so the powers are taken in float32 whatever comes in.
        with torch.autocast(maps.device.type, enabled=False):
            exponent = self.p.float()
            powers = maps.float().clamp(min=self.eps).pow(exponent)
            return F.adaptive_avg_pool2d(powers, 1).pow(1.0 / exponent).to(maps.dtype)


class InstanceBatchNorm2d(nn.Module):
    """Instance normalisation of the first half of the channels and batch normalisation of the others.

    IBN-a of Pan et al., "Two at Once", ECCV 2018: what differs between cameras and light is taken out of one
    half, what tells vehicles apart is kept in the other.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sizes = (channels // 2, channels - channels // 2)
        self.instance = nn.InstanceNorm2d(self.sizes[0], affine=True)
        self.batch = nn.BatchNorm2d(self.sizes[1])

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise float [N, C, H, W]."""
        first, second = maps.split(self.sizes, dim=1)  # type: ignore[no-untyped-call]
        return torch.cat((self.instance(first), self.batch(second)), dim=1)

    def share_out(self, state: dict[str, Tensor], name: str) -> None:
        """Replace the values of `name`, a batch normalisation over all channels, by those of this module's
        two: so a network with instance normalisation starts from the weights of one without."""
        for key in ("weight", "bias", "running_mean", "running_var"):
            first, second = state.pop(f"{name}.{key}").split(self.sizes)  # type: ignore[no-untyped-call]
            state[f"{name}.batch.{key}"] = second
            if key in ("weight", "bias"):
                state[f"{name}.instance.{key}"] = first
        state[f"{name}.batch.num_batches_tracked"] = state.pop(f"{name}.num_batches_tracked")


def make_pool(kind: Pool) -> nn.Module:
    """Make the pooling from maps [N, C, H, W] to [N, C, 1, 1]."""
    return GeM() if kind == "gem" else nn.AdaptiveAvgPool2d(1)


def bn_neck(dim: int) -> nn.BatchNorm1d:
    """Make the batch normalisation between metric loss and classifier (Luo et al., CVPRW 2019).

    Its shift stays zero, as the classifier after it has no bias: both losses then see one origin.
    """
    neck = nn.BatchNorm1d(dim)
    neck.bias.requires_grad_(False)
    return neck


def widen(conv: nn.Conv2d, extra_channels: int) -> nn.Conv2d:
    """Return `conv` with more input channels after its own, initialised with Gaussian(0, 0.02)."""
    wide = nn.Conv2d(
        conv.in_channels + extra_channels,
        conv.out_channels,
        kernel_size=(conv.kernel_size[0], conv.kernel_size[1]),
        stride=(conv.stride[0], conv.stride[1]),
        padding=(int(conv.padding[0]), int(conv.padding[1])),
        bias=False,
    )
    with torch.no_grad():
        nn.init.normal_(wide.weight, mean=0.0, std=0.02)
        wide.weight[:, : conv.in_channels] = conv.weight
    return wide
