"""What a training starts from, with files of torchvision's own form and no network."""

import re
import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models import densenet121

from tests.zoo.reference import reference_state, write_reference
from zoo.errors import UserError
from zoo.initialization import imagenet_cache, initialize
from zoo.labels import TYPES
from zoo.loading import load_model
from zoo.models.densenet121 import DenseNet121
from zoo.registry import create_model, make_card
from zoo.weights import save_weights

IMAGENET_URL = DenseNet121.imagenet.url


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the form that torchvision released: old key names, no batch counters, the old container."""
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
        for key, value in densenet121().state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    path = tmp_path_factory.mktemp("imagenet") / "densenet121.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("pose", [False, True])
def test_imagenet_trunk(released: Path, pose: bool) -> None:
    model = create_model("densenet121", heatmaps=pose, segments=pose)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    initialize(model, str(released))
    state = torch.load(released, weights_only=True)
    after = model.state_dict()
    assert torch.equal(after["base.conv0.weight"][:, :3], state["features.conv0.weight"])
    assert torch.equal(after["base.conv0.weight"][:, 3:], before["base.conv0.weight"][:, 3:])
    last = "denseblock4.denselayer16"
    assert torch.equal(after[f"base.{last}.conv2.weight"], state[f"features.{last}.conv.2.weight"])
    assert torch.equal(after["fc_vid.weight"], before["fc_vid.weight"])


def test_the_cache_is_used_without_a_network(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    imagenet_cache(IMAGENET_URL).parent.mkdir(parents=True)
    imagenet_cache(IMAGENET_URL).write_bytes(released.read_bytes())
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("asked the network"))
    model = create_model("densenet121")
    initialize(model, "imagenet")
    state = torch.load(released, weights_only=True)
    assert torch.equal(model.base.conv0.weight, state["features.conv0.weight"])


def test_no_cache_and_no_network_tell_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(UserError, match=r"Name or service not known.*--init none") as caught:
        initialize(create_model("densenet121"), "imagenet")
    assert f"put {IMAGENET_URL} at {imagenet_cache(IMAGENET_URL)}" in str(caught.value)
    assert not list(imagenet_cache(IMAGENET_URL).parent.iterdir())
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("keep", [0, 1000, 1_000_000])
def test_damaged_file_is_named(released: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "half.pth"
    path.write_bytes(released.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"half\.pth: truncated"):
        initialize(create_model("densenet121"), str(path))


class Malicious:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.write_text, (self.target, "owned"))


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"features.conv0.weight": Malicious(tmp_path / "owned")}, path)
    with pytest.raises(UserError, match=r"evil\.pth: refused"):
        initialize(create_model("densenet121"), str(path))
    assert not (tmp_path / "owned").exists()


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"features.conv0.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"other\.pth: the weights do not fit the model; missing: "):
        initialize(create_model("densenet121"), str(path))


def test_an_earlier_model_with_other_identities(tmp_path: Path) -> None:
    earlier = create_model("densenet121", num_ids=5)
    path = tmp_path / "earlier.safetensors"
    save_weights(earlier, make_card(earlier, "densenet121.earlier", (64, 64)), path)
    model = create_model("densenet121", num_ids=8)
    fresh = model.classifier_vid.weight.clone()
    initialize(model, str(path))
    assert torch.equal(model.base.conv0.weight, earlier.base.conv0.weight)
    assert torch.equal(model.classifier_vcolor.weight, earlier.classifier_vcolor.weight)
    assert torch.equal(model.classifier_vid.weight, fresh)
    same = create_model("densenet121", num_ids=5)
    initialize(same, str(path))
    assert torch.equal(same.classifier_vid.weight, earlier.classifier_vid.weight)
    with pytest.raises(UserError, match=r"earlier\.safetensors: the weights do not fit"):
        initialize(create_model("densenet121", keypoints=True), str(path))
    with pytest.raises(
        UserError, match=r"are weights of densenet121\.earlier, another architecture"
    ) as refusal:
        initialize(create_model("osnet_ain"), str(path))
    assert len(str(refusal.value)) < 400


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "earlier.safetensors"
    earlier = create_model("osnet_ain")
    save_weights(earlier, make_card(earlier, "osnet_ain.earlier", (64, 64)), path)
    state = {
        key: value * float("nan") if value.ndim == 4 else value for key, value in earlier.state_dict().items()
    }
    safetensors.torch.save_file(state, path)
    path.with_suffix(".json").write_text(make_card(earlier, "osnet_ain.earlier", (64, 64)).to_json())
    with pytest.raises(UserError, match=r"not finite.*take other weights"):
        load_model(path)


def test_an_earlier_model_with_other_classes(tmp_path: Path) -> None:
    earlier = create_model("densenet121", num_colors=2, num_types=3)
    path = tmp_path / "earlier.safetensors"
    names = {"colors": ("red", "teal"), "types": ("sedan", "bus", "van")}
    save_weights(earlier, make_card(earlier, "densenet121.earlier", (64, 64), **names), path)
    model = create_model("densenet121", num_colors=0, num_types=4)
    fresh = model.classifier_vtype.weight.clone()
    initialize(model, str(path), (), ("van", "motorcycle", "sedan", "truck"))
    weight = earlier.classifier_vtype.weight
    assert torch.equal(model.fc_vtype.weight, earlier.fc_vtype.weight)
    assert torch.equal(model.classifier_vtype.weight, torch.stack((weight[2], fresh[1], weight[0], fresh[3])))
    assert model.classifier_vtype.bias[0] == earlier.classifier_vtype.bias[2]
    # A branch that the earlier model lacks starts from chance.
    bare = tmp_path / "bare.safetensors"
    save_weights(model, make_card(model, "densenet121.bare", (64, 64), types=("a", "b", "c", "d")), bare)
    colorful = create_model("densenet121", num_types=0)
    before = colorful.classifier_vcolor.weight.clone()
    initialize(colorful, str(bare), types=())
    assert torch.equal(colorful.classifier_vcolor.weight, before)
    assert torch.equal(colorful.base.conv0.weight, earlier.base.conv0.weight)


def test_a_published_checkpoint_is_an_earlier_model(tmp_path: Path) -> None:
    state = reference_state()
    path = write_reference(tmp_path / "model_best.pth.tar", state, module=True)
    model = create_model("densenet121", num_ids=11, num_types=2)
    fresh = model.classifier_vid.weight.clone()
    assert initialize(model, str(path), types=("truck", "sedan"))
    assert torch.equal(model.base.conv0.weight, state["base.conv0.weight"])
    assert torch.equal(model.classifier_vid.weight, fresh)
    expected = state["classifier_vtype.weight"][[TYPES.index("truck"), TYPES.index("sedan")]]
    assert torch.equal(model.classifier_vtype.weight, expected)


def test_none_changes_nothing() -> None:
    model = create_model("densenet121")
    before = model.base.conv0.weight.clone()
    initialize(model, "none")
    assert torch.equal(model.base.conv0.weight, before)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="imagnet: neither a model of the zoo nor"):
        initialize(create_model("densenet121"), "imagnet")


def test_imagenet_trunk_with_instance_normalisation(released: Path) -> None:
    model = create_model("densenet121", ibn=True)
    initialize(model, str(released))
    state, after = torch.load(released, weights_only=True), model.state_dict()
    plain, own = "features.denseblock2.denselayer3.norm.2", "base.denseblock2.denselayer3.norm2"
    for key in ("weight", "bias"):
        both = torch.cat((after[f"{own}.instance.{key}"], after[f"{own}.batch.{key}"]))
        assert torch.equal(both, state[f"{plain}.{key}"])
    half = len(after[f"{own}.batch.running_var"])
    assert torch.equal(after[f"{own}.batch.running_var"], state[f"{plain}.running_var"][-half:])
