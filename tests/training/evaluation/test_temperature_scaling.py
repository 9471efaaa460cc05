"""Temperatures: found again where they are known, kept in the card, and harmless to predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.calibrate import main as calibrate
from training.datasets import read_split
from training.evaluation.temperature_scaling import LIMITS, fit_temperature, soften, spread_sample
from zoo.card import Card
from zoo.registry import create_model, make_card
from zoo.weights import load_weights, save_weights


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 9)) * 2
    labels = np.array([rng.choice(9, p=row) for row in softmax(logits)])
    shifted = temperature * logits + rng.normal(size=(20_000, 1))
    assert fit_temperature(shifted, labels) == pytest.approx(temperature, rel=0.03)


def test_the_fit_is_the_likeliest() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    logits[np.arange(300), labels] += 1.0
    best = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return float(-np.log(softmax(logits / temperature)[np.arange(300), labels]).mean())

    assert loss(best) <= min(loss(best * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_no_mistakes_and_nothing_but_mistakes_stay_in_limits() -> None:
    logits = np.eye(4) * 5
    assert fit_temperature(logits, np.arange(4)) == pytest.approx(LIMITS[0])
    assert fit_temperature(logits, np.arange(4)[::-1]) == pytest.approx(LIMITS[1])


def test_softened_probabilities_are_those_of_divided_logits() -> None:
    logits = np.random.default_rng(2).normal(size=(50, 6)) * 4
    np.testing.assert_allclose(soften(softmax(logits), 2.5), softmax(logits / 2.5), rtol=1e-9)


def test_a_sample_reaches_from_the_first_vehicle_to_the_last(veri_root: Path) -> None:
    records = read_split(veri_root, "train")
    sample = spread_sample(records, 5)
    assert len(sample) == 5
    assert (sample[0], sample[-1]) == (records[0], records[-1])
    assert spread_sample(records, len(records)) == records


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("densenet121", embedding_dim=16, attribute_dim=16).eval()
    path = tmp_path / "tiny.safetensors"
    save_weights(model, make_card(model, "densenet121.tiny", (32, 32)), path)
    return path


def test_the_command_writes_the_card_and_leaves_the_weights(veri_root: Path, weights: Path, capsys) -> None:
    before, bytes_before = Card.read(weights.with_suffix(".json")), weights.read_bytes()
    argv = [
        "--data-root",
        str(veri_root),
        "--weights",
        str(weights),
        "--images",
        "20",
        "--cpus",
        "1",
        "--json",
    ]
    assert calibrate([*argv, "--dry-run"]) == 0
    assert Card.read(weights.with_suffix(".json")) == before
    assert calibrate(argv) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    _, after = load_weights(weights)
    assert after.temperature == {name: told[name]["temperature"] for name in ("color", "type")}
    assert after.replace(temperature=before.temperature) == before
    assert weights.read_bytes() == bytes_before
    assert told["color"]["nll_after"] <= told["color"]["nll_before"]
    # Fitted once more it stays, because the fit starts from temperature 1 whatever the card says.
    assert calibrate(argv) == 0
    assert Card.read(weights.with_suffix(".json")).temperature == pytest.approx(after.temperature, rel=1e-5)


def test_a_model_without_attributes(veri_root: Path, tmp_path: Path, capsys) -> None:
    model = create_model("densenet121", multitask=False)
    save_weights(model, make_card(model, "densenet121.bare", (32, 32)), tmp_path / "bare.safetensors")
    argv = ["--data-root", str(veri_root), "--weights", str(tmp_path / "bare.safetensors"), "--images", "2"]
    assert calibrate([*argv, "--cpus", "1"]) == 2
    assert "nothing to calibrate" in capsys.readouterr().err
