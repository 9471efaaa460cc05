"""Verdicts and probabilities of searches, by command, REST and downloads; and where there are none."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.base import Gallery
from retrieval.gallery.crops import PassCrop
from retrieval.gallery.filters import Filters
from retrieval.query.redundancy import redundancy_of
from retrieval.query.sameness import calibration_of, verdict
from retrieval.query.searcher import Searcher
from retrieval.search import main
from serving.encoders.encoder import Encoder
from tests.retrieval.conftest import CAMERAS, VEHICLES
from tests.retrieval.running_app import running_app
from zoo.sameness import PROBES

IMAGES = CAMERAS * len(VEHICLES)


@pytest.fixture
def searcher(gallery_folder: Path, calibrated: Path) -> Iterator[Searcher]:
    encoder, model = open_gallery_encoder(str(gallery_folder), str(calibrated))
    with open_gallery(gallery_folder, model=model) as gallery:
        yield Searcher(gallery, encoder)
    encoder.close()


def test_probabilities_fall_with_the_distance(searcher: Searcher, query: bytes) -> None:
    results = searcher.search(query, 0)
    chances = [result.probability for result in results]
    assert all(chance is not None for chance in chances)
    assert chances == sorted(chances, reverse=True)
    assert verdict(searcher.gallery, results) == "match"
    assert chances[0] > 0.9
    # A gallery of a few others at the very distance of the last: nothing is found there.
    assert verdict(searcher.gallery, results[-1:]) == "no match"
    # However it is asked: the order that marks or mutual neighbours give changes no probability.
    again = searcher.search(query, 0, rerank=True)
    assert {r.key: r.probability for r in again} == {r.key: r.probability for r in results}


def test_nothing_found_is_no_match(searcher: Searcher, query: bytes) -> None:
    assert verdict(searcher.gallery, searcher.search(query, 5, Filters(colors=("golden",)))) == "no match"


def test_what_was_not_searched_does_not_count(searcher: Searcher, query: bytes) -> None:
    assert searcher.gallery.count() == IMAGES
    filters = Filters(cameras=(1,))
    assert searcher.gallery.count(filters) == len(VEHICLES)
    assert searcher.gallery.sample(1000, filters).shape == (len(VEHICLES), 48)
    assert searcher.gallery.sample(3).shape == (3, 48)
    answer = searcher.answer(searcher.encode(query), searcher.search(query, 2, filters), filters)
    assert (answer["searched"], answer["images"], len(answer["results"])) == (len(VEHICLES), IMAGES, 2)


def test_a_filter_on_looks_tells_of_look_alikes_that_it_hides(searcher: Searcher, query: bytes) -> None:
    asked = searcher.encode(query)
    likely = [r for r in searcher.search(asked, 0) if r.probability >= 0.5]
    assert likely
    assert searcher.hidden_look_alikes(asked, Filters(colors=("red",))) == len(likely)
    assert searcher.hidden_look_alikes(asked, Filters(colors=("white",))) == 0
    # A camera is a fact, and hides nothing by mistake.
    assert searcher.hidden_look_alikes(asked, Filters(cameras=(2,))) is None


@pytest.mark.parametrize("centring", [False, True])
def test_without_calibration_nothing_is_told(gallery_folder: Path, calibrated: Path, query, bundle, centring):
    encoder, model = open_gallery_encoder(str(gallery_folder), str(calibrated if centring else bundle))
    with open_gallery(gallery_folder, model=model, camera_centring=centring) as gallery:
        searcher = Searcher(gallery, encoder)
        results = searcher.search(query, 3)
        answer = searcher.answer(searcher.encode(query), results)
    encoder.close()
    assert answer["verdict"] is None
    assert [result["probability"] for result in answer["results"]] == [None] * 3


def test_of_passes_as_much_is_told_as_was_calibrated(
    gallery_folder: Path, calibrated: Path, query: bytes, tmp_path: Path
) -> None:
    shutil.copytree(gallery_folder, tmp_path / "gallery")
    encoder, model = open_gallery_encoder(str(tmp_path / "gallery"), str(calibrated))
    with open_gallery(tmp_path / "gallery", model=model, writable=True) as gallery:
        pictures = told(gallery, encoder, query)
        entry = next(gallery.entries())[0]
        crop = PassCrop(entry.picture, 1.0, None, (0, 0, 9, 9), entry.embedding)
        gallery.add([replace(entry, crops=(crop,))])
        assert not gallery.holds_passes()
        gallery.add([replace(entry, crops=(crop, crop))])
        assert gallery.holds_passes()
        assert told(gallery, encoder, query) is None
    known = model.card.replace(sameness=model.card.sameness | {"passes": 0.7})
    with open_gallery(tmp_path / "gallery", model=replace(model, card=known)) as gallery:
        passes = told(gallery, encoder, query)
    encoder.close()
    assert pictures is not None and passes is not None and passes > pictures


def told(gallery: Gallery, encoder: Encoder, query: bytes) -> float | None:
    """How often strangers come as near as each result, together."""
    rates = [result.false_match_rate for result in Searcher(gallery, encoder).search(query, 0)]
    return None if None in rates else sum(rate for rate in rates if rate is not None)


def ask(gallery: Path, encoder: Path, query: Path, *more: str) -> list[str]:
    return ["--gallery", str(gallery), "--encoder", str(encoder), "--query", str(query), *more]


def test_the_command(gallery_folder: Path, calibrated: Path, images: Path, tmp_path: Path, capsys) -> None:
    query = images / "image_query" / "0003_c001_00003250_0.jpg"
    assert main(ask(gallery_folder, calibrated, query, "--json")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "match"
    assert set(answer["results"][0]) >= {"key", "score", "probability", "camera", "time"}
    assert main(ask(gallery_folder, calibrated, query, "--json", "--false-match-rate", "1e-40")) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "uncertain"
    assert main(ask(gallery_folder, calibrated, query)) == 0
    assert capsys.readouterr().out.startswith("verdict: match\n")
    out = tmp_path / "rankings.jsonl"
    assert main(ask(gallery_folder, calibrated, query.parent, "--rankings", str(out))) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {line["verdict"] for line in lines} == {"match"}
    assert all(line["probability"] > 0.9 for line in lines)
    capsys.readouterr()
    assert main(ask(gallery_folder, calibrated, query, "--false-match-rate", "1")) == 2
    assert "a share between 0 and 1" in capsys.readouterr().err


def test_over_rest_and_in_downloads(
    gallery_folder: Path, calibrated: Path, query: bytes, searcher: Searcher
) -> None:
    options = ("--gallery", gallery_folder, "--encoder", calibrated, "--false-match-rate", "0.02")
    with (
        running_app(*options) as address,
        httpx.Client(base_url=address, timeout=30, trust_env=False) as client,
    ):
        found = client.post("/api/search", files={"image": query}).json()
        assert (found["verdict"], found["false_match_rate"]) == ("match", 0.02)
        careful = client.post("/api/search", files={"image": query}, data={"false_match_rate": 1e-40}).json()
        assert careful["verdict"] == "uncertain"
        key = found["results"][0]["key"]
        similar = client.get(f"/api/similar/{key}").json()
        asked = searcher.similar(key, 10)
        assert asked is not None
        here = searcher.answer(*asked, false_match_rate=0.02)
        assert similar["verdict"] == here["verdict"] != "no match"
        chances = [[result["probability"] for result in answer["results"]] for answer in (similar, here)]
        assert chances[0] == pytest.approx(chances[1])
        bad = client.post("/api/search", files={"image": query}, data={"false_match_rate": 2})
        assert bad.status_code == 422
        table = client.post("/api/export", files={"image": query}, data={"format": "csv"}).text
        assert table.splitlines()[0].lstrip("\ufeff").startswith("rank,key,probability,score,distance")
        page = client.post("/api/export", files={"image": query}, data={"format": "html"}).text
        assert "Verdict: match." in page
        assert f"of {IMAGES} images searched" in page


@pytest.fixture
def redundant(searcher: Searcher) -> Iterator[Searcher]:
    """The same gallery, with a calibration for which it matters how many images of a vehicle there are."""
    model = searcher.gallery.model
    card = model.card.replace(sameness=model.card.sameness | {"redundancy": (-1.0, -0.5, 1.0, 2.0)})
    with open_gallery(searcher.gallery.folder, model=replace(model, card=card)) as gallery:
        yield Searcher(gallery, searcher.encoder)


def test_a_gallery_is_asked_once_how_many_images_a_vehicle_has(
    redundant: Searcher, searcher: Searcher, query: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    search = type(redundant.gallery).search
    monkeypatch.setattr(
        type(redundant.gallery), "search", lambda *args, **more: asked.append(args) or search(*args, **more)
    )
    usual = [result.false_match_rate for result in searcher.search(query, 0)]
    assert len(asked) == 1
    rates = [result.false_match_rate for result in redundant.search(query, 0)]
    assert len(asked) == 2 + min(PROBES, IMAGES)
    assert rates != usual
    # The same answer the next time, without asking, and with a filter, too.
    assert [result.false_match_rate for result in redundant.search(query, 0)] == rates
    redundant.search(query, 0, Filters(cameras=(1,)))
    assert len(asked) == 4 + min(PROBES, IMAGES)


def test_a_gallery_that_grew_is_asked_again(redundant: Searcher, query: bytes, tmp_path: Path) -> None:
    gallery, sameness = redundant.gallery, calibration_of(redundant.gallery)
    assert sameness is not None
    shutil.copytree(gallery.folder, tmp_path / "gallery")
    with open_gallery(tmp_path / "gallery", model=gallery.model, writable=True) as grown:
        before = redundancy_of(grown, sameness, None, len(grown))
        assert before == redundancy_of(gallery, sameness, None, len(gallery))
        # A filter that leaves a third leaves a third of each vehicle's other images.
        third = redundancy_of(grown, sameness, Filters(cameras=(1,)), len(grown) // 3)
        assert before is not None and third is not None and third - 1 == pytest.approx((before - 1) / 3)
        for entry in list(next(grown.entries())):
            grown.add([replace(entry, key=f"{entry.key}.again")])
        after = redundancy_of(grown, sameness, None, len(grown))
    # Each image is there twice.
    assert after is not None and after > 1.3 * before


def test_both_kinds_of_gallery_count_alike(searcher: Searcher, query: bytes, milvus_copy: Gallery) -> None:
    for filters in (Filters(), Filters(cameras=(1, 2)), Filters(colors=("red",), after=50.0)):
        assert milvus_copy.count(filters) == searcher.gallery.count(filters)
        assert len(milvus_copy.sample(1000, filters)) == searcher.gallery.count(filters)
    there = {r.key: r.probability for r in Searcher(milvus_copy, searcher.encoder).search(query, 0)}
    here = {r.key: r.probability for r in searcher.search(query, 0)}
    assert there == pytest.approx(here)


@pytest.fixture
def milvus_copy(searcher: Searcher, tmp_path: Path) -> Iterator[Gallery]:
    pytest.importorskip("pymilvus")
    with open_gallery(f"milvus:{tmp_path}/g.db", model=searcher.gallery.model, writable=True) as gallery:
        for batch in searcher.gallery.entries():
            gallery.add(batch)
        yield gallery
