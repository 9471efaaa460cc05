"""Training steps on a GPU beside the CPU's: losses, precision, skipped steps, layout, kernels, gradients."""

import copy
import os
import tempfile

import pytest
import torch
import torch.distributed as dist

from tests.gpu.conftest import MakeState
from training.data.batches import Batch
from training.distributed.devices import kind_of
from training.distributed.ranks import joined
from training.options import Level
from training.run.step import loss_parts, train_step

pytestmark = pytest.mark.gpu
CPU = torch.device("cpu")


def losses(state, batch: Batch, steps: int = 2) -> list[float]:
    return [sum(train_step(state, batch, progress=0.0).parts.values()) for _ in range(steps)]


@pytest.fixture(scope="module")
def expected(batch: Batch) -> list[float]:
    """The CPU's losses; it is asked once."""
    return []


@pytest.mark.parametrize(("level", "near"), [("O0", 2e-3), ("O1", 5e-2), ("O2", 5e-2), ("bf16", 1e-1)])
def test_losses_are_near_the_cpus(
    device, batch: Batch, make_state: MakeState, expected: list[float], level: Level, near: float
) -> None:
    if not expected:
        expected += losses(make_state(CPU), batch)
    state = make_state(device, level)
    assert losses(state, batch) == pytest.approx(expected, rel=near)
    assert state.amp.scale.skipped == 0
    # The masters, whatever runs.
    assert {p.dtype for p in state.model.parameters()} == {torch.float32}
    halves = {p.dtype for p in state.amp.network.parameters()}
    assert halves == ({torch.float16, torch.float32} if level == "O2" else {torch.float32})
    assert {p.device.type for p in state.model.parameters()} == {device.type}


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_an_overflow_skips_the_step_and_leaves_no_trace(
    device, batch: Batch, make_state: MakeState, level: Level
) -> None:
    state = make_state(device, level, 1e30)
    before = copy.deepcopy(state.model.state_dict())
    assert not train_step(state, batch, progress=0.0).taken
    after = state.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_layout_and_optimiser_are_the_fast_ones(device, batch: Batch, make_state: MakeState) -> None:
    state = make_state(device)
    convolutions = [p for p in state.model.parameters() if p.dim() == 4 and p.shape[-1] > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)
    assert state.optimizer.param_groups[0]["fused"] is True
    train_step(state, batch, progress=0.0)
    moments = [state.optimizer.state[p]["exp_avg"] for p in convolutions]
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in moments)


def test_gradients_equal_the_cpus_in_double_precision(device, batch: Batch, make_state: MakeState) -> None:
    def gradients(place: torch.device) -> dict[str, torch.Tensor]:
        state = make_state(place)
        model = state.model.double()
        own = batch.to(place)
        outputs = model(state.normalise(own.image, None, None, None).image.double())
        torch.stack(list(loss_parts(outputs, own, state.recipe.loss).values())).sum().backward()
        return {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}

    found, wanted = gradients(device), gradients(CPU)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp(min=1e-12)
        assert (found[name] - gradient).abs().max() / scale < 1e-6, name


def test_a_group_of_one_rank(device) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with joined(0, 1, device, init_method=f"file://{folder}/group"):
            values = torch.arange(4.0, device=device)
            dist.all_reduce(values)
            assert values.tolist() == [0.0, 1.0, 2.0, 3.0]
            figure = torch.tensor(0.1, dtype=torch.float64)
            dist.all_reduce(figure)
            assert figure.item() == 0.1
            assert kind_of(device).collective in dist.get_backend_config()
        assert os.listdir(folder) in ([], ["group"])
