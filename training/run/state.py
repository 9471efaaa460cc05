"""What is trained on one rank: the model with its precision, optimiser and average, and their state."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.datasets.records import Classes
from training.distributed.amp import Amp
from training.distributed.devices import kind_of
from training.distributed.ranks import Ranks
from training.distributed.sync_bn import synchronise
from training.run.optim import WeightAverage, make_optimizer
from training.run.recipe import Recipe
from training.run.run_folder import json_text
from zoo.card import Card
from zoo.inference import Normalisation
from zoo.initialization import initialize
from zoo.registry import weights_path


class TrainState:
    """A model in training, the same on all ranks but for BatchNorm's running statistics.

    Within an epoch each rank keeps those of its own images, which training does not use; at the epoch's end
    they are averaged over the ranks.
    """

    def __init__(self, model: nn.Module, card: Card, recipe: Recipe, ranks: Ranks) -> None:
        """Place a model on the ranks' devices.

        Args:
            model: with its first weights; the first rank's count.
            card: the model's.
            recipe: as so many ranks follow it.
            ranks: those that train together.
        """
        self.recipe, self.ranks = recipe, ranks
        if recipe.ranks.sync_bn and ranks.world_size > 1:
            synchronise(model, ranks)
        channels_last = recipe.channels_last and kind_of(ranks.device).channels_last
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=layout).to(ranks.device)  # type: ignore[call-overload]
        self.normalise = Normalisation(card, channels_last).to(ranks.device)
        for tensor in (*model.parameters(), *model.buffers()):
            shared = tensor.detach().contiguous()
            ranks.share(shared)
            tensor.detach().copy_(shared)
        self.average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
        self.optimizer = make_optimizer(model.parameters(), recipe.optimizer, ranks.device)
        self.amp = Amp(model, ranks.device, recipe.amp, recipe.loss_scale)

    @property
    def rate(self) -> float:
        """The learning rate of the latest step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def evaluated(self) -> nn.Module:
        """The weights that are evaluated and saved as best."""
        return self.model if self.average is None else self.average.model

    def average_statistics(self) -> None:
        """Average BatchNorm's running statistics over the ranks."""
        for model in self._models():
            self.ranks.average(buffer for buffer in model.buffers() if buffer.is_floating_point())

    def state_dict(self) -> dict[str, Any]:
        """All that a later process needs to continue bit for bit; called by all ranks."""
        return {
            "models": [model.state_dict() for model in self._models()],
            "average_steps": self.average.steps if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "amp": self.amp.state_dict(),
            "own": self.ranks.gather(torch.cat([_bytes(tensor) for tensor in self._own()])[None]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of as many ranks, on any kind of device."""
        for model, weights in zip(self._models(), state["models"], strict=True):
            model.load_state_dict(weights)
        if self.average:
            self.average.steps = state["average_steps"]
        # Which kernel moves the weights is this device's matter; the saved state may be of another kind's.
        pairs = zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True)
        groups = [{**saved, "fused": own["fused"]} for saved, own in pairs]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if value.shape == parameter.shape:
                    # In the parameter's layout: a fused optimiser walks through both in memory order.
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        own = self._own()
        parts = state["own"][self.ranks.rank].split([_bytes(tensor).numel() for tensor in own])
        for tensor, part in zip(own, parts, strict=True):
            tensor.copy_(part.clone().view(tensor.dtype).view(tensor.shape))
        torch.set_rng_state(own[-1])
        # After the model: at O2 the half-precision weights are rounded from its own.
        self.amp.load_state_dict(state["amp"])

    def _models(self) -> list[nn.Module]:
        return [self.model] if self.average is None else [self.model, self.average.model]

    def _own(self) -> list[Tensor]:
        """What each rank has for itself: BatchNorm's statistics and the state of torch's chance."""
        buffers = [buffer for model in self._models() for buffer in model.buffers()]
        return [*buffers, torch.get_rng_state()]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def load_first_weights(
    model: nn.Module, init: str, labels: Mapping[str, int], classes: Classes, ranks: Ranks
) -> None:
    """Load the weights that a training starts from into a model.

    The identity classifier starts afresh, unless it was trained on the very vehicles of this run. An equal
    number of vehicles does not make them the same: the labels.json beside the weights tells. Colours and
    types are taken over by name.

    Args:
        model: changed in place.
        init: the recipe's: `imagenet`, `none`, or weights.
        labels: vehicle id -> class, of this run.
        classes: the model's colours and types.
        ranks: the first one says what was done.

    Raises:
        UserError: the weights cannot be used.
    """
    if not initialize(model, init, classes.colors, classes.types):
        return
    known = weights_path(init).with_name("labels.json")
    if known.is_file() and known.read_text(encoding="utf-8") == json_text(labels):
        done = "trunk, branches and identity classifier loaded"
    else:
        getattr(model, str(model.identity_classifier)).reset_parameters()
        done = "trunk and branches loaded; the identity classifier starts afresh, the vehicles are others"
    if ranks.is_first:
        tqdm.write(f"{init}: {done}", file=sys.stderr)
