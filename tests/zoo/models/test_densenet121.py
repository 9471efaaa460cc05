"""The network in all of its variants, against the published names and torchvision's own trunk."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import densenet121

from zoo.registry import create_model, make_card

VARIANTS = [
    dict(zip(("multitask", "keypoints", "heatmaps", "segments"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=4)
]


def variant_name(options: dict[str, bool]) -> str:
    return "+".join(name for name, on in options.items() if on) or "plain"


def inputs(options: dict[str, bool], batch: int = 2, size: int = 64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes: dict[str, tuple[int, ...]] = {"image": (batch, 3, size, size)}
    if options.get("keypoints"):
        shapes["keypoints"] = (batch, 108)
    if options.get("heatmaps"):
        shapes["heatmaps"] = (batch, 36, size, size)
    if options.get("segments"):
        shapes["segments"] = (batch, 13, size, size)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def published_names() -> dict[str, tuple[int, ...]]:
    """Key -> shape of a published multi-task checkpoint, written down from the architecture's paper."""
    names: dict[str, tuple[int, ...]] = {"base.conv0.weight": (64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            names[f"base.{name}.{part}"] = (channels,)
        names[f"base.{name}.num_batches_tracked"] = ()

    norm("norm0", 64)
    channels = 64
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, layers + 1):
            prefix = f"denseblock{block}.denselayer{layer}"
            norm(f"{prefix}.norm1", channels)
            names[f"base.{prefix}.conv1.weight"] = (128, channels, 1, 1)
            norm(f"{prefix}.norm2", 128)
            names[f"base.{prefix}.conv2.weight"] = (32, 128, 3, 3)
            channels += 32
        if block < 4:
            norm(f"transition{block}.norm", channels)
            names[f"base.transition{block}.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
    norm("norm5", channels)
    for name, shape in (
        ("fc_vid", (1024, 1024)),
        ("fc_vcolor", (512, 1024)),
        ("fc_vtype", (512, 1024)),
        ("classifier_vid", (575, 1024)),
        ("classifier_vcolor", (10, 512)),
        ("classifier_vtype", (9, 512)),
    ):
        names[f"{name}.weight"] = shape
        names[f"{name}.bias"] = shape[:1]
    return names


def test_names_and_shapes_are_the_published_ones() -> None:
    model = create_model("densenet121", num_ids=575)
    found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(found) == 737
    assert found == published_names()


@pytest.mark.parametrize("options", VARIANTS, ids=variant_name)
def test_every_variant(options: dict[str, bool]) -> None:
    model = create_model("densenet121", num_ids=7, **options)
    given = inputs(options)
    with_branch = options["multitask"] or options["keypoints"]
    if with_branch:
        assert model.fc_vid.in_features == (1132 if options["keypoints"] else 1024)
    channels = 3 + 36 * options["heatmaps"] + 13 * options["segments"]
    assert model.base.conv0.weight.shape == (64, channels, 7, 7)

    trained = model.train()(**given)
    assert trained.id_logits.shape == (2, 7)
    trained.id_logits.sum().backward()

    model.eval()
    with torch.no_grad():
        outputs, again = model(**given), model(**given)
    assert outputs.id_logits is None
    assert outputs.embedding.shape == (2, 1024)
    assert outputs.embedding.dtype == torch.float32
    assert torch.equal(outputs.embedding, again.embedding)
    if options["multitask"]:
        assert outputs.color_logits.shape == (2, 10)
        assert outputs.type_logits.shape == (2, 9)
    else:
        assert outputs.color_logits is None
        assert outputs.type_logits is None

    card = make_card(model, "densenet121.test", (64, 64))
    assert set(card.pose_inputs) == set(given) - {"image"}
    assert card.outputs == {
        name: tensor.shape[1]
        for name, tensor in zip(("embedding", "color_probs", "type_probs"), outputs, strict=False)
        if tensor is not None
    }


def test_arithmetic_against_torchvisions_trunk(multitask_model: nn.Module) -> None:
    state = multitask_model.state_dict()
    reference = densenet121().features.eval()
    reference.load_state_dict({k.removeprefix("base."): v for k, v in state.items() if k.startswith("base.")})
    image = inputs({})["image"]
    with torch.no_grad():
        pooled = reference(image).mean(dim=(2, 3))
        outputs = multitask_model(image)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.01 * x)

    torch.testing.assert_close(outputs.embedding, leaky(linear(pooled, "fc_vid")))
    color = linear(leaky(linear(pooled, "fc_vcolor")), "classifier_vcolor")
    torch.testing.assert_close(outputs.color_logits, color)
    kind = linear(leaky(linear(pooled, "fc_vtype")), "classifier_vtype")
    torch.testing.assert_close(outputs.type_logits, kind)


def test_plain_embedding_is_the_pooled_feature_without_a_last_relu() -> None:
    model = create_model("densenet121", multitask=False).eval()
    image = inputs({})["image"]
    with torch.no_grad():
        embedding = model(image).embedding
        torch.testing.assert_close(embedding, model.base(image).mean(dim=(2, 3)))
        with_relu = F.relu(model.base(image)).mean(dim=(2, 3))
    assert (embedding < 0).any()
    assert not torch.allclose(embedding, with_relu)


def test_keypoints_follow_the_pooled_feature() -> None:
    model = create_model("densenet121", multitask=False, keypoints=True).eval()
    given = inputs({"keypoints": True})
    with torch.no_grad():
        pooled = model.base(given["image"]).mean(dim=(2, 3))
        expected = F.leaky_relu(model.fc_vid(torch.cat((pooled, given["keypoints"]), dim=1)))
        torch.testing.assert_close(model(**given).embedding, expected)


def test_channels_are_taken_in_the_order_image_heatmaps_segments() -> None:
    model = create_model("densenet121", multitask=False, heatmaps=True, segments=True).eval()
    given = inputs({"heatmaps": True, "segments": True})
    stacked = torch.cat((given["image"], given["heatmaps"], given["segments"]), dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model(**given).embedding, model.base(stacked).mean(dim=(2, 3)))


def test_extra_channels_start_as_narrow_gaussians() -> None:
    extra = create_model("densenet121", heatmaps=True, segments=True).base.conv0.weight[:, 3:]
    assert abs(extra.mean().item()) < 1e-3
    assert extra.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 96), (224, 224), (100, 68)])
