"""What a model costs is counted as it says, and the cards keep what was measured before."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import model_cost
from zoo.card import Card
from zoo.registry import create_model, make_card


def counted_by_hooks(model: nn.Module, size: tuple[int, int]) -> int:
    """Multiplications of convolutions and linear layers, by their definition."""
    total = 0

    def convolution(module: nn.Conv2d, _: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * (module.in_channels // module.groups) * module.weight[0, 0].numel()

    def linear(module: nn.Linear, _: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * module.in_features

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(convolution)
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
    with torch.no_grad():
        model(torch.zeros(1, 3, *size))
    return total


def test_multiplications_are_those_of_the_definition() -> None:
    model = create_model("osnet_ain", width=0.25).eval()
    card = make_card(model, "osnet_ain.test", (64, 96))
    assert model_cost.macs_of(model, card) == counted_by_hooks(model, (64, 96))


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one small model that was not measured yet."""
    model = create_model("osnet_ain", width=0.25, multitask=False)
    make_card(model, "osnet_ain.test", (64, 64)).write(tmp_path / "osnet_ain.test.json")
    monkeypatch.setattr(model_cost, "MEASURED", tmp_path)
    monkeypatch.setattr(model_cost, "PRETRAINED", tmp_path / "none")
    monkeypatch.setattr(model_cost, "COMMON_SIZE", (96, 96))
    return tmp_path


def test_command_writes_the_cards(cards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model_cost.main(["--rounds", "1", "--write", "--json"]) == 0
    card = Card.read(cards / "osnet_ain.test.json")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["models"][0]["costs"] == card.costs
    assert card.parameters == sum(p.numel() for p in create_model(card).parameters())
    assert [cost["size"] for cost in card.costs] == [[64, 64], [96, 96]]
    assert card.costs[0]["macs"] < card.costs[1]["macs"]
    for cost in card.costs:
        ways = [(entry["threads"], entry["batch"]) for entry in cost["latency"]]
        assert ways == [(1, 1), (1, 8), (2, 1), (2, 8)]
        assert all(0 < entry["best_ms"] <= entry["median_ms"] for entry in cost["latency"])
    # Counting anew times nothing, and forgets no time.
    assert model_cost.main(["--rounds", "0", "--write"]) == 0
    assert Card.read(cards / "osnet_ain.test.json") == card


def test_unknown_model(cards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model_cost.main(["osnet"]) == 2
    assert "osnet: no card of that name in the zoo; known are osnet_ain.test" in capsys.readouterr().err
