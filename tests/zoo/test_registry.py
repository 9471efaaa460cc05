"""Models by name, and the commands that list and show them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from zoo import registry
from zoo.__main__ import main
from zoo.card import Card
from zoo.errors import UserError
from zoo.hub.cache import models_folder
from zoo.hub.remote import list_remote
from zoo.labels import COLORS, TYPES
from zoo.loading import load_model, read_card
from zoo.models.network import NetworkOptions
from zoo.registry import create_model, list_archs, list_models, make_card, register
from zoo.weights import save_weights


@pytest.fixture
def shipped(multitask_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A zoo of one model."""
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    figures = [{"dataset": "synthetic", "device": "CPU", "mAP": 0.8123}]
    card = make_card(multitask_model, "densenet121.test", (64, 96), metrics=figures, licence="Apache-2.0")
    return save_weights(multitask_model, card, tmp_path / "densenet121.test.safetensors", dtype="float16")


def test_architectures_are_found_without_being_listed() -> None:
    assert "densenet121" in list_archs()


def test_two_builders_of_one_name_are_a_mistake() -> None:
    list_archs()
    with pytest.raises(ValueError, match="two builders"):
        register("densenet121", NetworkOptions)(nn.Identity)


def test_unknown_architecture_and_option() -> None:
    with pytest.raises(UserError, match=r"^densenet: no such architecture; known are .*densenet121"):
        create_model("densenet")
    with pytest.raises(UserError, match=r"^densenet121: .*no option 'depth'; it has "):
        create_model("densenet121", depth=3)


def test_a_card_rebuilds_its_model() -> None:
    model = create_model("densenet121", multitask=False, keypoints=True, embedding_dim=64)
    card = make_card(model, "densenet121.small", (32, 64))
    assert card.outputs == {"embedding": 64}
    assert card.pose_inputs == {"keypoints": (108,)}
    again = create_model(Card.from_json(card.to_json()))
    assert [(k, v.shape) for k, v in again.state_dict().items()] == [
        (k, v.shape) for k, v in model.state_dict().items()
    ]
    assert create_model(card, num_ids=9).classifier_vid.out_features == 9


@pytest.mark.parametrize(
    ("colors", "types", "outputs"),
    [
        ((), ("car", "motorcycle"), {"type_probs": 2}),
        (("red",), (), {"color_probs": 1}),
        ((), (), {}),
        (COLORS, TYPES, {"color_probs": 10, "type_probs": 9}),
    ],
)
def test_any_number_of_classes(
    colors: tuple[str, ...], types: tuple[str, ...], outputs: dict[str, int]
) -> None:
    model = create_model("osnet_ain", num_colors=len(colors), num_types=len(types)).eval()
    card = make_card(model, "osnet_ain.own", (32, 32), colors=colors, types=types)
    assert (card.colors, card.types) == (colors, types)
    assert {name: size for name, size in card.outputs.items() if name != "embedding"} == outputs
    with torch.no_grad():
        found = create_model(card).eval()(torch.zeros(1, 3, 32, 32))
    assert (found.color_logits is None, found.type_logits is None) == (not colors, not types)
    with pytest.raises(ValueError, match="classes"):
        make_card(create_model("osnet_ain"), "osnet_ain.own", (32, 32), types=("car",))


def test_load_by_name_and_by_path(shipped: Card, tmp_path: Path) -> None:
    assert list_models() == [shipped]
    by_name, card = load_model("densenet121.test")
    path = tmp_path / "elsewhere" / "车.safetensors"
    path.parent.mkdir()
    shutil.copy(tmp_path / "densenet121.test.safetensors", path)
    by_path, _ = load_model(path)
    assert card == shipped
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(by_name(image).embedding, by_path(image).embedding)
    assert not by_name.training


def test_unknown_name_lists_the_near_ones(shipped: Card) -> None:
    for call in (load_model, read_card):
        with pytest.raises(UserError, match=r"^densenet121\.tset: .*did you mean densenet121\.test\?"):
            call("densenet121.tset")
        with pytest.raises(UserError, match=r"^x: neither .*known are densenet121\.test"):
            call("x")


def test_weights_that_do_not_fit_their_card_are_refused(shipped: Card, tmp_path: Path) -> None:
    shipped.replace(options={**shipped.options, "keypoints": True}).write(tmp_path / "densenet121.test.json")
    with pytest.raises(UserError, match=r"fc_vid\.weight \[1024, 1024\] instead of \[1024, 1132\]"):
        load_model("densenet121.test")


def test_shipped_models_load_and_agree_with_their_cards() -> None:
    for card in list_models():
        model, found = load_model(card.name)
        assert found == card
        assert model.outputs() == card.outputs
        assert card.licence
        assert card.metrics


def test_list_command(shipped: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    what = "64x96 embedding, color_probs, type_probs; mAP 0.8123 on synthetic [Apache-2.0]"
    assert rows[0] == f"densenet121.test shipped {what}"
    assert [row.split()[0] for row in rows[1:]] == [entry.name for entry in list_remote()]
    for row, entry in zip(rows[1:], list_remote(), strict=True):
        assert "to fetch" in row and row.endswith(f"[{entry.source.licence}]")
    assert main(["list", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [Card.from_json(json.dumps(entry)) for entry in answer["models"]] == [shipped]
    assert answer["cached"] == []
    assert [entry["name"] for entry in answer["fetchable"]] == [entry.name for entry in list_remote()]


def test_cached_models_load_by_name_and_shipped_ones_go_first(
    shipped: Card, multitask_model: nn.Module
) -> None:
    for name in ("densenet121.brought", "densenet121.test"):
        card = make_card(multitask_model, name, (32, 32))
        save_weights(multitask_model, card, models_folder() / f"{name}.safetensors")
    assert load_model("densenet121.brought")[1].input_size == (32, 32)
    assert load_model("densenet121.test")[1] == shipped
    assert [card.name for card in list_models(models_folder())] == ["densenet121.brought", "densenet121.test"]
    with pytest.raises(UserError, match=r"did you mean densenet121\.brought or densenet121\.test\?"):
        read_card("densenet121.brougt")


def test_show_command(shipped: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "densenet121.test", "--json"]) == 0
    assert Card.from_json(capsys.readouterr().out.splitlines()[-1]) == shipped
    assert main(["show", str(tmp_path / "densenet121.test.safetensors")]) == 0
    assert "0.8123" in capsys.readouterr().out
    assert main(["show", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("error: nothing: neither")


def test_show_command_on_damaged_weights(
    shipped: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "densenet121.test.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert main(["show", "densenet121.test", "--json"]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert "densenet121.test.safetensors: damaged, or not the weights of densenet121.test.json" in answer.err
    weights.unlink()
    assert main(["show", "densenet121.test"]) == 2
    answer = capsys.readouterr()
    assert "0.8123" in answer.out, "the card is shown all the same"
    assert "densenet121.test.safetensors: no weights there" in answer.err


def test_an_empty_zoo_is_said_to_be_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path / "none")
    assert list_models() == []
    assert main(["list"]) == 0
    assert capsys.readouterr().out.startswith("no models")
