"""The README's table of models says what the cards say."""

import json
from pathlib import Path

import pytest

import zoo
from zoo import registry, table
from zoo.__main__ import main
from zoo.card import Card
from zoo.registry import MEASURED, PRETRAINED, list_archs, list_models, make_card

README = Path(zoo.__file__).parent.parent / "README.md"
MARKS = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"


def test_the_readme_agrees_with_the_cards() -> None:
    text = README.read_text(encoding="utf-8")
    assert f"{table.BEGIN}\n\n{table.render_table()}\n\n{table.END}\n" in text, (
        "run: python -m zoo table --write README.md"
    )


def test_every_architecture_has_its_costs_in_a_card() -> None:
    cards = [*list_models(), *list_models(MEASURED)]
    assert {card.name.split(".")[0] for card in cards} == set(list_archs())
    for card in cards:
        assert card.parameters > 0, card.name
        sizes = {tuple(cost["size"]) for cost in card.costs}
        assert {card.input_size, (256, 256)} <= sizes, card.name
        assert all(cost["macs"] > 0 for cost in card.costs)


def test_a_measured_card_is_no_model_to_load() -> None:
    assert not {card.name for card in list_models(MEASURED)} & {card.name for card in list_models(PRETRAINED)}
    assert not list(MEASURED.glob("*.safetensors"))


def test_parameters_are_the_models() -> None:
    for card in [*list_models(), *list_models(MEASURED)]:
        model = registry.create_model(card)
        assert card.parameters == sum(parameter.numel() for parameter in model.parameters())
        made = make_card(model, card.name, card.input_size, colors=card.colors, types=card.types)
        assert made.outputs == card.outputs


def test_a_changed_card_changes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latency = [{"threads": 1, "batch": 1, "median_ms": 41.6}, {"threads": 2, "batch": 1, "median_ms": 30.0}]
    costs = [{"size": [64, 96], "macs": 1_250_000_000, "device": "a machine", "latency": latency}]
    card = Card(
        "osnet_ain.test",
        (64, 96),
        {"embedding": 8},
        metric="cosine",
        parameters=2_170_000,
        costs=costs,
        metrics=[{"dataset": "roads", "mAP": 0.5, "rank1": 0.75}],
    )
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path)
    monkeypatch.setattr(table, "MEASURED", tmp_path / "none")
    card.write(tmp_path / "osnet_ain.test.json")
    cells = ["`osnet_ain.test`", "64x96 RGB", "8, cosine", "2.17 M", "1.25 G / -", "42 / -"]
    cells += ["50.00 / 75.00", "", "shipped"]
    assert table.render_table().splitlines()[2] == f"| {' | '.join(cells)} |"
    assert "on a machine" in table.render_table()
    before = table.render_table()
    card.replace(metrics=[{"dataset": "roads", "mAP": 0.6, "rank1": 0.75}]).write(
        tmp_path / "osnet_ain.test.json"
    )
    assert table.render_table() != before


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(MARKS)
    assert main(["table", "--write", str(readme), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["changed"] is True
    text = readme.read_text(encoding="utf-8")
    assert text == f"before\n{table.BEGIN}\n\n{table.render_table()}\n\n{table.END}\nafter\n"
    assert main(["table", "--write", str(readme)]) == 0
    assert "is as the cards have it" in capsys.readouterr().out
    assert readme.read_text(encoding="utf-8") == text
    assert main(["table"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == table.render_table()


@pytest.mark.parametrize("text", ["no marks\n", f"{table.BEGIN}\n", f"{table.END}\n{table.BEGIN}\n"])
def test_a_file_without_the_marks_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    assert main(["table", "--write", str(readme)]) == 2
    assert "lacks the lines" in capsys.readouterr().err
    assert readme.read_text() == text
