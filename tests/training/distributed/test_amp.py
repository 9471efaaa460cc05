"""Mixed precision: what has which type, what a skipped step leaves as it was, and how the scale moves."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.data.batches import Batch
from training.distributed.amp import Level
from training.distributed.npu import OverflowFlag
from training.distributed.ranks import Ranks, joined
from training.run.optim import OptimizerOptions, WeightAverage
from training.run.recipe import LossOptions, Recipe
from training.run.state import TrainState
from training.run.step import train_step
from zoo.card import Card
from zoo.models.network import NetworkOutputs

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """A convolution, a BatchNorm and a linear layer, as in the zoo's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, image: Tensor, keypoints: Tensor, *maps: None) -> NetworkOutputs:
        self.seen = image.dtype
        feature = self.trunk(image + keypoints[:, :1, None, None]).mean((2, 3))
        return NetworkOutputs(feature, id_logits=self.head(feature))


class Training:
    """A tiny network in training, whose loss is that of the identity classifier."""

    def __init__(
        self,
        level: Level,
        scale: Any = "dynamic",
        ranks: Ranks | None = None,
        weight: float = 1.0,
        **optimizer: Any,
    ) -> None:
        torch.manual_seed(0)
        recipe = Recipe(
            epochs=1000,
            amp=level,
            loss_scale=scale,
            optimizer=OptimizerOptions(**{"lr": 1e-2, "weight_decay": 0.0, **optimizer}),
            loss=LossOptions(identity=weight, triplet=0.0),
        )
        card = Card(name="tiny", input_size=(6, 6), outputs={})
        self.state = TrainState(Tiny(), card, recipe, ranks or Ranks())
        self.model, self.optimizer, self.amp = self.state.model, self.state.optimizer, self.state.amp

    def step(self, seed: int = 0, poison: float | None = None) -> bool:
        generator = torch.Generator().manual_seed(seed)
        image = torch.randint(0, 256, (4, 6, 6, 3), dtype=torch.uint8, generator=generator)
        keypoints = torch.zeros(4, 108)
        if poison is not None:
            keypoints[0, 0] = poison
        labels = torch.arange(4)
        return train_step(self.state, Batch(image, labels, labels, labels, keypoints), progress=0.0).taken

    def everything(self) -> dict[str, Tensor]:
        """Weights, statistics and the optimiser's moments."""
        moments = {
            f"{number}.{name}": torch.as_tensor(value)
            for number, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        halves = {f"half.{name}": value for name, value in self.amp.network.state_dict().items()}
        return {name: v.clone() for name, v in (self.model.state_dict() | moments | halves).items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_o2_has_half_weights_and_fp32_masters() -> None:
    training = Training("O2", 128.0)
    for _ in range(3):
        assert training.step()
    model, network = training.model, training.amp.network
    assert isinstance(network, Tiny)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert network.head.weight.dtype == network.trunk[0].weight.dtype == network.seen == torch.float16
    # BatchNorm is one for both, in fp32.
    assert network.trunk[1] is model.trunk[1]
    assert network.trunk[1].weight.dtype == network.trunk[1].running_var.dtype == torch.float32
    # The masters keep what half precision rounds off.
    assert torch.equal(network.head.weight, model.head.weight.half())
    assert not torch.equal(network.head.weight.float(), model.head.weight)


def test_small_updates_gather_in_the_masters() -> None:
    training = Training("O2", 128.0, name="sgd", momentum=0.0, lr=1e-5)
    before = training.model.head.weight.detach().clone()
    for _ in range(3):
        training.step()
    moved = (training.model.head.weight - before).abs()
    assert 0 < moved.max() < 1e-4


def test_outputs_are_fp32_at_every_level() -> None:
    levels: tuple[Level, ...] = ("O0", "O1", "O2", "bf16")
    for level in levels:
        outputs = Training(level).amp.forward(torch.randn(2, 3, 6, 6), torch.zeros(2, 108))
        assert outputs.embedding.dtype == torch.float32
        assert outputs.type_logits is None


@pytest.mark.parametrize(("level", "tolerance"), [("O1", 3e-3), ("O2", 3e-3), ("bf16", 3e-2)])
def test_gradients_are_those_of_fp32_but_for_rounding(level: Level, tolerance: float) -> None:
    plain, mixed = Training("O0"), Training(level, 128.0)
    plain.step()
    mixed.step()
    for name, parameter in mixed.model.named_parameters():
        expected = plain.model.get_parameter(name).grad
        assert parameter.grad is not None
        assert expected is not None
        assert parameter.grad.dtype == torch.float32
        assert (parameter.grad - expected).norm() <= tolerance * max(expected.norm(), 0.1), name


def test_the_scale_saves_small_gradients() -> None:
    def gradient(scale: float) -> Tensor:
        training = Training("O2", scale, weight=1e-6)
        assert training.step()
        assert training.model.trunk[0].weight.grad is not None
        return training.model.trunk[0].weight.grad

    assert gradient(1.0).count_nonzero() < gradient(4096.0).count_nonzero()


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "bf16"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_poisoned_step_changes_nothing_and_is_counted(level: Level, poison: float) -> None:
    training = Training(level, 128.0)
    assert training.step()
    before = training.everything()
    assert not training.step(seed=1, poison=poison)
    assert same(training.everything(), before)
    assert (training.amp.scale.skipped, training.amp.scale.skipped_in_a_row) == (1, 1)
    assert training.step(seed=2)
    assert not same(training.everything(), before)
    assert (training.amp.scale.skipped, training.amp.scale.skipped_in_a_row) == (1, 0)


def test_a_gradient_alone_that_overflows_is_skipped() -> None:
    training = Training("O2", 1e9)
    before = training.everything()
    assert not training.step()
    assert same(training.everything(), before)
    assert training.amp.scale.value == 1e9


def test_the_dynamic_scale_falls_and_rises() -> None:
    training = Training("O2")
    scale = training.amp.scale
    assert (scale.value, scale.dynamic) == (65536.0, True)
    scale.value, scale.growth_interval = 2.0**24, 2
    while not training.step():
        pass
    fallen = scale.value
    assert fallen < 2.0**24
    assert scale.good_steps == 1
    training.step(seed=1)
    assert (scale.value, scale.good_steps) == (2 * fallen, 0)


def test_a_fixed_scale_stays() -> None:
    training = Training("O1", 128.0)
    training.amp.scale.growth_interval = 1
    assert training.step()
    assert not training.step(poison=float("nan"))
    assert training.amp.scale.value == 128.0


def test_no_scale_where_none_is_needed() -> None:
    assert {Training(level, 128.0).amp.scale.value for level in ("O0", "bf16")} == {1.0}


def test_clipping_is_of_the_unscaled_gradient() -> None:
    def norm(clip: float) -> float:
        training = Training("O2", 4096.0, weight=10.0, clip_norm=clip)
        assert training.step()
        return float(torch.cat([p.grad.flatten() for p in training.model.parameters()]).norm())

    free = norm(0.0)
    assert free > 0.5
    assert norm(0.5) == pytest.approx(0.5, rel=1e-4)
    assert norm(2 * free) == pytest.approx(free, rel=1e-6)


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "bf16"])
def test_a_resumed_training_is_the_same_bit_for_bit(level: Level) -> None:
    whole = Training(level)
    whole.amp.scale.growth_interval = 3
    for step in range(3):
        whole.step(seed=step, poison=float("inf") if step == 1 else None)
    kept = (whole.amp.state_dict(), whole.model.state_dict(), whole.optimizer.state_dict())
    amp, model, optimizer = torch.load(_saved(kept), weights_only=True)
    resumed = Training(level)
    resumed.step(seed=9)
    resumed.model.load_state_dict(model)
    resumed.optimizer.load_state_dict(optimizer)
    resumed.amp.load_state_dict(amp)
    for step in range(3, 7):
        assert whole.step(seed=step) == resumed.step(seed=step)
    assert same(whole.everything(), resumed.everything())
    assert whole.amp.state_dict() == resumed.amp.state_dict()
    assert whole.amp.scale.skipped == 1


