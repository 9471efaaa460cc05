"""Checkpoints of the published form, in every input variant, become models that load and can be exported."""

import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.zoo.reference import reference_state, write_reference
from zoo import registry
from zoo.__main__ import main
from zoo.card import Card
from zoo.errors import UserError
from zoo.importing import KeysDoNotFitError, import_checkpoint, infer_options
from zoo.loading import load_model, read_card

VARIANTS = [
    dict(zip(("multitask", "keypoints", "heatmaps", "segments"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=4)
]


def variant_id(variant: dict[str, bool]) -> str:
    return "+".join(name for name, on in variant.items() if on) or "plain"


@pytest.fixture(scope="module")
def multitask_state() -> dict[str, Tensor]:
    return reference_state()


@pytest.mark.parametrize("variant", VARIANTS, ids=variant_id)
def test_every_variant_round_trips(tmp_path: Path, variant: dict[str, bool]) -> None:
    state = reference_state(**variant)
    # Each variant in another of the forms: all eight are met twice.
    number = VARIANTS.index(variant) // 2
    form = {"module": bool(number & 1), "plain": bool(number & 2), "zipped": bool(number & 4)}
    path = write_reference(tmp_path / "model_best.pth.tar", state, **form)
    imported = import_checkpoint(path, "densenet121.brought", input_size=(64, 96), keep_identities=True)
    model, card = load_model("densenet121.brought")
    assert card == imported.card
    assert {name: card.options[name] for name in variant} == variant
    assert card.options["num_ids"] == 7
    own = model.state_dict()
    here = {re.sub(r"^fc\.", "fc_vid.", key): value for key, value in state.items()}
    assert own.keys() == here.keys()
    assert all(torch.equal(own[key], here[key]) for key in here)
    inputs = {
        "keypoints": torch.randn(2, 108),
        "heatmaps": torch.randn(2, 36, 64, 96),
        "segments": torch.randn(2, 13, 64, 96),
    }
    assert card.pose_inputs.keys() == {name for name in inputs if variant[name]}
    with torch.no_grad():
        outputs = model(torch.randn(2, 3, 64, 96), **{k: v for k, v in inputs.items() if variant[k]})
    assert outputs.embedding.shape == (2, card.outputs["embedding"])
    assert (outputs.color_logits is not None) == variant["multitask"]
    assert torch.isfinite(outputs.embedding).all()


def test_the_imported_model_computes_the_described_network(
    tmp_path: Path, multitask_state: dict[str, Tensor]
) -> None:
    path = write_reference(tmp_path / "model_best.pth.tar", multitask_state)
    import_checkpoint(path, out=tmp_path / "model.safetensors")
    model, _ = load_model(tmp_path / "model.safetensors")
    image = torch.randn(1, 3, 64, 64)
    state = multitask_state
    trunk = registry.create_model("densenet121").base.eval()
    trunk.load_state_dict({k.removeprefix("base."): v for k, v in state.items() if k.startswith("base.")})

    def branch(feature: Tensor, name: str) -> Tensor:
        return nn.functional.leaky_relu(feature @ state[f"fc_{name}.weight"].T + state[f"fc_{name}.bias"])

    with torch.no_grad():
        feature = trunk(image).mean((2, 3))
        color = (
            branch(feature, "vcolor") @ state["classifier_vcolor.weight"].T + state["classifier_vcolor.bias"]
        )
        found = model(image)
        torch.testing.assert_close(found.embedding, branch(feature, "vid"), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.color_logits, color, rtol=1e-4, atol=1e-5)


def test_the_identity_classifier_is_left_out_unless_it_is_wanted(
    tmp_path: Path, multitask_state: dict[str, Tensor]
) -> None:
    path = write_reference(tmp_path / "model_best.pth.tar", multitask_state, module=True)
    imported = import_checkpoint(path, "densenet121.a")
    assert not [key for key in load_model("densenet121.a")[0].state_dict() if "classifier_vid" in key]
    assert imported.card.options["num_ids"] == 0
    assert f"`module.` was taken off all {len(multitask_state)} keys" in imported.remarks
    assert "left out: the identity classifier of 7 training vehicles (--keep-identities keeps it)" in (
        imported.remarks
    )
    kept = import_checkpoint(path, "densenet121.b", keep_identities=True)
    assert "kept: the identity classifier of 7 training vehicles" in kept.remarks
    # A file without one is no misfit, and nothing is said of it.
    without = {k: v for k, v in multitask_state.items() if not k.startswith("classifier_vid")}
    bare = import_checkpoint(write_reference(tmp_path / "bare.pth", without, plain=True), "densenet121.c")
    assert not [remark for remark in bare.remarks if "identity" in remark]


def test_what_the_file_tells_goes_to_the_card(tmp_path: Path, multitask_state: dict[str, Tensor]) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in multitask_state.items()}
    path = tmp_path / "model_best.pth.tar"
    torch.save({"state_dict": half, "epoch": 12, "rank1": 0.5, "optimizer": {"lr": 1}, "args": [1]}, path)
    imported = import_checkpoint(path, licence="CC-BY-4.0", notes="From a friend.")
    card = imported.card
    assert card.name == "densenet121.model_best"
    assert card.licence == "CC-BY-4.0"
    assert card.notes == "From a friend. Its checkpoint states epoch 12, rank1 0.5; not measured here."
    assert card.metrics == []
    assert card.input_size == (256, 256)
    assert "left out, because they are no weights: optimizer, args" in imported.remarks
    assert load_model(card.name)[0].fc_vid.weight.dtype == torch.float32


def test_each_key_that_does_not_fit_is_listed(
    tmp_path: Path,
    multitask_state: dict[str, Tensor],
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = dict(multitask_state)
    del state["fc_vtype.bias"], state["base.norm0.running_mean"]
    state |= {
        "fc_vcolor.weight": torch.zeros(512, 9),
        "classifier_vid.bias": torch.zeros(3),
        "ema": torch.ones(2),
    }
    path = write_reference(tmp_path / "wrong.pth.tar", state)
    with pytest.raises(KeysDoNotFitError, match=r"5 keys do not fit .* 2 missing, 1 unexpected, 2 misshapen"):
        import_checkpoint(path)
    assert main(["import", str(path)]) == 2
    answer = capsys.readouterr()
    assert answer.out.splitlines() == [
        "missing: base.norm0.running_mean",
        "missing: fc_vtype.bias",
        "unexpected: ema",
        "misshapen: classifier_vid.bias [3] instead of [7]",
        "misshapen: fc_vcolor.weight [512, 9] instead of [512, 1024]",
    ]
    assert answer.err.count("\n") == 1
    assert not list(cache.rglob("*.safetensors"))


def test_another_network(tmp_path: Path) -> None:
    other = write_reference(tmp_path / "other.pth", nn.Linear(4, 4).state_dict())
    with pytest.raises(KeysDoNotFitError) as caught:
        import_checkpoint(other)
    assert caught.value.misfits.unexpected == ("bias", "weight")
    assert "base.conv0.weight" in caught.value.misfits.missing


def test_other_numbers_of_classes(tmp_path: Path) -> None:
    state = reference_state()
    state["classifier_vcolor.weight"] = torch.randn(3, 512)
    state["classifier_vcolor.bias"] = torch.randn(3)
    path = write_reference(tmp_path / "three.pth", without_type(state))
    imported = import_checkpoint(path, out=tmp_path / "three.safetensors")
    assert imported.card.colors == ("color-1", "color-2", "color-3")
    assert imported.card.types == ()
    assert "type_probs" not in imported.card.outputs
    assert any("--colors of `python -m zoo import`" in remark for remark in imported.remarks)
    named = ["--out", str(tmp_path / "named.safetensors"), "--colors", "red", "teal", "other"]
    assert main(["import", str(path), *named]) == 0
    model, card = load_model(tmp_path / "named.safetensors")
    assert card.colors == ("red", "teal", "other")
    assert torch.equal(model.classifier_vcolor.weight, state["classifier_vcolor.weight"])
    assert main(["import", str(path), *named[:2], "--colors", "red", "teal"]) == 2


def without_type(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "vtype" not in key}


def test_a_checkpoint_is_taken_where_weights_are(
    tmp_path: Path, multitask_state: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    """As a training loop of somebody's own leaves it: compiled, averaged, and without batch counters."""
    saved = {
        f"module.net._orig_mod.{key}": value
        for key, value in multitask_state.items()
        if not key.endswith("num_batches_tracked")
    }
    path = tmp_path / "model_best.pth.tar"
    torch.save(
        {"epoch": 3, "ema": {**saved, "n_averaged": torch.tensor(9)}, "optimizer": {"state": {}}}, path
    )
    model, card = load_model(path)
    assert card.name == "densenet121.model_best"
    assert card.input_size == (256, 256)
    assert torch.equal(model.fc_vid.weight, multitask_state["fc_vid.weight"])
    assert f"python -m zoo import {path} --input-size" in caplog.text
    assert "the weights are those under 'ema'" in caplog.text
    # A card that is put beside the file says how it was trained.
    card.replace(input_size=(64, 96), notes="mine").write(path.with_suffix(".json"))
    assert load_model(path)[1].input_size == (64, 96)
    assert read_card(path).notes == "mine"


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "last.ckpt").write_bytes(b"vehicle-reid training state 1\n" + bytes(100))
    (tmp_path / "model.onnx").touch()
    for name, words in (
        ("run", "best.safetensors"),
        ("last.ckpt", "--resume"),
        ("model.onnx", "exported graph"),
    ):
        with pytest.raises(UserError, match=words):
            load_model(tmp_path / name)


@pytest.mark.parametrize("channels", [1, 4, 40, 53])
def test_other_numbers_of_channels_are_misshapen(channels: int) -> None:
    state = {"base.conv0.weight": torch.zeros(64, channels, 7, 7)}
    assert "heatmaps" not in infer_options(state)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, cache: Path) -> None:
    state = reference_state(multitask=False)
    state["base.norm5.bias"][0] = float("nan")
    with pytest.raises(UserError, match=r"base\.norm5\.bias has values that are not finite"):
        import_checkpoint(write_reference(tmp_path / "nan.pth", state))
    assert not list(cache.rglob("*.*"))


@pytest.mark.parametrize("name", ["densenet121", "resnet50.x", "densenet121.a/b", "densenet121...", "../x.y"])
def test_names_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"give it the form densenet121\.TAG"):
        import_checkpoint(tmp_path / "any.pth", name)


