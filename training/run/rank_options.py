"""The recipe's table `[ranks]`: what a run of several ranks does otherwise than one of a single rank."""

from dataclasses import dataclass
from typing import Literal

from training.data.dealing import Dealing

Mining = Literal["global", "rank"]


@dataclass(frozen=True)
class RankOptions:
    """Used only where there are several ranks.

    Attributes:
        dealing: of each global batch to the ranks: `random`, or by `identity`.
        mining: `global` mines and averages over the images of all ranks, `rank` over a rank's own.
        lr_scaling: by the number of ranks, or its square root, or not at all; `auto` is what
            docs/many-cards.md found best: linear from random weights, the square root from pretrained ones.
        warmup_epochs: linear rise of the rate, at most a sixth of the training; the optimiser's own where
            that is longer.
        sync_bn: BatchNorm over the images of all ranks.
    """

    dealing: Dealing = "random"
    mining: Mining = "global"
    lr_scaling: Literal["auto", "linear", "sqrt", "none"] = "auto"
    warmup_epochs: float = 2.0
    sync_bn: bool = False

    def rate_factor(self, world_size: int, *, pretrained: bool) -> float:
        """What the rate is multiplied by, in a training from pretrained or from random weights."""
        scaling = self.lr_scaling
        if scaling == "auto":
            scaling = "sqrt" if pretrained else "linear"
        return {"linear": float(world_size), "sqrt": world_size**0.5, "none": 1.0}[scaling]
