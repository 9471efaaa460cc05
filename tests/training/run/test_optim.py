"""The course of the rate and the average of the weights."""

import pytest
import torch
from torch import nn

from training.run.optim import OptimizerOptions, WeightAverage, learning_rate, make_optimizer


def test_multistep() -> None:
    options = OptimizerOptions(lr=1.0, milestones=(2, 4), gamma=0.1)
    assert [learning_rate(options, p, 6) for p in (0, 1.99, 2, 3.5, 4, 5)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_cosine_with_warmup() -> None:
    options = OptimizerOptions(lr=2.0, schedule="cosine", warmup_epochs=2.0)
    rates = [learning_rate(options, p, 10) for p in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0.02, 1.0, 2.0, 1.0, 0.0], abs=1e-9)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_training_shorter_than_its_warmup(epochs: int) -> None:
    options = OptimizerOptions(lr=1.0, schedule="cosine", warmup_epochs=2.0)
    assert all(0 < learning_rate(options, p, epochs) <= 1 for p in (0, 0.5, 0.99))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_take_the_recipes_figures(name: str) -> None:
    layer = nn.Linear(2, 2)
    optimizer = make_optimizer(
        layer.parameters(), OptimizerOptions(name=name, lr=0.1, weight_decay=0.2), torch.device("cpu")
    )  # type: ignore[arg-type]
    assert type(optimizer).__name__.lower() == name
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (0.1, 0.2)


def test_the_average_follows_its_formula_and_takes_buffers_in() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train()
    average = WeightAverage(model, decay=0.5)
    expected = model[0].weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            model[0].weight += step
        model(torch.randn(4, 3))
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    assert torch.allclose(average.model[0].weight, expected, atol=1e-5)  # type: ignore[index]
    assert average.model[1].num_batches_tracked == 5  # type: ignore[index]
    assert average.model[1].running_mean.abs().sum() > 0  # type: ignore[index]
    assert not average.model.training
