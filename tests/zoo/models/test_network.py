"""The options that all networks share, against the formulas they stand for."""

import itertools
from typing import Any

import pytest
import torch

from tests.zoo.conftest import fill_statistics
from zoo.models.layers import GeM, InstanceBatchNorm2d
from zoo.registry import create_model, default_options, list_archs

VARIANTS = list(itertools.product((False, True), repeat=4))
STRONG: dict[str, Any] = {"neck": "bn", "pool": "gem"}


@pytest.mark.parametrize("flags", VARIANTS, ids=lambda flags: "".join("-x"[flag] for flag in flags))
def test_every_input_variant_with_the_neck(flags: tuple[bool, ...]) -> None:
    options = dict(zip(("multitask", "keypoints", "heatmaps", "segments"), flags, strict=True))
    model = create_model("osnet_ain", num_ids=7, width=0.25, **STRONG, **options).train()
    given = {"image": torch.randn(2, 3, 32, 32)}
    for name, shape in (("keypoints", (108,)), ("heatmaps", (36, 32, 32)), ("segments", (13, 32, 32))):
        if options[name]:
            given[name] = torch.randn(2, *shape)
    trained = model(**given)
    assert trained.id_logits.shape == (2, 7)
    assert (trained.color_logits is not None) == options["multitask"]
    (trained.id_logits.sum() + trained.metric_feature.sum()).backward()
    with torch.no_grad():
        deployed = model.eval()(**given)
    assert deployed.id_logits is None
    assert deployed.before_neck is None
    assert deployed.embedding.shape[1] == model.outputs()["embedding"]


def test_the_neck_divides_the_two_losses() -> None:
    """Triplet before it, classifier without a bias after it, and the embedding of unit length."""
    model = create_model("osnet_ain", num_ids=7, width=0.25, **STRONG)
    fill_statistics(model)
    image = torch.randn(4, 3, 64, 64)
    trained = model.train()(image)
    before = trained.before_neck
    assert trained.metric_feature is before
    assert (before < 0).any()
    centred = (before - before.mean(0)) / (before.var(0, correction=0) + model.neck.eps).sqrt()
    after = centred * model.neck.weight
    assert "classifier_vid.bias" not in model.state_dict()
    torch.testing.assert_close(trained.id_logits, after @ model.classifier_vid.weight.T, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        trained.embedding, after / after.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4
    )
    assert not model.neck.bias.requires_grad
    assert (model.neck.bias == 0).all()


def test_without_a_neck_the_metric_loss_takes_the_embedding() -> None:
    model = create_model("osnet_ain", width=0.25, neck="none").train()
    outputs = model(torch.randn(2, 3, 32, 32))
    assert outputs.before_neck is None
    assert outputs.metric_feature is outputs.embedding
    assert model.metric == "euclidean"


def test_generalised_mean() -> None:
    maps = torch.randn(2, 3, 4, 5)
    pool = GeM(p=3.0)
    expected = maps.clamp(min=0).pow(3).mean(dim=(2, 3)).pow(1 / 3)
    torch.testing.assert_close(pool(maps).flatten(1), expected, rtol=1e-4, atol=1e-5)
    pool.p.data.fill_(1.0)
    torch.testing.assert_close(
        pool(maps).flatten(1), maps.clamp(min=0).mean(dim=(2, 3)), rtol=1e-4, atol=1e-5
    )
    pool.p.data.fill_(60.0)
    torch.testing.assert_close(pool(maps).flatten(1), maps.amax(dim=(2, 3)), rtol=0.1, atol=0)
    pool(maps).sum().backward()
    assert torch.isfinite(pool.p.grad).all()


def test_generalised_mean_of_half_precision_does_not_overflow() -> None:
    maps = torch.full((1, 2, 4, 4), 100.0, dtype=torch.float16)
    assert maps.pow(3).isinf().all()
    found = GeM()(maps)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, torch.full_like(found, 100.0), rtol=1e-2, atol=0)


def test_instance_and_batch_normalisation_have_half_each() -> None:
    module = InstanceBatchNorm2d(7).train()
    maps = torch.randn(3, 7, 4, 5) * 2 + 1
    first, second = maps[:, :3], maps[:, 3:]
    per_image = (first - first.mean((2, 3), True)) / first.var((2, 3), correction=0, keepdim=True).sqrt()
    per_batch = (second - second.mean((0, 2, 3), True)) / second.var(
        (0, 2, 3), correction=0, keepdim=True
    ).sqrt()
    torch.testing.assert_close(module(maps), torch.cat((per_image, per_batch), 1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("arch", [arch for arch in list_archs() if "last_stride" in default_options(arch)])
def test_last_stride(arch: str) -> None:
    image = torch.zeros(1, 3, 64, 64)
    one, two = (create_model(arch, last_stride=stride).eval() for stride in (1, 2))
    with torch.no_grad():
        assert one.base(image).shape[2:] == (4, 4)
        assert two.base(image).shape[2:] == (2, 2)
    # No parameter belongs to it: weights of the one load into the other.
    two.load_state_dict(one.state_dict())


def test_where_densenet_has_instance_norms() -> None:
    model = create_model("densenet121", ibn=True)
    names = [name for name, module in model.named_modules() if isinstance(module, InstanceBatchNorm2d)]
    assert len(names) == 6 + 12 + 24
    assert all(name.endswith("norm2") and "denseblock4" not in name for name in names)


def test_osnet_is_the_papers() -> None:
    """In size; and every stream sees two pixels more than the one before."""
    model = create_model("osnet_ain", multitask=False, neck="none", pool="avg").eval()
    trunk = sum(parameter.numel() for parameter in model.base.parameters())
    assert trunk == pytest.approx(1.9e6, rel=0.05)
    block = model.base.stage1[0]
    for index, stream in enumerate(block.streams, start=1):
        spot = torch.zeros(1, 64, 21, 21, requires_grad=True)
        stream(spot)[0, :, 10, 10].sum().backward()
        seen = spot.grad.abs().sum((0, 1)) > 0
        assert seen.any(0).sum() <= 2 * index + 1


def test_small_means_small() -> None:
    model = create_model("osnet_ain")
    assert sum(parameter.numel() for parameter in model.parameters()) < 3_000_000


def test_missing_pose_inputs_are_named() -> None:
    model = create_model("osnet_ain", width=0.25, keypoints=True).eval()
    with pytest.raises(ValueError, match="needs the input `keypoints`"):
        model(torch.zeros(1, 3, 32, 32))
