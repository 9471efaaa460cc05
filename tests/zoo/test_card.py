"""Cards: what goes in comes out, and what cannot be read is said in one line."""

from pathlib import Path

import pytest

from zoo.card import Card
from zoo.errors import UserError


@pytest.fixture
def card() -> Card:
    return Card(
        name="densenet121.test",
        input_size=(192, 256),
        outputs={"embedding": 1024, "color_probs": 10},
        pose_inputs={"keypoints": (108,), "heatmaps": (192, 256, 36)},
        channels="BGR",
        temperature={"color": 0.8, "type": 1.7},
        metrics=[{"dataset": "VeRi-776", "device": "CPU", "mAP": 0.5}],
        notes="合成车辆",
    )


def test_round_trip(card: Card, tmp_path: Path) -> None:
    assert Card.from_json(card.to_json()) == card
    path = tmp_path / "卡 片.json"
    card.write(path)
    assert Card.read(path) == card
    assert "合成车辆" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "broken JSON"),
        ("[]", "a JSON object is expected"),
        ('{"name": "a.b"}', "incomplete"),
        (
            '{"name": "a.b", "input_size": [1, 1], "outputs": {"type_probs": 2}, "types": ["car"]}',
            "names 1 classes for the 2 of type_probs",
        ),
        ('{"name": "a.b", "input_size": [1, 1], "outputs": {}, "colour": 1}', r"unknown fields \['colour'\]"),
        (
            '{"name": "a.b", "input_size": [1, 1], "outputs": {}, "temperature": {"color": 0, "type": 1}}',
            "temperature must be a positive number",
        ),
        (
            '{"name": "a.b", "input_size": [1, 1], "outputs": {}, "temperature": {"color": 1}}',
            "temperature must be a positive number",
        ),
    ],
)
def test_broken_cards_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"card\.json: .*{complaint}") as caught:
        Card.read(path)
    assert "\n" not in str(caught.value)


def test_only_the_other_filter_is_written_down(card: Card) -> None:
    """The card is part of a model's hash, which galleries go by: it stays what it was."""
    assert "antialias" not in card.to_json()
    plain = card.replace(antialias=False)
    assert Card.from_json(plain.to_json()) == plain
    assert Card.from_json(card.to_json()).antialias


def test_a_card_from_before_temperatures_has_them_at_one() -> None:
    old = Card.from_json('{"name": "a.b", "input_size": [1, 1], "outputs": {}}')
    assert old.temperature == {"color": 1.0, "type": 1.0}


def test_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no card can be read there"):
        Card.read(tmp_path / "none.json")
