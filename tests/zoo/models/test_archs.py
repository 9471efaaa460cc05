"""What every architecture and every shipped model has to do; a new one is tested here without being named."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from serving.conversion.bundling import export_bundle
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel, InferenceOutputs
from zoo.loading import load_model
from zoo.onnx_export import sample_inputs
from zoo.registry import create_model, default_options, list_archs, list_models, make_card
from zoo.weights import save_weights

ALL_POSE = {"keypoints": True, "heatmaps": True, "segments": True}
NO_POSE = dict.fromkeys(ALL_POSE, False)
SIZE = (64, 96)

STATE_NAMES = {
    "densenet121": "88a7ed9c607fa50a",
    "efficientnet_lite0": "78f49b409c6d7020",
    "lite0_osnet": "3be5cbdd12f0cc08",
    "osnet_ain": "949326b2a75bbb9d",
    "resnet50_ibn": "64b85f546003e333",
}
"""Architecture -> digest of its parameters' names and shapes: weights in users' hands have to load on."""


def network_inputs(model: Any, batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes: dict[str, tuple[int, ...]] = {"image": (3, *SIZE)}
    for name, shape in model.pose_inputs(SIZE).items():
        shapes[name] = shape if len(shape) == 1 else (shape[2], *SIZE)
    return {name: torch.randn((batch, *shape), generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module", params=list_archs())
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_model(arch: str, **options: Any) -> Any:
    """Build a model whose normalisations have seen images: on fresh ones a deep model answers a constant."""
    torch.manual_seed(0)
    model = create_model(arch, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(**network_inputs(model, batch=4))
    if model.neck is not None:
        # By chance all images have nearly one feature; a neck would enlarge what is left, rounding included.
        model.neck.reset_running_stats()
    return model.eval()


@pytest.fixture(scope="module")
def model(arch: str) -> nn.Module:
    return make_model(arch, num_ids=5)


@pytest.mark.parametrize("pose", [NO_POSE, ALL_POSE], ids=["image", "pose"])
def test_training_form(arch: str, pose: dict[str, bool]) -> None:
    model = create_model(arch, num_ids=5, **pose).train()
    given = network_inputs(model)
    assert set(given) == {"image", *(name for name, on in pose.items() if on)}
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**given)
    assert outputs.id_logits.shape == (2, 5)
    assert outputs.metric_feature.shape == outputs.embedding.shape == (2, model.outputs()["embedding"])
    assert outputs.color_logits.shape == (2, 10)
    assert outputs.type_logits.shape == (2, 9)
    parts = (outputs.id_logits, outputs.metric_feature, outputs.color_logits, outputs.type_logits)
    torch.stack([part.float().square().sum() for part in parts]).sum().backward()
    for name, parameter in model.named_parameters():
        if name != "neck.bias":
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_deployed_form(arch: str, model: nn.Module) -> None:
    card = make_card(model, f"{arch}.test", SIZE)
    inference = InferenceModel(model, card)
    inputs = sample_inputs(card, 2)
    with torch.no_grad():
        found, again = inference(**inputs), inference(**inputs)
    assert card.outputs == {
        name: value.shape[1] for name, value in zip(InferenceOutputs._fields, found, strict=True)
    }
    for value, other in zip(found, again, strict=True):
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()
        assert torch.equal(value, other)
    assert not torch.allclose(found.embedding[0], found.embedding[1], rtol=1e-3)
    if card.metric == "cosine":
        torch.testing.assert_close(found.embedding.norm(dim=1), torch.ones(2))
    else:
        assert (found.embedding.norm(dim=1) - 1).abs().min() > 1e-3


def test_round_trip(arch: str, model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / f"{arch}.test.safetensors"
    card = save_weights(model, make_card(model, f"{arch}.test", SIZE), path)
    loaded, found = load_model(path)
    assert found == card == Card.from_json(card.to_json())
    own = loaded.state_dict()
    assert all(torch.equal(own[key], value) for key, value in model.state_dict().items())
    given = network_inputs(model)
    with torch.no_grad():
        assert torch.equal(model(**given).embedding, loaded(**given).embedding)


def test_export_parity(arch: str, tmp_path: Path) -> None:
    model = make_model(arch, **ALL_POSE)
    card = make_card(model, f"{arch}.test", SIZE)
    # The export compares torch with onnxruntime itself, and refuses what differs.
    bundle = export_bundle(model, card, tmp_path / "bundle")
    assert bundle.card == card


def test_names_of_parameters_stay(arch: str, model: nn.Module) -> None:
    lines = [f"{key} {list(value.shape)}" for key, value in model.state_dict().items()]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == STATE_NAMES[arch]


def test_options(arch: str, model: Any) -> None:
    assert model.options == {**default_options(arch), "num_ids": 5}
    with pytest.raises(UserError, match=rf"^{arch}: .* no option 'nekc'; did you mean neck\?"):
        create_model(arch, nekc="bn")
    with pytest.raises(UserError, match=rf"^{arch}: neck = 'gem': expected one of 'none', 'bn'"):
        create_model(arch, neck="gem")


def test_rows_of_a_batch_do_not_depend_on_each_other(model: nn.Module) -> None:
    given = network_inputs(model, batch=3)
    with torch.no_grad():
        whole, alone = (model(**{k: v[rows] for k, v in given.items()}) for rows in (slice(3), slice(1, 2)))
    torch.testing.assert_close(whole.embedding[1:2], alone.embedding, rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same_numbers(model: nn.Module) -> None:
    image = network_inputs(model)["image"]
    with torch.no_grad():
        expected = model(image).embedding
        found = model(image.to(memory_format=torch.channels_last)).embedding
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [card.name for card in list_models()])
def test_shipped_model(name: str) -> None:
    model, card = load_model(name)
    assert card.name == name
    assert name.split(".", maxsplit=1)[0] in list_archs()
    # A card from before an option existed has not got it: that is the option's default.
    assert {**default_options(name.split(".", maxsplit=1)[0]), **card.options} == model.options
    assert model.outputs() == card.outputs
    assert model.pose_inputs(card.input_size) == card.pose_inputs
    assert model.metric == card.metric
    assert card.licence
    assert card.weights_sha256
    assert any("mAP" in entry and entry["dataset"] for entry in card.metrics)
    inputs = sample_inputs(card, 2)
    with torch.no_grad():
        found = InferenceModel(model, card)(**inputs)
    assert card.outputs == {
        output: value.shape[1] for output, value in zip(InferenceOutputs._fields, found, strict=True)
    }
