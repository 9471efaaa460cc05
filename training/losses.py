"""Losses of re-identification training. All run in at least fp32, whatever precision the network runs in."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.datasets.records import UNKNOWN
from training.distributed.amp import at_least_fp32
from training.distributed.devices import kind_of
from training.distributed.ranks import Ranks

ALONE = Ranks()

LoneAnchors = Literal["out", "self"]


def batch_hard_triplet(
    embeddings: Tensor,
    labels: Tensor,
    margin: float | None = 0.3,
    ranks: Ranks = ALONE,
    lone_anchors: LoneAnchors = "out",
) -> Tensor:
    """Batch-hard triplet loss on Euclidean distances (Hermans et al. 2017, arXiv:1703.07737, equation 5).

    Anchors without another image of their identity, or without any image of another, are left out of the
    mean.

    Args:
        embeddings: [N, D].
        labels: int [N].
        margin: the hinge's margin; None for the soft margin, `log(1 + exp(x))`.
        ranks: those whose images together are the batch; N of them are on this rank.
        lone_anchors: `self` makes an anchor without another image of its identity its own positive, at
            distance 0, as PAMTRI does.

    Returns:
        A scalar, whose mean over the ranks is the batch's loss; 0 with zero gradient where no anchor has both
        a positive and a negative.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = at_least_fp32(embeddings)
        everyone, known = ranks.gather(embeddings), ranks.gather(labels)
        same = labels[:, None] == known[None, :]
        itself = ranks.rank * len(labels) + torch.arange(len(labels), device=labels.device)
        others = itself[:, None] != torch.arange(len(known), device=labels.device)
        positives = same & others
        if lone_anchors == "self":
            positives |= ~others & ~positives.any(1, keepdim=True)
        with torch.no_grad():
            distances = all_distances(embeddings, everyone)
            positive = distances.masked_fill(~positives, -torch.inf).argmax(1)
            negative = distances.masked_fill(same, torch.inf).argmin(1)
        valid = positives.any(1) & (~same).any(1)
        # Only the mined pairs are measured with gradient, and directly: exact, and cheap. Without any, the
        # sum is an empty one: a rank whose graph left the gathering out would keep the others waiting.
        anchor = embeddings[valid]
        gap = _distance(anchor, everyone[positive[valid]]) - _distance(anchor, everyone[negative[valid]])
        losses = F.softplus(gap) if margin is None else F.relu(gap + margin)
        return _mean(losses.sum(), valid.sum(), ranks)


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, ranks: Ranks = ALONE
) -> Tensor:
    """Cross-entropy over the labelled rows; a row labelled `UNKNOWN` does not count.

    Returns:
        A scalar, whose mean over the ranks is the mean over all their labelled rows; 0 with zero gradient
        where nothing is labelled.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = at_least_fp32(logits)
        total = F.cross_entropy(
            logits, labels, ignore_index=UNKNOWN, reduction="sum", label_smoothing=label_smoothing
        )
        return _mean(total, (labels != UNKNOWN).sum(), ranks)


def _mean(total: Tensor, count: Tensor, ranks: Ranks) -> Tensor:
    """This rank's share in a mean over all ranks' `count`, so scaled that the ranks' own mean is that."""
    return total * ranks.world_size / ranks.total(count).clamp(min=1)


def relation_loss(embeddings: Tensor, teacher: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """One minus the correlation of each image's distances to the others with those that a teacher sees.

    Pearson's correlation, as DIST takes it of class probabilities (Huang et al., NeurIPS 2022,
    arXiv:2205.10536). It leaves shift and scale free, so the teacher's embeddings may be of any length and
    dimension, and a model that differs from it by a rotation and a scale has nothing to learn. Both sides are
    measured by Euclidean distance: for embeddings of unit length, as a cosine model gives them, that is the
    order of its cosines.

    Args:
        embeddings: [N, D].
        teacher: [N, E] of the same images, without gradient.
        ranks: those whose images together are the batch; N of them are on this rank.

    Returns:
        A scalar, whose mean over the ranks is the batch's loss: from 0, all relations equal, to 2.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings, teacher = at_least_fp32(embeddings), at_least_fp32(teacher)
        own = _relations(embeddings, ranks.gather(embeddings), ranks)
        wanted = _relations(teacher, ranks.gather(teacher), ranks)
        return (1 - F.cosine_similarity(own, wanted)).mean().to(embeddings.dtype)


def _relations(rows: Tensor, everyone: Tensor, ranks: Ranks) -> Tensor:
    """Distances of this rank's rows [N, D] to all other rows, less each row's mean: [N, M - 1]."""
    itself = ranks.rank * len(rows) + torch.arange(len(rows), device=rows.device)
    others = itself[:, None] != torch.arange(len(everyone), device=rows.device)
    distances = all_distances(rows, everyone)[others].view(len(rows), -1)
    return distances - distances.mean(1, keepdim=True)


def all_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Euclidean distances [N, M] of [N, D] to [M, D], right where embeddings lie close together far from 0.

    There `|x|^2 + |y|^2 - 2 xy` in fp32, which torch takes above 25 rows, loses all digits that tell
    distances apart. In float64 it keeps them, in an eighth of the time that differences take on a CPU at 256
    rows, a seventeenth at 1,000. Devices without such products take the differences.
    """
    if kind_of(rows.device).float64_products:
        origin = columns.double().mean(0)
        return torch.cdist(rows.double() - origin, columns.double() - origin)
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")


def _distance(a: Tensor, b: Tensor) -> Tensor:
    # The clamp keeps the root's gradient finite where two embeddings are equal.
    return (a - b).square().sum(1).clamp(min=1e-12).sqrt()


def circle_loss(embeddings: Tensor, labels: Tensor, margin: float = 0.25, scale: float = 64.0) -> Tensor:
    """Circle loss on cosine similarities of pairs (Sun et al., CVPR 2020, arXiv:2002.10857, section 3).

    Of each anchor, all positives against all negatives:
    `log(1 + sum_n exp(scale * w_n * (s_n - margin)) * sum_p exp(-scale * w_p * (s_p - 1 + margin)))` with
    the weights `w_n = max(0, s_n + margin)` and `w_p = max(0, 1 + margin - s_p)`, which are taken without
    gradient. Anchors without another image of their identity, or without any image of another, are left out
    of the mean.

    Args:
        embeddings: [N, D]; their length does not count.
        labels: int [N].
        margin: m of the paper; smaller is stricter.
        scale: gamma of the paper.

    Returns:
        A scalar; 0 with zero gradient where no anchor has both a positive and a negative.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = at_least_fp32(embeddings)
        directions = F.normalize(embeddings)
        similarity = directions @ directions.T
        same = labels[:, None] == labels[None, :]
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        positives, negatives = same & others, ~same
        valid = positives.any(1) & negatives.any(1)
        if not valid.any():
            return embeddings.sum() * 0.0
        pull = (1 + margin - similarity.detach()).clamp(min=0)
        push = (similarity.detach() + margin).clamp(min=0)
        positive = (-scale * pull * (similarity - (1 - margin))).masked_fill(~positives, -torch.inf)
        negative = (scale * push * (similarity - margin)).masked_fill(~negatives, -torch.inf)
        return F.softplus(positive[valid].logsumexp(1) + negative[valid].logsumexp(1)).mean()
