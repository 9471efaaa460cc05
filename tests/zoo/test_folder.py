"""Models copied out of the zoo: whole, verified, or not at all."""

from pathlib import Path

import pytest
from torch import nn

from zoo import registry
from zoo.__main__ import main
from zoo.card import Card
from zoo.errors import UserError
from zoo.folder import push_to_folder
from zoo.weights import load_weights, save_weights

NAME = "densenet121.test"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model, shipped; a copy does not ask what it is a model of."""
    folder = tmp_path / "pretrained"
    monkeypatch.setattr(registry, "PRETRAINED", folder)
    card = Card(name=NAME, input_size=(64, 64), outputs={"embedding": 4}, licence="Apache-2.0")
    save_weights(nn.Linear(4, 4), card, folder / f"{NAME}.safetensors")
    return folder


def test_weights_and_card_are_copied(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "车"
    assert main(["push-to-folder", NAME, str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / f"{NAME}{end}") for end in (".safetensors", ".json")]
    for end in (".safetensors", ".json"):
        assert (out / f"{NAME}{end}").read_bytes() == (shipped / f"{NAME}{end}").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == [f"{NAME}.json", f"{NAME}.safetensors"]
    push_to_folder(NAME, out)
    assert load_weights(out / f"{NAME}.safetensors")[1].licence == "Apache-2.0"


def test_damaged_weights_are_not_copied(shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    push_to_folder(NAME, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    weights = shipped / f"{NAME}.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged .* nothing was copied"):
        push_to_folder(NAME, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_card_from_inside_the_weights_is_completed(shipped: Path, tmp_path: Path) -> None:
    (shipped / f"{NAME}.json").unlink()
    written = push_to_folder(str(shipped / f"{NAME}.safetensors"), tmp_path / "out")
    assert len(Card.read(written[1]).weights_sha256) == 64
    load_weights(written[0])


def test_the_original_and_nothing_are_no_sources(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the original itself"):
        push_to_folder(NAME, shipped)
    assert load_weights(shipped / f"{NAME}.safetensors")[1].name == NAME
    with pytest.raises(UserError, match="did you mean"):
        push_to_folder("densenet121.tset", tmp_path / "out")
    (shipped / f"{NAME}.safetensors").unlink()
    with pytest.raises(UserError, match="nothing is there to copy"):
        push_to_folder(NAME, tmp_path / "out")


def test_a_folder_that_cannot_be_written(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        push_to_folder(NAME, tmp_path / "file")