def test_shipped_names_and_small_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    monkeypatch.setattr("zoo.importing.PRETRAINED", tmp_path)
    (tmp_path / "densenet121.ours.json").write_text("{}")
    with pytest.raises(UserError, match="a shipped model has that name"):
        import_checkpoint(tmp_path / "any.pth", "densenet121.ours")
    with pytest.raises(UserError, match="at least 32 x 32"):
        import_checkpoint(tmp_path / "any.pth", input_size=(256, 16))


def test_import_command(
    tmp_path: Path, multitask_state: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_reference(tmp_path / "model_best.pth.tar", multitask_state, module=True)
    out = tmp_path / "weights" / "brought.safetensors"
    options = ["--name", "densenet121.brought", "--out", str(out), "--input-size", "64", "96", "--json"]
    assert main(["import", str(path), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"variant: multitask; all {len(multitask_state)} keys fit"
    assert json.loads(lines[-1])["path"] == str(out)
    card = read_card(out)
    assert card.input_size == (64, 96)
    assert card == Card.read(out.with_suffix(".json"))
    assert "not stated" in card.licence
    assert main(["import", str(tmp_path / "absent.pth")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'absent.pth'}: cannot be read")


@pytest.mark.parametrize(
    "variant", [{}, {"keypoints": True, "heatmaps": True, "segments": True}], ids=["image", "all pose"]
)
def test_the_import_can_be_exported(tmp_path: Path, variant: dict[str, bool]) -> None:
    from serving.export import main as export

    path = write_reference(tmp_path / "model_best.pth.tar", reference_state(**variant), module=True)
    options = ["--name", "densenet121.brought", "--input-size", "64", "64", "--keep-identities"]
    assert main(["import", str(path), *options]) == 0
    assert export(["--weights", "densenet121.brought", "--out", str(tmp_path / "bundle")]) == 0
    assert Card.read(tmp_path / "bundle" / "card.json").options["num_ids"] == 0
    assert (tmp_path / "bundle" / "model.onnx").stat().st_size > 1_000_000
