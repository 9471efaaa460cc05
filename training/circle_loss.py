"""Circle loss: every pair weighs by how far it is from where it should be."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.amp import at_least_fp32


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
