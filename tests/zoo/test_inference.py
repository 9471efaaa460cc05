"""The deployed form: raw pixels in, probabilities out, the card's normalisation inside."""

import pytest
import torch
from torch import nn

from zoo.inference import InferenceModel
from zoo.registry import create_model, make_card


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)


def test_normalisation_and_softmax(multitask_model: nn.Module, image: torch.Tensor) -> None:
    card = make_card(multitask_model, "densenet121.test", (64, 64))
    with torch.no_grad():
        predictions = InferenceModel(multitask_model, card)(image)
        pixels = image.permute(0, 3, 1, 2) / 255.0
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        expected = multitask_model((pixels - mean) / std)
    color_probs = expected.color_logits.softmax(1)
    torch.testing.assert_close(predictions.embedding, expected.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predictions.color_probs, color_probs, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(predictions.type_probs.sum(1), torch.ones(3))
    assert predictions.color_probs.shape == (3, 10)
    assert predictions.type_probs.shape == (3, 9)


def test_the_cards_temperature(multitask_model: nn.Module, image: torch.Tensor) -> None:
    card = make_card(multitask_model, "densenet121.test", (64, 64))
    warm = card.replace(temperature={"color": 0.25, "type": 4.0})
    with torch.no_grad():
        plain, found = (InferenceModel(multitask_model, each)(image) for each in (card, warm))
    assert torch.equal(plain.embedding, found.embedding)
    for before, after, temperature in (
        (plain.color_probs, found.color_probs, 0.25),
        (plain.type_probs, found.type_probs, 4.0),
    ):
        assert before is not None and after is not None
        torch.testing.assert_close(after, (before.log() / temperature).softmax(1))
        assert torch.equal(after.argmax(1), before.argmax(1))


def test_the_cards_channel_order_is_for_the_network_alone(
    multitask_model: nn.Module, image: torch.Tensor
) -> None:
    card = make_card(multitask_model, "densenet121.test", (64, 64), mean=(0.5,) * 3, std=(0.25,) * 3)
    with torch.no_grad():
        rgb = InferenceModel(multitask_model, card)(image.flip(-1))
        bgr = InferenceModel(multitask_model, card.replace(channels="BGR"))(image)
    assert torch.equal(rgb.embedding, bgr.embedding)


def test_pose_inputs() -> None:
    model = create_model("densenet121", keypoints=True, heatmaps=True, segments=True)
    card = make_card(model, "densenet121.pose", (64, 64))
    assert card.pose_inputs == {"keypoints": (108,), "heatmaps": (64, 64, 36), "segments": (64, 64, 13)}
    deployed = InferenceModel(model, card)
    given = {
        name: torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
        for name, shape in card.pose_inputs.items()
        if name != "keypoints"
    }
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    keypoints = torch.randn(2, 108)
    maps = {name: (value.permute(0, 3, 1, 2) / 255.0 - 0.449) / 0.226 for name, value in given.items()}
    mean, std = deployed.normalise.mean, deployed.normalise.std
    with torch.no_grad():
        found = deployed(pixels, keypoints, **given)
        expected = model((pixels.permute(0, 3, 1, 2) / 255.0 - mean) / std, keypoints, **maps)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-4, atol=1e-5)


def test_it_is_in_evaluation_mode_and_adds_nothing_to_the_weights() -> None:
    model = create_model("densenet121", multitask=False, num_ids=4).train()
    deployed = InferenceModel(model, make_card(model, "densenet121.test", (64, 64)))
    assert not deployed.training
    assert not model.training
    assert {key.removeprefix("model.") for key in deployed.state_dict()} == set(model.state_dict())
    with torch.no_grad():
        predictions = deployed(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert predictions.color_probs is None
    assert predictions.type_probs is None
