"""BatchNorm statistics of a new domain, half from its pictures: no label and no gradient is needed.

Y. Li, N. Wang, J. Shi, J. Liu, X. Hou: Revisiting batch normalization for practical domain adaptation, 2016
(arXiv:1603.04779) takes them all from the new domain. Half from each is the mixture of both: pictures of few
vehicles cannot turn a network upside down.
"""

import torch
from torch import Tensor, nn

from training.evaluation.extract import EvaluationSet, extract
from zoo.inference import InferenceModel

Norm = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def mix_statistics(model: InferenceModel, data: EvaluationSet, share: float = 0.5) -> float:
    """Put the statistics of pictures into a network's BatchNorm layers.

    Args:
        model: changed in place, and left in evaluation mode.
        data: the pictures; a single one has no variance, and changes nothing.
        share: of the new statistics.

    Returns:
        How far the domains are apart: the squared differences of the means in units of the old variance,
        averaged over all channels; 0 for a network without BatchNorm.
    """
    if len(data) < 2:
        return 0.0
    norms = [module for module in model.modules() if isinstance(module, Norm)]
    old = [(_tensor(norm.running_mean).clone(), _tensor(norm.running_var).clone()) for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None is torch's plain average over the batches.
        norm.momentum = None
        norm.train()
    # Batches count alike, so that the last one should be no small one.
    size = max(range(33, 65), key=lambda size: (len(data) - 1) % size)
    extract(model, data, size, description="statistics")
    shifts = []
    for norm, momentum, (mean, variance) in zip(norms, momenta, old, strict=True):
        norm.momentum = momentum
        norm.eval()
        found, spread = _tensor(norm.running_mean), _tensor(norm.running_var)
        shifts.append((found - mean).square() / (variance + norm.eps))
        # Of a mixture: the variance is that within its parts and that between them.
        spread.copy_(torch.lerp(variance, spread, share) + share * (1 - share) * (found - mean).square())
        found.copy_(torch.lerp(mean, found, share))
    return float(torch.cat(shifts).mean()) if shifts else 0.0


def _tensor(value: Tensor | None) -> Tensor:
    assert value is not None, "the zoo's networks track statistics"
    return value
