"""What learns goes on from its state on another kind of device, too."""

import dataclasses

import pytest
import torch

from training.data.batches import Batch
from training.distributed.devices import KINDS
from training.distributed.ranks import Ranks
from training.run.checkpoint import decode, encode
from training.run.learner import Learner
from training.run.recipe import load_recipe
from zoo.registry import create_model


def learner() -> Learner:
    torch.manual_seed(0)
    recipe = load_recipe("smoke")
    return Learner(create_model(recipe.model.arch, num_ids=4, **recipe.model.options()), recipe, Ranks())


def batch() -> Batch:
    image = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1])
    return Batch(image.to(torch.uint8), labels, labels, labels)


@pytest.mark.parametrize("fused", [True, False], ids=["to a fused optimiser", "from a fused optimiser"])
def test_the_kernel_is_the_present_devices(monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    def made_with(fused_optimizer: bool) -> Learner:
        kind = dataclasses.replace(KINDS["cpu"], fused_optimizer=fused_optimizer)
        monkeypatch.setitem(KINDS, "cpu", kind)
        return learner()

    before = made_with(not fused)
    assert before.step(batch(), 0.1).taken
    after = made_with(fused)
    after.load_state_dict(decode(encode(before.state_dict())))
    assert [group["fused"] for group in after.optimizer.param_groups] == [fused]
    assert before.step(batch(), 0.2).taken
    assert after.step(batch(), 0.2).taken
    for expected, found in zip(before.model.parameters(), after.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