def _saved(content: Any) -> Any:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file


def test_a_state_of_another_level_is_refused() -> None:
    with pytest.raises(ValueError, match="amp O2, not O0"):
        Training("O0").amp.load_state_dict(Training("O2").amp.state_dict())


def test_the_average_is_of_the_masters() -> None:
    training = Training("O2", 128.0)
    average = WeightAverage(training.model, 0.5)
    training.step()
    average.update(training.model)
    weight = average.model.get_parameter("head.weight")
    assert weight.dtype == torch.float32
    assert not torch.equal(weight, weight.half().float())


def test_a_saturating_card_tells_by_its_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = iter((False, True))
    monkeypatch.setattr("training.distributed.amp.overflow_flag", lambda device: OverflowFlag())
    monkeypatch.setattr(OverflowFlag, "clear", lambda self: None)
    monkeypatch.setattr(OverflowFlag, "is_raised", lambda self: next(raised))
    training = Training("O2", 128.0)
    assert training.step()
    before = training.everything()
    assert not training.step(seed=1)
    assert same(training.everything(), before)


def two_ranks(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    levels: tuple[Level, ...] = ("O0", "O2")
    with joined(rank, 2, CPU, init_method=f"file://{folder}/meeting") as ranks:
        for level in levels:
            training = Training(level, "dynamic", ranks)
            taken = [
                training.step(seed=10 * step + rank, poison=float("inf") if (step, rank) == (1, 1) else None)
                for step in range(3)
            ]
            assert taken == [True, False, True]
            assert training.amp.scale.skipped == 1
            weights = (*training.model.parameters(), *training.amp.network.parameters())
            both = ranks.gather(torch.cat([weight.detach().float().flatten() for weight in weights])[None])
            assert torch.equal(both[0], both[1])
            assert both.isfinite().all()


def test_inf_on_one_rank_skips_on_both(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(two_ranks, (str(tmp_path),), nprocs=2)
