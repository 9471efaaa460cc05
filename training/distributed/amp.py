"""Mixed precision: what runs in half, what stays in fp32, the loss scale, and steps that have to be skipped.

The levels are those of NVIDIA's Apex, by their names: O0 is fp32; O1 is automatic casting to fp16; O2 runs a
network of fp16 weights whose fp32 masters the optimiser moves, with BatchNorm in fp32, parameters and
statistics alike. bf16 is automatic casting to bfloat16, which has fp32's range and needs no loss scale.
Embeddings and logits leave the network in fp32 at every level, so that distances and losses are computed in
it.
"""

import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.distributed.devices import overflow_flag
from training.options import Level

AUTOCAST = {"O1": torch.float16, "bf16": torch.bfloat16}
LARGEST_SCALE = 2.0**24


@dataclass
class LossScale:
    """What the loss is multiplied by, so that small gradients survive in fp16.

    A dynamic scale is halved at an overflow and doubled after `growth_interval` steps without one.

    Attributes:
        good_steps: since the last change.
        skipped: steps not taken, in all.
        skipped_in_a_row: the latest of them.
    """

    value: float = 1.0
    dynamic: bool = False
    growth_interval: int = 2000
    good_steps: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0

    def update(self, taken: bool) -> None:
        """Count a step, and move the scale where it is dynamic."""
        if not taken:
            self.skipped += 1
            self.skipped_in_a_row += 1
            self.good_steps = 0
            self.value *= 0.5 if self.dynamic else 1.0
            return
        self.skipped_in_a_row = 0
        self.good_steps += 1
        if self.dynamic and self.good_steps == self.growth_interval:
            self.value = min(2 * self.value, LARGEST_SCALE)
            self.good_steps = 0


class Amp:
    """A model in training at one level. `training.run.step` calls its methods in their order.

    Attributes:
        model: in fp32: what the optimiser moves, and what is averaged, evaluated and saved.
        network: what runs in training. At O2 a twin of `model` with fp16 weights, rounded anew from the
            masters after each step; BatchNorms and buffers are shared. Else `model` itself.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        level: Level = "O0",
        loss_scale: float | Literal["dynamic"] = "dynamic",
    ) -> None:
        """Prepare a model that is on its device.

        Args:
            model: in fp32.
            device: its.
            level: of precision.
            loss_scale: a fixed one, or dynamic from 65536; without effect but at O1 and O2.
        """
        self.model, self.device, self.level = model, device, level
        self.network = model
        # Master weights, and the half-precision ones that they are rounded to, pair by pair.
        self._masters: list[Tensor] = []
        self._halves: list[Tensor] = []
        if level == "O2":
            self._add_half_twin()
        self.scale = LossScale()
        if level in ("O1", "O2"):
            dynamic = loss_scale == "dynamic"
            self.scale = LossScale(2.0**16 if dynamic else float(loss_scale), dynamic)
        # Of all the network: statistics of a batch that overflows would stay in the model for good.
        self._buffers = list(model.buffers())
        self._buffers_before = [buffer.clone() for buffer in self._buffers]
        self._overflow_flag = overflow_flag(device) if level in ("O1", "O2") else None

    def forward(self, *inputs: Tensor | None) -> Any:
        """Run the network on fp32 inputs; its outputs, a named tuple, are fp32."""
        torch._foreach_copy_(self._buffers_before, self._buffers)
        if self._overflow_flag:
            self._overflow_flag.clear()
        if self.level == "O2":
            inputs = tuple(None if value is None else value.half() for value in inputs)
        dtype = AUTOCAST.get(self.level)
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            outputs = self.network(*inputs)
        return outputs._make(None if value is None else at_least_fp32(value) for value in outputs)

    def gradients(self) -> list[Tensor]:
        """The fp32 gradients of `model` after a backward pass, to be changed in place."""
        for master, half in zip(self._masters, self._halves, strict=True):
            master.grad = None if half.grad is None else half.grad.float()
            half.grad = None
        return [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]

    def overflowed(self) -> bool:
        """Whether a device whose arithmetic saturates met an overflow since the forward pass."""
        return self._overflow_flag is not None and self._overflow_flag.is_raised()

    @torch.no_grad()
    def round_weights(self) -> None:
        """Give the network the weights that `model` has now."""
        if self._masters:
            torch._foreach_copy_(self._halves, self._masters)

    def restore_statistics(self) -> None:
        """Give BatchNorm the statistics of before the forward pass."""
        torch._foreach_copy_(self._buffers, self._buffers_before)

    def state_dict(self) -> dict[str, Any]:
        """Scale and counters, plain numbers all. The master weights are `model`'s own state."""
        return {"level": self.level, **asdict(self.scale)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; `model` has its weights of then already.

        Raises:
            ValueError: the state is of another level.
        """
        if state["level"] != self.level:
            raise ValueError(f"it was trained with amp {state['level']}, not {self.level}")
        self.scale = LossScale(**{name: value for name, value in state.items() if name != "level"})
        self.round_weights()

    def _add_half_twin(self) -> None:
        shared: list[Any] = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        shared += self.model.buffers()
        self.network = copy.deepcopy(self.model, {id(part): part for part in shared})
        for master, half in zip(self.model.parameters(), self.network.parameters(), strict=True):
            if half is not master:
                half.data = half.data.half()
                self._masters.append(master)
                self._halves.append(half)


def at_least_fp32(values: Tensor) -> Tensor:
    """Half precision to fp32; all else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
