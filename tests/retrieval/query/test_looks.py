"""Soft attributes: colour and type order results, hide nothing, and change no probability."""

from pathlib import Path

import httpx
import pytest

from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.entries import Result
from retrieval.milvus.gallery import MilvusGallery
from retrieval.query.looks import Looks, by_looks, stated
from retrieval.query.searcher import Searcher
from retrieval.search import main
from tests.retrieval.running_app import running_app
from zoo.errors import UserError
from zoo.sameness import agreement


def found(*rows: tuple[str, float, str | None, float | None]) -> list[Result]:
    return [Result(key, distance=d, color=color, color_confidence=told) for key, d, color, told in rows]


def test_agreement_is_the_ratio_of_likelihoods() -> None:
    # 10 colours: the same for sure is ten times as likely as for any two images.
    assert agreement(1.0, 1.0, 10) == pytest.approx(2.302585, abs=1e-5)
    assert agreement(0.1, 0.1, 10) == pytest.approx(0)
    assert agreement(0.0, 0.9, 10) < -2
    assert agreement(1.0, 1.0, 1) == 0


def test_looks_count_as_much_as_they_are_worth() -> None:
    rows = found(
        ("a", 1.0, "red", 0.9), ("b", 1.1, "white", 0.9), ("c", 1.2, None, None), ("d", 9.0, "white", 0.9)
    )

    def order(colors: dict[str, float], worth: float) -> str:
        return "".join(each.key for each in by_looks(rows, colors, {}, (10, 0), (worth, 1.0)))

    assert order({"white": 1.0}, 0.0) == "abcd"
    # The unknown one stands where it stood, and the far one stays far.
    assert order({"white": 1.0}, 0.1) == "bcad"
    assert order({"white": 1.0}, 3.0) == "bdca"
    assert order({}, 3.0) == "abcd"
    assert stated(("red", "white"), {"green": 1.0}) == {"red": 0.5, "white": 0.5}
    assert stated((), {"green": 1.0}) == {"green": 1.0}


@pytest.mark.parametrize("kind", ["folder", "Milvus"])
def test_nothing_is_hidden_and_no_probability_changes(
    gallery_folder: Path, weighed: Path, query: bytes, kind: str, tmp_path: Path
) -> None:
    encoder, model = open_gallery_encoder(str(gallery_folder), str(weighed))
    place = gallery_folder if kind == "folder" else f"milvus:{tmp_path}/gallery.db"
    if kind == "Milvus":
        with (
            open_gallery(gallery_folder, model=model) as held,
            open_gallery(place, model=model, writable=True) as copy,
        ):
            assert isinstance(copy, MilvusGallery)
            copy.add([held.get(key) for key in held.rank(encoder.encode([query]).embedding[0])])
    with open_gallery(place, model=model) as gallery:
        searcher = Searcher(gallery, encoder)
        plain = searcher.search(query, 0)
        told = {each.key: (each.probability, each.distance) for each in plain}
        other = next(each.color for each in reversed(plain) if each.color != plain[0].color)
        soft = searcher.search(query, 0, looks=Looks((str(other),)))
        assert {each.key: (each.probability, each.distance) for each in soft} == told
        assert soft[0].color == other and [each.rank for each in soft] == list(range(1, 25))
        # A few results are the first of the same order.
        assert [each.key for each in searcher.search(query, 3, looks=Looks((str(other),)))] == [
            each.key for each in soft[:3]
        ]
        assert searcher.search(query, 1, looks=Looks())[0].color == searcher.encode(query).color
        with pytest.raises(UserError, match="leave one out"):
            searcher.search(query, 3, looks=Looks(), rerank=True)
        with pytest.raises(UserError, match="pruple"):
            searcher.search(query, 3, looks=Looks(("pruple",)))
    encoder.close()


def test_by_command_and_over_rest(
    gallery_folder: Path, weighed: Path, query: bytes, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = images / "image_query" / "0003_c001_00003250_0.jpg"
    arguments = ["--gallery", str(gallery_folder), "--encoder", str(weighed), "--query", str(file)]
    assert main([*arguments, "--color", "white", "--soft", "--json"]) == 0
    assert '"searched": 24, "images": 24, "hidden_look_alikes": null' in capsys.readouterr().out
    with (
        running_app("--gallery", str(gallery_folder), "--encoder", str(weighed)) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        form = {"soft": "true", "color": "white", "k": "24"}
        answer = client.post("/api/search", files={"image": query}, data=form).json()
        assert (answer["searched"], len(answer["results"])) == (24, 24)
        both = client.post("/api/search", files={"image": query}, data=form | {"rerank": "true"})
        assert both.status_code == 422
        csv = {**form, "format": "csv"}
        assert len(client.post("/api/export", files={"image": query}, data=csv).text.splitlines()) == 25
        assert client.post("/api/export", data=csv).status_code == 422
        # A case keeps what weighed, and hides nothing for it.
        address = f"/api/cases/{'5' * 32}"
        assert client.put(address, data=form | {"name": "x"}).status_code == 422
        case = client.put(address, files={"image": query}, data=form | {"name": "x"}).json()
        assert (case["filters"], case["soft"]) == ({}, {"color": ["white"], "type": []})
        assert [each["key"] for each in case["results"]] == [each["key"] for each in answer["results"]]
        assert "looks weighed: white" in client.get(f"{address}/export").text
        assert client.delete(address).json() == {"deleted": True}
