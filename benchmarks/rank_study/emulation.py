"""Ranks emulated in one process: a global batch in rank order, and arithmetic that keeps the ranks apart
where real ones are.

The gradient is the mean over ranks, as DistributedDataParallel leaves it; a test holds both side by side.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.rank_study.arms import Arm
from training.data.batches import Batch
from training.losses import batch_hard_triplet
from training.run.recipe import LossOptions
from training.run.step import loss_parts
from zoo.models.network import NetworkOutputs


class RankBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm of equal slices of the batch, each by its own statistics.

    The module's running statistics are rank 0's, those of the other ranks are beside them.
    """

    others: list[tuple[Tensor, Tensor]]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [ranks * n, C, H, W]."""
        if not self.training:
            return super().forward(input)
        first, *rest = input.chunk(1 + len(self.others))
        normalised = [super().forward(first)]
        for images, (mean, variance) in zip(rest, self.others, strict=True):
            normalised.append(
                F.batch_norm(images, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            )
        return torch.cat(normalised)

    def average_statistics(self) -> None:
        """Overwrite every rank's running statistics with their mean."""
        for own, others in zip(
            (self.running_mean, self.running_var), zip(*self.others, strict=True), strict=True
        ):
            mean = torch.stack((own, *others)).mean(0)
            for statistic in (own, *others):
                statistic.copy_(mean)


def split_batch_norm(model: nn.Module, ranks: int) -> None:
    """Let every BatchNorm of a model see a rank's images only; weights and names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d and ranks > 1:
            # The same object under another class: whoever holds its parameters keeps them.
            module.__class__ = RankBatchNorm2d
            statistics = module.running_mean, module.running_var
            module.others = [tuple(value.clone() for value in statistics) for _ in range(ranks - 1)]


def average_statistics(model: nn.Module) -> None:
    """Average BatchNorm's running statistics over the ranks."""
    for module in model.modules():
        if isinstance(module, RankBatchNorm2d):
            module.average_statistics()


def rank_loss_parts(
    outputs: NetworkOutputs, batch: Batch, weights: LossOptions, arm: Arm
) -> dict[str, Tensor]:
    """The weighted parts of the loss of all ranks' images, each part the mean over the ranks.

    All images are labelled and the ranks hold equally many, so only mining tells ranks from one process.
    """
    if arm.mining == "global" or arm.ranks == 1:
        return loss_parts(outputs, batch, weights)
    parts = loss_parts(outputs, batch, dataclasses.replace(weights, triplet=0.0))
    slices = zip(outputs.embedding.chunk(arm.ranks), batch.label.chunk(arm.ranks), strict=True)
    losses = [
        batch_hard_triplet(embedding, label, weights.margin, lone_anchors=weights.lone_anchors)
        for embedding, label in slices
    ]
    parts["triplet"] = weights.triplet * torch.stack(losses).mean()
    return parts
