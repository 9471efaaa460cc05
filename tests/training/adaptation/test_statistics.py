"""BatchNorm statistics: half of them are the pictures', and the rest of the network stays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.adaptation.statistics import mix_statistics
from training.datasets.records import Record
from training.evaluation.extract import EvaluationSet
from zoo.inference import InferenceModel
from zoo.registry import create_model, make_card


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return [Record(path, 0, 0) for path in paths]


def test_statistics_are_those_of_the_mixture(records: list[Record]) -> None:
    model = create_model("osnet_ain", width=0.25, neck="bn")
    deployed = InferenceModel(model, make_card(model, "osnet_ain.test", (32, 32)))
    first = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    first.running_mean.fill_(3.0)
    first.running_var.fill_(2.0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    seen: list[torch.Tensor] = []
    hook = first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    assert mix_statistics(deployed, EvaluationSet(records, (32, 32))) > 0.0
    hook.remove()
    maps = seen[0].permute(1, 0, 2, 3).flatten(1)
    mean, variance = maps.mean(1), maps.var(1)
    assert torch.allclose(first.running_mean, (mean + 3.0) / 2, atol=1e-4)
    assert torch.allclose(first.running_var, (variance + 2.0) / 2 + (mean - 3.0) ** 2 / 4, rtol=1e-3)
    after = model.state_dict()
    moved = {key for key in after if not torch.equal(after[key], before[key])}
    assert moved and all(key.rpartition(".")[2] in
                         ("running_mean", "running_var", "num_batches_tracked") for key in moved)  # fmt: skip
    assert not model.training and first.momentum is not None


@pytest.mark.parametrize("count", [1, 2, 65, 129])
def test_any_number_of_pictures(count: int, records: list[Record]) -> None:
    model = create_model("osnet_ain", width=0.25, neck="bn")
    deployed = InferenceModel(model, make_card(model, "osnet_ain.test", (32, 32)))
    shift = mix_statistics(deployed, EvaluationSet((records * count)[:count], (32, 32)))
    assert (shift > 0.0) is (count > 1)


def test_without_a_share_nothing_moves(records: list[Record]) -> None:
    model = create_model("osnet_ain", width=0.25)
    deployed = InferenceModel(model, make_card(model, "osnet_ain.test", (32, 32)))
    before = deployed(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).embedding
    mix_statistics(deployed, EvaluationSet(records, (32, 32)), share=0.0)
    after = deployed(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).embedding
    assert torch.equal(before, after)
