"""One training step: normalise on the device, run the network, weigh the losses, move the weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.batches import Batch
from training.distributed.amp import Amp
from training.distributed.devices import kind_of
from training.distributed.ranks import Ranks
from training.losses import ALONE, batch_hard_triplet, circle_loss, cross_entropy
from training.run.rank_options import Mining
from training.run.recipe import Loss, Recipe
from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.errors import UserError
from zoo.models.network import Outputs
from zoo.pose import POSE_MEAN, POSE_STD

PATIENCE = 20
"""Steps that may be skipped in a row; a dynamic loss scale falls to a millionth meanwhile."""


@dataclass(frozen=True)
class NetworkInputs:
    """A batch as the network takes it: normalised, channels first."""

    image: Tensor
    keypoints: Tensor | None
    heatmaps: Tensor | None
    segments: Tensor | None


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        parts: the loss's weighted parts.
        taken: whether the weights moved; a step that is not finite is skipped.
    """

    parts: dict[str, float]
    taken: bool


def normalise(batch: Batch, channels_last: bool) -> NetworkInputs:
    """Turn bytes [N, H, W, C] into normalised floats [N, C, H, W], RGB with ImageNet's figures, maps with
    their mean.

    The permuted view of a batch is torch's channels_last as it stands; the other layout costs a copy.
    """

    def planes(values: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
        # In place: with 49 maps, each new tensor of a batch's floats costs as much as all arithmetic on it.
        result = values.permute(0, 3, 1, 2).to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)
        return result if channels_last else result.contiguous()

    mean, std = (
        torch.tensor(v, device=batch.image.device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)
    )
    maps = [None if m is None else planes(m, POSE_MEAN, POSE_STD) for m in (batch.heatmaps, batch.segments)]
    return NetworkInputs(planes(batch.image, mean, std), batch.keypoints, *maps)


def loss_parts(
    outputs: Outputs, batch: Batch, weights: Loss, ranks: Ranks = ALONE, mining: Mining = "global"
) -> dict[str, Tensor]:
    """The weighted parts of the loss by name; their sum is what is minimised. Parts of weight 0 are left
    out.

    With `mining` global, the mean of a part over the ranks is that part of one process with all the ranks'
    images; with `mining` rank, pairs and means are those of a rank's own images.
    """
    ranks = ranks if mining == "global" else ALONE
    margin = None if weights.soft_margin else weights.margin
    parts: dict[str, Tensor] = {}
    if weights.triplet:
        triplet = batch_hard_triplet(outputs.metric_feature, batch.label, margin, ranks, weights.lone_anchors)
        parts["triplet"] = weights.triplet * triplet
    if weights.circle:
        pairs = circle_loss(
            ranks.gather(outputs.embedding),
            ranks.gather(batch.label),
            weights.circle_margin,
            weights.circle_scale,
        )
        parts["circle"] = weights.circle * pairs
    if weights.identity and outputs.id_logits is not None:
        entropy = cross_entropy(outputs.id_logits, batch.label, weights.label_smoothing, ranks)
        parts["identity"] = weights.identity * entropy
    if weights.color and outputs.color_logits is not None:
        parts["color"] = weights.color * cross_entropy(outputs.color_logits, batch.color, ranks=ranks)
    if weights.type and outputs.type_logits is not None:
        parts["type"] = weights.type * cross_entropy(outputs.type_logits, batch.type, ranks=ranks)
    return parts


def training_step(
    amp: Amp, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe, weights: Loss
) -> Step:
    """Take one optimiser step on a batch that is on the model's device.

    `weights` are those of the present epoch.

    Raises:
        UserError: too many steps in a row had to be skipped; the weights are those of before them.
    """
    inputs = normalise(batch, uses_channels_last(recipe, batch.image.device))
    outputs = amp.forward(inputs.image, inputs.keypoints, inputs.heatmaps, inputs.segments)
    parts = loss_parts(outputs, batch, weights, amp.ranks, recipe.ranks.mining)
    if not parts:
        raise UserError(f"recipe {recipe.name}: no part of the loss has a weight now; give one in [loss]")
    total = torch.stack(list(parts.values())).sum()
    figures = {name: float(part.detach()) for name, part in parts.items()}
    step = Step(figures, amp.step(total, optimizer, recipe.optimizer.clip_norm))
    if amp.scale.skipped_in_a_row > PATIENCE:
        raise divergence(amp, recipe, step)
    return step


def divergence(amp: Amp, recipe: Recipe, last: Step) -> UserError:
    """What to say when steps are skipped without end; `last` is one of them."""
    shown = ", ".join(f"{name} {value:.4g}" for name, value in last.parts.items())
    scale = "" if amp.level in ("O0", "bf16") else f", loss scale {amp.scale.value:g}"
    other = ", or train with --amp bf16" if amp.scale.dynamic else ", or train with --loss-scale dynamic"
    cures = {"O0": "", "bf16": ", or train with --amp O0"}.get(amp.level, other)
    return UserError(
        f"recipe {recipe.name}: {amp.scale.skipped_in_a_row} steps in a row were skipped, because the loss "
        f"or its gradient is not finite (the last: {shown}; amp {amp.level}{scale}); lower [optimizer] lr, "
        f"lengthen warmup_epochs{cures}"
    )


def uses_channels_last(recipe: Recipe, device: torch.device) -> bool:
    """Whether to train in channels_last: where the recipe wants it and the device can."""
    return recipe.channels_last and kind_of(device).channels_last
