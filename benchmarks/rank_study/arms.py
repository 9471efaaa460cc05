"""The arms of the study: recipes for one or more ranks that differ in as little as the question allows."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from training.data.sampler import Dealing, SamplerKind
from training.losses import LoneAnchors
from training.run.recipe import Mining

Start = Literal["pretrained", "random"]
Scaling = Literal["linear", "sqrt", "none"]


@dataclass(frozen=True)
class Arm:
    """How the ranks of one training share their work. A rank has `num_identities` x 4 images a step.

    Attributes:
        name: in tables and results.
        ranks: processes of the training that is emulated.
        num_identities: P of one rank.
        sampler: what the global batch is made of.
        dealing: how the global batch is dealt to the ranks.
        mining: where an anchor's hardest positive and negative are looked for.
        lr_scaling: how the rate follows the number of ranks.
        warmup: the part of the training in which the rate rises linearly.
        sync_bn: BatchNorm's statistics from the global batch, not from a rank's images.
        statistics: the running statistics that are evaluated: `first` rank's, as DistributedDataParallel
            has it, or the `mean` over the ranks, taken each epoch.
        lone_anchors: what an anchor without another image of its vehicle does in the triplet loss: it is
            left out, or, as in the original, its own positive at distance 0.
        ema_decay: of an average of the weights, which is then evaluated; 0 for none.
        epochs_factor: times the epochs of the other arms.
    """

    name: str
    ranks: int = 1
    num_identities: int = 4
    sampler: SamplerKind = "identity"
    dealing: Dealing = "identity"
    mining: Mining = "rank"
    lr_scaling: Scaling = "none"
    warmup: float = 0.0
    sync_bn: bool = False
    statistics: Literal["first", "mean"] = "first"
    lone_anchors: LoneAnchors = "out"
    ema_decay: float = 0.0
    epochs_factor: float = 1.0

    @property
    def key(self) -> str:
        """Name and number of ranks."""
        return f"{self.name}@{self.ranks}"

    @property
    def lr_factor(self) -> float:
        """What one rank's rate is multiplied by."""
        return {"linear": float(self.ranks), "sqrt": self.ranks**0.5, "none": 1.0}[self.lr_scaling]


ONE = Arm("one")
ONE_32 = Arm("one, batch 32", num_identities=8)
# Two groups of 16 whose BatchNorm does not see each other, and nothing else that two ranks would have.
ONE_32_GROUPS = Arm("one, batch 32 in shuffled groups", ranks=2, dealing="random", mining="global")


def original(ranks: int) -> Arm:
    """The original eight-card script."""
    return Arm("original", ranks, sampler="plain", lr_scaling="linear", lone_anchors="self")


def ours(ranks: int, start: Start) -> Arm:
    """Shuffled dealing, mining across ranks, and warm-up, with the square-root rate from pretrained weights
    and the linear one from random weights: this project's default."""
    scaling: Scaling = "sqrt" if start == "pretrained" else "linear"
    return Arm("ours", ranks, dealing="random", mining="global", lr_scaling=scaling, warmup=1 / 6)


def switched(ranks: int, start: Start) -> dict[str, Arm]:
    """Ours with one ingredient changed at a time, and the combinations that say so."""
    base = ours(ranks, start)
    rate, scaling = ("linear rate", "linear") if start == "pretrained" else ("square-root rate", "sqrt")
    changes: dict[str, dict[str, Any]] = {
        rate: {"lr_scaling": scaling},
        f"{rate}, no warm-up": {"lr_scaling": scaling, "warmup": 0.0},
        f"{rate}, short warm-up": {"lr_scaling": scaling, "warmup": 1 / 24},
        "dealt by identity": {"dealing": "identity"},
        "mined per rank": {"mining": "rank"},
        "dealt by identity, mined per rank": {"dealing": "identity", "mining": "rank"},
        "no warm-up": {"warmup": 0.0},
        "short warm-up": {"warmup": 1 / 24},
        "one rank's rate": {"lr_scaling": "none"},
        "synchronised BatchNorm": {"sync_bn": True},
        "averaged statistics": {"statistics": "mean"},
        "twice the epochs": {"epochs_factor": 2.0},
    }
    return {name: dataclasses.replace(base, name=name, **change) for name, change in changes.items()}


ORIGINAL_WITHOUT = dataclasses.replace(original(8), name="original, lone anchors out", lone_anchors="out")


def passes(start: Start) -> list[list[Arm]]:
    """The arms from a start; all seeds of a pass are run before the next one, the most telling first."""
    eight = switched(8, start)
    baselines = [ONE, ONE_32, ours(8, start), original(8)]
    two, four = switched(2, start), switched(4, start)
    if start == "random":
        return [
            [*baselines, eight["square-root rate"]],
            [eight["square-root rate, no warm-up"], eight["square-root rate, short warm-up"]],
            [ours(2, start), ours(4, start)],
            [eight["dealt by identity"], eight["mined per rank"]],
            [eight["no warm-up"], eight["synchronised BatchNorm"]],
            [two["synchronised BatchNorm"], four["synchronised BatchNorm"]],
            [eight["averaged statistics"]],
            [original(2), original(4)],
            [eight["dealt by identity, mined per rank"], ONE_32_GROUPS],
        ]
    return [
        [
            *baselines,
            eight["linear rate"],
            eight["dealt by identity"],
            eight["dealt by identity, mined per rank"],
            ONE_32_GROUPS,
        ],
        [eight["no warm-up"], eight["short warm-up"]],
        [ours(2, start), original(2), ours(4, start), original(4)],
        [eight["mined per rank"], eight["synchronised BatchNorm"]],
        [eight["averaged statistics"], eight["one rank's rate"]],
        [two["synchronised BatchNorm"], four["synchronised BatchNorm"]],
        [eight["twice the epochs"]],
        [ORIGINAL_WITHOUT, eight["linear rate, no warm-up"]],
        [two["dealt by identity"], four["dealt by identity"]],
        [two["mined per rank"], four["mined per rank"], two["linear rate"], four["linear rate"]],
    ]
