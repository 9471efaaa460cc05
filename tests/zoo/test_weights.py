"""Weights on disk: round trips, damage, misfits, and a disk that fills up."""

import dataclasses
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from zoo.card import Card
from zoo.errors import UserError
from zoo.loading import load_model
from zoo.registry import create_model, make_card
from zoo.weights import apply_weights, load_weights, read_embedded_card, save_weights


@pytest.fixture
def card(multitask_model: nn.Module) -> Card:
    return make_card(multitask_model, "densenet121.test", (64, 96), licence="Apache-2.0", notes="试验")


@pytest.fixture
def saved(multitask_model: nn.Module, card: Card, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_weights(multitask_model, card, path)
    return path


def test_float32_round_trip_is_exact(multitask_model: nn.Module, card: Card, saved: Path) -> None:
    state, found = load_weights(saved)
    assert found.replace(weights_sha256="") == card
    assert found.weights_sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    own = multitask_model.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[key], own[key]) for key in own)


def test_float16_round_trip(multitask_model: nn.Module, card: Card, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_weights(multitask_model, card, path, dtype="float16")
    state, _ = load_weights(path)
    for key, own in multitask_model.state_dict().items():
        assert state[key].dtype == own.dtype
        if key.endswith(("running_mean", "running_var")) or not own.is_floating_point():
            assert torch.equal(state[key], own)
        else:
            assert torch.equal(state[key], own.half().float())
    model, _ = load_model(path)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = model(image).embedding, multitask_model(image).embedding
    assert not model.training
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_saving_leaves_the_model_alone_and_the_folder_clean(
    multitask_model: nn.Module, saved: Path, card: Card
) -> None:
    before = {key: value.clone() for key, value in multitask_model.state_dict().items()}
    returned = save_weights(multitask_model, card, saved, dtype="float16")
    assert all(torch.equal(value, before[key]) for key, value in multitask_model.state_dict().items())
    assert sorted(path.name for path in saved.parent.iterdir()) == ["model.json", "model.safetensors"]
    assert Card.read(saved.with_suffix(".json")) == returned


def test_the_card_inside_serves_where_none_is_beside(saved: Path, card: Card) -> None:
    saved.with_suffix(".json").unlink()
    assert read_embedded_card(saved) == card
    assert load_weights(saved)[1] == card


def test_a_card_without_identities_leaves_their_classifier_out(
    multitask_model: nn.Module, card: Card, tmp_path: Path
) -> None:
    path = tmp_path / "released.safetensors"
    save_weights(multitask_model, card.replace(options={**card.options, "num_ids": 0}), path)
    assert not [key for key in load_weights(path)[0] if key.startswith("classifier_vid")]
    model, _ = load_model(path)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(image).embedding, multitask_model(image).embedding)


def test_flipped_byte_is_noticed(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors: damaged, or not the weights of model\.json"):
        load_weights(saved)


@pytest.mark.parametrize("keep", [0, 5, 1000, 100_000])
def test_truncated_weights_are_named(saved: Path, keep: int) -> None:
    saved.with_suffix(".json").unlink()
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged or not a safetensors file") as caught:
        load_weights(saved)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.safetensors: no weights there"):
        load_weights(tmp_path / "absent.safetensors")


def test_weights_of_another_program_need_a_card(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"no card inside; put one beside it as foreign\.json"):
        load_weights(path)


def test_every_misfit_is_listed_and_nothing_is_loaded(multitask_model: nn.Module) -> None:
    state = dict(multitask_model.state_dict())
    del state["fc_vid.weight"], state["fc_vid.bias"]
    state |= {"module.conv": torch.zeros(1), "extra": torch.zeros(1), "fc_vcolor.bias": torch.zeros(7)}
    model = create_model("densenet121", num_ids=5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        apply_weights(model, state, "old.safetensors")
    assert str(caught.value) == (
        "old.safetensors: the weights do not fit the model; missing: fc_vid.bias, fc_vid.weight; "
        "unexpected: extra, module.conv; misshapen: fc_vcolor.bias [7] instead of [512]"
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_half_precision_cannot_hold_are_refused(
    card: Card, tmp_path: Path, value: float
) -> None:
    model = create_model("densenet121", num_ids=5)
    with torch.no_grad():
        model.fc_vid.bias[3] = value
    with pytest.raises(UserError, match=r"fc_vid\.bias has values that are not finite in float16"):
        save_weights(model, card, tmp_path / "model.safetensors", dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(multitask_model: nn.Module, card: Card, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best\.pth: weights are written as \.safetensors"):
        save_weights(multitask_model, card, tmp_path / "best.pth")


def test_a_kill_between_the_two_files_leaves_whole_weights(
    multitask_model: nn.Module, card: Card, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Card, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Card, "write", killed)
    newer = dataclasses.replace(card, notes="second")
    with pytest.raises(KeyboardInterrupt):
        save_weights(multitask_model, newer, saved, dtype="float16")
    assert load_weights(saved)[1] == newer


FULL_DISK = """
import resource, signal, sys
from zoo.card import Card
from zoo.errors import exit_on_user_error
from zoo.weights import save_weights
import torch

@exit_on_user_error
def main():
    model = torch.nn.Linear(1000, 1000)
    card = Card(name="linear.test", input_size=(1, 1), outputs={{"embedding": 1000}}, notes="new")
    save_weights(model, card, {path!r})
    return 0

# A write past this size fails as one to a full disk does; the signal would end the process before.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
sys.exit(main())
"""


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "over earlier weights"])
def test_full_disk(
    run_python: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path, earlier: bool
) -> None:
    path = tmp_path / "best.safetensors"
    if earlier:
        old = Card(name="linear.test", input_size=(1, 1), outputs={"embedding": 10})
        save_weights(nn.Linear(10, 10), old, path)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    ran = run_python(FULL_DISK.format(path=str(path)))
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"error: {path}: cannot be written")
    assert ran.stderr.count("\n") == 1
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    if earlier:
        assert load_weights(path)[1].replace(weights_sha256="") == old
        assert json.loads(path.with_suffix(".json").read_text())["notes"] == ""
