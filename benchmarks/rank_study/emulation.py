"""Ranks emulated in one process: a global batch in rank order, and arithmetic that keeps the ranks apart
where real ones are.

The gradient is the mean over ranks, as DistributedDataParallel leaves it; a test holds both side by side.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.rank_study.arms import Arm
from training.dataset import Batch
from training.losses import batch_hard_triplet
from training.recipe import Loss
from training.step import loss_parts
from zoo.network import Outputs


class RankBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm of `ranks` equal slices of the batch, each by its own statistics.

    The running statistics are rank 0's: DistributedDataParallel sends its buffers to all.
    """

    ranks = 1

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [ranks * n, C, H, W]."""
        if not self.training or self.ranks == 1:
            return super().forward(input)
        first, *others = input.chunk(self.ranks)
        normalised = [super().forward(first)]
        normalised += [
            F.batch_norm(slice_, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for slice_ in others
        ]
        return torch.cat(normalised)


def split_batch_norm(model: nn.Module, ranks: int) -> None:
    """Let every BatchNorm of a model see a rank's images only; weights and names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            # The same object under another class: whoever holds its parameters goes on to hold them.
            module.__class__ = RankBatchNorm2d
            module.ranks = ranks


def rank_loss_parts(outputs: Outputs, batch: Batch, weights: Loss, arm: Arm) -> dict[str, Tensor]:
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
