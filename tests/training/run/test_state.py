"""A training continues from its state on another kind of device, too."""

import dataclasses

import pytest
import torch

from training.data.batches import Batch
from training.distributed.devices import KINDS
from training.distributed.ranks import Ranks
from training.run.checkpoint import deserialise, serialise
from training.run.recipe import load_recipe
from training.run.state import TrainState
from training.run.step import train_step
from zoo.registry import create_model, make_card


def fresh_state() -> TrainState:
    torch.manual_seed(0)
    recipe = load_recipe("smoke")
    model = create_model(recipe.model.arch, num_ids=4, **recipe.model.options())
    return TrainState(model, make_card(model, "test.smoke", recipe.size), recipe, Ranks())


def batch() -> Batch:
    image = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1])
    return Batch(image.to(torch.uint8), labels, labels, labels)


@pytest.mark.skipif(torch.__version__ < "2.4", reason="this torch has no fused optimiser on a CPU")
@pytest.mark.parametrize("fused", [True, False], ids=["to a fused optimiser", "from a fused optimiser"])
def test_the_kernel_is_the_present_devices(monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    def made_with(fused_optimizer: bool) -> TrainState:
        kind = dataclasses.replace(KINDS["cpu"], fused_optimizer=fused_optimizer)
        monkeypatch.setitem(KINDS, "cpu", kind)
        return fresh_state()

    before = made_with(not fused)
    assert train_step(before, batch(), 0.1).taken
    after = made_with(fused)
    after.load_state_dict(deserialise(serialise(before.state_dict())))
    assert [group["fused"] for group in after.optimizer.param_groups] == [fused or None]
    assert train_step(before, batch(), 0.2).taken
    assert train_step(after, batch(), 0.2).taken
    for expected, found in zip(before.model.parameters(), after.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_pixels_are_normalised_by_the_models_card() -> None:
    recipe = load_recipe("smoke")
    model = create_model(recipe.model.arch, num_ids=4, **recipe.model.options())
    card = make_card(model, "test.smoke", recipe.size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    found = TrainState(model, card, recipe, Ranks()).normalise(batch().image).image
    expected = (batch().image.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    torch.testing.assert_close(found, expected)
