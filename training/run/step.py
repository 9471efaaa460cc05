"""One training step: normalise, forward, losses, backward on a scaled loss, and the optimiser."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.batches import Batch
from training.distributed.ranks import Ranks
from training.losses import ALONE, batch_hard_triplet, circle_loss, cross_entropy, relation_loss
from training.run.optim import learning_rate
from training.run.recipe import LossOptions, Mining
from training.run.state import TrainState
from zoo.errors import UserError
from zoo.models.network import NetworkOutputs

PATIENCE = 20
"""Steps that may be skipped in a row; a dynamic loss scale falls to a millionth meanwhile."""


@dataclass(frozen=True)
class StepResult:
    """What one step did.

    Attributes:
        parts: the loss's weighted parts.
        taken: whether the weights moved.
    """

    parts: dict[str, float]
    taken: bool


def train_step(state: TrainState, batch: Batch, progress: float) -> StepResult:
    """Learn from this rank's share of a global batch.

    Where the loss or a gradient of one rank is not finite, all ranks skip the step: weights, the optimiser's
    state and BatchNorm's statistics are then those of before it.

    Args:
        state: what is trained.
        batch: on any device.
        progress: epochs done, with their fraction.

    Raises:
        UserError: too many steps in a row were skipped, or no part of the loss has a weight.
    """
    recipe, ranks, amp, optimizer = state.recipe, state.ranks, state.amp, state.optimizer
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe.optimizer, progress, recipe.epochs)

    batch = batch.to(ranks.device)
    inputs = state.normalise(batch.image, batch.keypoints, batch.heatmaps, batch.segments)
    outputs = amp.forward(*inputs)
    parts = loss_parts(outputs, batch, recipe.loss_at(int(progress)), ranks, recipe.ranks.mining)
    if not parts:
        raise UserError(f"recipe {recipe.name}: no part of the loss has a weight now; give one in [loss]")
    loss = torch.stack(list(parts.values())).sum()

    optimizer.zero_grad(set_to_none=True)
    (loss * amp.scale.value).backward()  # type: ignore[no-untyped-call]
    gradients = amp.gradients()
    ranks.average_gradients(state.model.parameters())
    torch._foreach_mul_(gradients, 1.0 / amp.scale.value)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    finite = bool(torch.isfinite(norm) & torch.isfinite(loss.detach())) and not amp.overflowed()

    taken = not ranks.any(not finite)
    if taken:
        if recipe.optimizer.clip_norm:
            torch._foreach_mul_(gradients, (recipe.optimizer.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        optimizer.step()
        amp.round_weights()
        if state.average is not None:
            state.average.update(state.model)
    else:
        amp.restore_statistics()
    amp.scale.update(taken)
    result = StepResult({name: float(part.detach()) for name, part in parts.items()}, taken)
    if amp.scale.skipped_in_a_row > PATIENCE:
        raise divergence(state, result)
    return result


def loss_parts(
    outputs: NetworkOutputs,
    batch: Batch,
    weights: LossOptions,
    ranks: Ranks = ALONE,
    mining: Mining = "global",
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
    if weights.teacher:
        assert batch.teacher is not None, "the trainer asks the teacher before the first step"
        parts["teacher"] = weights.teacher * relation_loss(outputs.embedding, batch.teacher, ranks)
    return parts


def divergence(state: TrainState, last: StepResult) -> UserError:
    """What to say when steps are skipped without end; `last` is one of them."""
    amp = state.amp
    shown = ", ".join(f"{name} {value:.4g}" for name, value in last.parts.items())
    scale = "" if amp.level in ("O0", "bf16") else f", loss scale {amp.scale.value:g}"
    other = ", or train with --amp bf16" if amp.scale.dynamic else ", or train with --loss-scale dynamic"
    cures = {"O0": "", "bf16": ", or train with --amp O0"}.get(amp.level, other)
    return UserError(
        f"recipe {state.recipe.name}: {amp.scale.skipped_in_a_row} steps in a row were skipped, because the "
        f"loss or its gradient is not finite (the last: {shown}; amp {amp.level}{scale}); lower [optimizer] "
        f"lr, lengthen warmup_epochs{cures}"
    )
