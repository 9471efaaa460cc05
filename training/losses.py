"""Losses of re-identification training. All run in at least fp32, whatever precision the network runs in."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.records import UNKNOWN


def batch_hard_triplet(embeddings: Tensor, labels: Tensor, margin: float | None = 0.3) -> Tensor:
    """Batch-hard triplet loss on Euclidean distances (Hermans et al. 2017, arXiv:1703.07737, equation 5).

    Anchors without another image of their identity, or without any image of another, are left out of the
    mean.

    Args:
        embeddings: [N, D].
        labels: int [N].
        margin: the hinge's margin; None for the soft margin, `log(1 + exp(x))`.

    Returns:
        A scalar; 0 with zero gradient where no anchor has both a positive and a negative.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = _at_least_fp32(embeddings)
        same = labels[:, None] == labels[None, :]
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        with torch.no_grad():
            distances = torch.cdist(embeddings, embeddings)
            positive = distances.masked_fill(~(same & others), -torch.inf).argmax(1)
            negative = distances.masked_fill(same, torch.inf).argmin(1)
        valid = (same & others).any(1) & (~same).any(1)
        if not valid.any():
            return embeddings.sum() * 0.0
        # Only the mined pairs are measured with gradient, and directly: exact, and cheap.
        anchor = embeddings[valid]
        gap = _distance(anchor, embeddings[positive[valid]]) - _distance(anchor, embeddings[negative[valid]])
        return (F.softplus(gap) if margin is None else F.relu(gap + margin)).mean()


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over the labelled rows; a row labelled `UNKNOWN` does not count.

    Returns:
        A scalar; 0 with zero gradient where nothing is labelled.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = _at_least_fp32(logits)
        known = labels != UNKNOWN
        if not known.any():
            return logits.sum() * 0.0
        return F.cross_entropy(logits[known], labels[known], label_smoothing=label_smoothing)


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _distance(a: Tensor, b: Tensor) -> Tensor:
    # The clamp keeps the root's gradient finite where two embeddings are equal.
    return (a - b).square().sum(1).clamp(min=1e-12).sqrt()
