"""Fill, search and ask a gallery with a network that tells no colours and types: one from elsewhere."""

import json
from pathlib import Path

import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.filters import Filters
from retrieval.ingest import main as ingest
from retrieval.query.searcher import Searcher
from retrieval.search import main as search
from serving.encoders.encoder import open_encoder
from serving.export import main as export
from tests.serving.conftest import make_image
from tests.serving.conversion.networks import TinyNet, write_onnx
from zoo.card import Card
from zoo.errors import UserError


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    pictures = folder / "pictures"
    pictures.mkdir()
    for seed in range(6):
        (pictures / f"{seed:04}_c{seed % 2 + 1:03}_00000{seed}_0.jpg").write_bytes(make_image(seed))
    file = write_onnx(folder / "net.onnx", TinyNet())
    pixels = ["--order", "RGB", "--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5"]
    assert export(["--onnx", str(file), *pixels, "--out", str(folder / "bundle")]) == 0
    filling = ["--images", str(pictures), "--gallery", str(folder / "gallery")]
    assert ingest([*filling, "--encoder", str(folder / "bundle")]) == 0
    return folder


def test_search_finds_the_image_itself(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = next(iter(sorted((filled / "pictures").iterdir())))
    asked = ["--gallery", str(filled / "gallery"), "--query", str(query)]
    assert search([*asked, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["query"]["color"] is None and answer["query"]["color_probs"] == {}
    best = answer["results"][0]
    assert best["key"].endswith(query.name) and best["distance"] < 1e-5
    assert best["color"] is None and best["type"] is None
    assert search(asked) == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--color", "white"], "colour"),
        (["--type", "suv"], "type"),
        (["--color-confidence", "0.5"], "colour"),
        (["--type-confidence", "0.5"], "type"),
    ],
)
def test_a_filter_on_what_it_does_not_predict_is_refused_by_name(
    options: list[str], what: str, filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = str(next((filled / "pictures").iterdir()))
    assert search(["--gallery", str(filled / "gallery"), "--query", query, *options]) == 2
    assert f"onnx.net predicts no {what}; leave out the filter on it" in capsys.readouterr().err


def test_words_for_what_it_does_not_predict_are_told_as_not_understood(filled: Path) -> None:
    encoder = open_encoder(str(filled / "bundle"))
    with open_gallery(filled / "gallery", model=encoder) as gallery:
        understood = Searcher(gallery, encoder).understand("white suv vehicle 3")
        assert understood.filters == Filters(vehicles=(3,))
        assert understood.unknown == ("white", "suv")
        assert [result.color for result in gallery.browse(Filters(cameras=(1,)))] == [None] * 3
    encoder.close()


def test_one_attribute_of_the_two_can_be_asked_for() -> None:
    card = Card("half.test", (32, 32), {"embedding": 8, "color_probs": 10})
    Filters(colors=("white",), color_confidence=0.5).check(card)
    with pytest.raises(UserError, match="predicts no type"):
        Filters(types=("suv",)).check(card)
