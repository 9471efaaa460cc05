"""The optimiser, the course of its rate, and the average of the weights."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from training.distributed.devices import kind_of


@dataclass(frozen=True)
class OptimizerOptions:
    """The recipe's table `[optimizer]`.

    Attributes:
        schedule: `multistep` multiplies the rate by `gamma` at each of `milestones` (epochs); `cosine` takes
            it to zero.
        warmup_epochs: of linear rise, which come first.
        clip_norm: limit of the gradient's norm; 0 for none.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 3e-4
    weight_decay: float = 5e-4
    momentum: float = 0.9
    schedule: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[int, ...] = (30, 60)
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    clip_norm: float = 0.0


def make_optimizer(
    parameters: Iterable[nn.Parameter], options: OptimizerOptions, device: torch.device
) -> torch.optim.Optimizer:
    """Make the recipe's optimiser; fused where torch has it fused, which on a CPU too saves a pass over the
    weights. Elsewhere torch chooses: told that it is not fused, it would go from weight to weight."""
    parameters = list(parameters)
    fused = kind_of(device).fused_optimizer or None
    if options.name == "sgd":
        return torch.optim.SGD(
            parameters, options.lr, momentum=options.momentum, weight_decay=options.weight_decay, fused=fused
        )
    # Adam adds the decay to the gradient, AdamW takes it off the weights (Loshchilov and Hutter, ICLR 2019).
    cls = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
    return cls(parameters, options.lr, weight_decay=options.weight_decay, fused=fused)


def learning_rate(options: OptimizerOptions, progress: float, epochs: int) -> float:
    """The rate at a point of the training: a function of that point alone, so nothing has to be restored.

    Args:
        options: the recipe's.
        progress: epochs done, with their fraction.
        epochs: of the whole training.
    """
    rate = options.lr
    if progress < options.warmup_epochs:
        # From a hundredth, not zero: the first step should move something.
        rate *= max(0.01, progress / options.warmup_epochs)
    if options.schedule == "multistep":
        return rate * options.gamma ** sum(progress >= milestone for milestone in options.milestones)
    warmup = min(options.warmup_epochs, epochs)
    done = max(0.0, progress - warmup) / max(epochs - warmup, 1e-9)
    return rate * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


class WeightAverage:
    """An exponential moving average of a model's weights and BatchNorm statistics.

    The decay rises to its full value over the first steps: an average of few steps would else be mostly the
    random start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step's weights in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, values = [], []
        for average, value in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value.detach())
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1.0 - decay)


def _tensors(model: nn.Module) -> Iterable[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()
