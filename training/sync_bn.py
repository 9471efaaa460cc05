"""BatchNorm over the images of all ranks, on any kind of device: torch's own refuses CPUs."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.amp import at_least_fp32
from training.ranks import Ranks


class SyncBatchNorm(_BatchNorm):
    """BatchNorm whose statistics are those of all ranks' equally many images, running ones included.

    The ranks' means and variances are gathered with gradient, which leaves the backward pass to autograd.
    """

    ranks: Ranks

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [N, C, ...]."""
        if not self.training:
            return super().forward(input)
        values = at_least_fp32(input)
        over = [axis for axis in range(input.dim()) if axis != 1]
        variance, mean = torch.var_mean(values, over, correction=0)
        means, variances = self.ranks.gather(torch.stack((mean, variance))[None]).unbind(1)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach(), self.ranks.world_size * values.numel() // len(mean))
        shape = [-1 if axis == 1 else 1 for axis in range(input.dim())]
        scale = torch.rsqrt(variance + self.eps)
        scale, shift = (scale, -mean * scale) if self.weight is None else self._affine(mean, scale)
        return (values * scale.view(shape) + shift.view(shape)).to(input.dtype)

    def _affine(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        scale = scale * self.weight
        return scale, self.bias - mean * scale

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {list(input.shape)}")


def synchronise(model: nn.Module, ranks: Ranks) -> None:
    """Let every BatchNorm of a model work over all ranks; weights and their names stay."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            # The same object under another class: its parameters and hooks stay where they are.
            module.__class__ = SyncBatchNorm  # type: ignore[assignment]
            module.ranks = ranks  # type: ignore[assignment]
