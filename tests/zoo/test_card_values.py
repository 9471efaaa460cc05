"""Cards that are JSON and yet none: each is refused in one line that names the value."""

import json
import logging
from pathlib import Path

import pytest

from zoo.card import Card
from zoo.errors import UserError
from zoo.files import read_json
from zoo.loading import read_card
from zoo.registry import list_models, weights_path

GOOD = json.loads(Card("tiny.one", (32, 32), {"embedding": 8}).to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [float("nan"), 0.4, 0.4]},
        {"std": [0.2, 0, 0.2]},
        {"std": [0.2, 0.2]},
        {"input_size": [-32, 32]},
        {"input_size": ["32", 32]},
        {"input_size": 32},
        {"outputs": {"embedding": 3_000_000}},
        {"outputs": {"embedding": -1}},
        {"outputs": []},
        {"options": {"embedding_dim": 3_000_000}},
        {"pose_inputs": {"keypoints": 5}},
        {"channels": "RGBA"},
        {"metric": "manhattan"},
        {"colors": "red"},
        {"colors": [1]},
        {"metrics": {"mAP": 1}},
        {"name": 5},
        {"parameters": "8M"},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_named(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(UserError, match=f"not a card \\({name} is ") as refusal:
        Card.from_json(json.dumps(GOOD | change))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"parameters": ' + "9" * 5000 + "}", "\ufeff["]
)
def test_json_that_cannot_be_held_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a card"):
        Card.from_json(text)


def test_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff{"a": 1}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert Card.from_json("\ufeff" + json.dumps(GOOD)).name == "tiny.one"


def test_one_bad_card_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VEHICLE_REID_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bad.one.json").write_text("{")
    shipped = list_models()[0].name
    assert weights_path(shipped).stem == shipped
    with caplog.at_level(logging.WARNING):
        assert list_models(tmp_path / "models") == []
    assert "bad.one.json" in caplog.text
    with pytest.raises(UserError, match=r"bad\.one\.json"):
        read_card("bad.one")
    with pytest.raises(UserError, match="neither a model of the zoo"):
        weights_path("none.such")