def test_any_input_size(multitask_model: nn.Module, size: tuple[int, int]) -> None:
    with torch.no_grad():
        outputs = multitask_model(torch.randn(1, 3, *size))
    assert outputs.embedding.shape == (1, 1024)
    assert torch.isfinite(outputs.embedding).all()


def test_channels_last_gives_the_same_numbers(multitask_model: nn.Module) -> None:
    image = inputs({})["image"]
    with torch.no_grad():
        expected = multitask_model(image).embedding
        found = multitask_model(image.to(memory_format=torch.channels_last)).embedding
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_rows_of_a_batch_do_not_depend_on_each_other(multitask_model: nn.Module) -> None:
    image = inputs({}, batch=3)["image"]
    with torch.no_grad():
        torch.testing.assert_close(
            multitask_model(image).embedding[1:2], multitask_model(image[1:2]).embedding, rtol=1e-4, atol=1e-5
        )


def test_branch_sizes_are_options() -> None:
    model = create_model("densenet121", embedding_dim=256, attribute_dim=64).eval()
    with torch.no_grad():
        assert model(inputs({})["image"]).embedding.shape == (2, 256)
    assert model.outputs()["embedding"] == 256


def test_missing_and_surplus_pose_inputs_are_named() -> None:
    model = create_model("densenet121", keypoints=True).eval()
    image = inputs({})["image"]
    with pytest.raises(ValueError, match="needs the input `keypoints`"):
        model(image)
    with pytest.raises(ValueError, match="does not take the input `segments`"):
        model(image, keypoints=torch.zeros(2, 108), segments=torch.zeros(2, 13, 64, 64))
