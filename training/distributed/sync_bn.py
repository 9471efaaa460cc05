"""BatchNorm over the images of all ranks, on any kind of device: torch's own refuses CPUs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.distributed.amp import at_least_fp32
from training.distributed.ranks import Ranks


class SyncBatchNorm(_BatchNorm):
    """BatchNorm whose statistics are those of all ranks' equally many images, running ones included."""

    ranks: Ranks

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [N, C, ...]."""
        if not self.training:
            return super().forward(input)
        result: tuple[Tensor, Tensor, Tensor] = _Normalise.apply(
            input, self.weight, self.bias, self.eps, self.ranks
        )
        output, mean, variance = result
        if self.track_running_stats:
            self._track(mean, variance, self.ranks.world_size * input.numel() // len(mean))
        return output

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


class _Normalise(torch.autograd.Function):
    """One collective forwards and one backwards; kept between the two is the input as it came.

    Left to autograd, the same arithmetic would keep several copies of each layer's activations in fp32.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(at_least_fp32(values), _all_but_channels(values), correction=0)
        means, variances = ranks.gather(torch.stack((mean, variance))[None]).unbind(1)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        ctx.save_for_backward(values, weight, mean, torch.rsqrt(variance + eps))
        ctx.ranks = ranks
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(values, mean, variance, weight, bias, False, 0.0, eps), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, inverse = ctx.saved_tensors
        over = _all_but_channels(values)
        shape = [-1 if axis == 1 else 1 for axis in range(values.dim())]
        gradient, centred = at_least_fp32(gradients[0]), at_least_fp32(values) - mean.view(shape)
        own = torch.stack((gradient.sum(over), (gradient * centred).sum(over)))
        # The gradient of all ranks' losses in what a rank's images did to the statistics of all.
        to_mean, to_spread = ctx.ranks.total(own) * (len(mean) / values.numel() / ctx.ranks.world_size)
        slope = (to_spread * inverse.square()).view(shape)
        scale = inverse if weight is None else inverse * weight
        moved = (gradient - to_mean.view(shape) - centred * slope).mul_(scale.view(shape)).to(values.dtype)
        if weight is None:
            return moved, None, None, None, None
        return moved, own[1] * inverse, own[0], None, None


def _all_but_channels(values: Tensor) -> list[int]:
    return [axis for axis in range(values.dim()) if axis != 1]
