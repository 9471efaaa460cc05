"""The images of a pass: kept beside its one vector, whole or not at all, and shown where asked for."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Facts, GalleryModel
from retrieval.local.examination import examine, repair
from retrieval.page import cards
from retrieval.page.texts import Say
from retrieval.query.feedback import Feedback
from retrieval.query.searcher import Searcher
from retrieval.search import main as search
from retrieval.sources.passes import Pass, Shown
from retrieval.sources.pipeline import ingest
from retrieval.sources.reembedding import reembed
from retrieval.transfer import main as transfer
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.running_app import running_app

WEIGHTS = (0.9, 0.3, 0.2)


@pytest.fixture
def folder(tmp_path: Path, bundle: Path, encoder: Encoder) -> Path:
    """Two passes of three images each, and an image that is none."""
    passes = []
    for vehicle in (1, 2):
        shown = tuple(
            Shown(weight, 4.0 - n, (n, 0.0, 96.0, 96.0), np.asarray(draw_vehicle(vehicle, n + 1)))
            for n, weight in enumerate(WEIGHTS)
        )
        facts = Facts(camera=vehicle, time=100.0, track_id=vehicle)
        passes.append(Pass(f"a#pass-{vehicle}", facts, "/a at 4 s", "/a", shown, "car", 0.9))
    model = GalleryModel(encoder.card, encoder.model_hash, str(bundle))
    with open_gallery(tmp_path / "g", model=model, writable=True) as gallery:
        assert ingest(passes, gallery, encoder).added == 2
        entry = gallery.get("a#pass-1")
        assert entry is not None
        gallery.add([replace(entry, key="plain.jpg", crops=())])
        assert gallery.add([entry]) == 0
    return tmp_path / "g"


def test_images_lie_beside_the_vector_that_is_their_mean(folder: Path) -> None:
    with open_gallery(folder) as gallery:
        entry = gallery.get("a#pass-1")
        assert gallery.crops(["plain.jpg", "none"]) == {}
    assert entry is not None
    assert [crop.quality for crop in entry.crops] == list(WEIGHTS)
    assert [crop.time for crop in entry.crops] == [100, 99, 98]
    assert entry.crops[0].picture == entry.picture
    mean = np.average([crop.embedding for crop in entry.crops], axis=0, weights=WEIGHTS)
    assert np.allclose(entry.embedding, mean, atol=1e-5)


def test_an_image_that_is_lost_or_changed_is_noticed_and_goes_with_its_pass(folder: Path) -> None:
    assert examine(folder).is_whole
    with sqlite3.connect(folder / "gallery.sqlite") as database:
        database.execute("DELETE FROM crops WHERE place = 2 AND image = 1")
        database.execute("UPDATE crops SET jpeg = x'00' WHERE place = 1 AND image = 2")
    assert examine(folder, decode=False).damaged == ("a#pass-1", "a#pass-2")
    assert repair(folder) == ["a#pass-1", "a#pass-2"]
    with sqlite3.connect(folder / "gallery.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM crops").fetchone() == (0,)


def test_a_gallery_of_before_opens_and_stays_as_it_is(folder: Path) -> None:
    with sqlite3.connect(folder / "gallery.sqlite") as database:
        database.execute("DROP TABLE crops")
    with open_gallery(folder) as gallery:
        assert gallery.crops(["a#pass-1"]) == {}
        assert len([entry for batch in gallery.entries() for entry in batch]) == 3
    assert examine(folder).is_whole


def test_another_model_encodes_all_images_of_a_pass(folder: Path, tmp_path: Path, encoder: Encoder) -> None:
    other = GalleryModel(encoder.card, "another", "")
    with open_gallery(folder) as source, open_gallery(tmp_path / "h", model=other, writable=True) as target:
        done = reembed(source, target, encoder)
        before, after = source.get("a#pass-2"), target.get("a#pass-2")
    assert (done.from_pictures, done.bad) == (3, {})
    assert before is not None
    assert after is not None
    again = encoder.encode([InputImage(crop.picture) for crop in before.crops]).embedding
    assert np.allclose(after.embedding, np.average(again, axis=0, weights=WEIGHTS), atol=1e-4)
    assert np.allclose(after.crops[2].embedding, again[2], atol=1e-4)


def test_an_answer_is_by_pass_and_tells_images_where_asked(
    folder: Path, tmp_path: Path, encoder: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    query = tmp_path / "query.png"
    draw_vehicle(1, 3).save(query)
    copy = f"milvus:{tmp_path / 'lite.db'}"
    assert transfer(["--from", str(folder), "--to", copy]) == 0
    capsys.readouterr()
    for gallery in (copy, str(folder)):
        assert search(["--gallery", gallery, "--query", str(query), "--json", "--images"]) == 0
    in_milvus, answer = map(json.loads, capsys.readouterr().out.splitlines())
    assert in_milvus == answer
    found = answer["results"]
    assert len(found) == 3
    of_pass = next(each for each in found if each["key"] == "a#pass-1")
    # The very image that is asked for is the third best of its pass.
    assert of_pass["images"][0]["number"] == 2
    assert of_pass["images"][0]["distance"] == pytest.approx(0, abs=1e-4)
    assert len(of_pass["images"]) == 3
    assert next(each for each in found if each["key"] == "plain.jpg")["images"] == []
    assert search(["--gallery", str(folder), "--query", str(query), "--images"]) == 2
    with open_gallery(folder) as gallery:
        results = Searcher(gallery, encoder).search(query)
        html = cards.results(results, Feedback(), gallery.crops([each.key for each in results]), Say())
    assert html.count("?number=") == 6
    assert html.count('<details class="vr-pass">') == 2


def test_rest_shows_the_images_of_a_pass(folder: Path) -> None:
    with running_app("--gallery", folder) as url:
        ask = httpx.Client(base_url=url, trust_env=False)
        # A pass's name holds a `#`.
        path = "a%23pass-1"
        told = ask.get(f"/api/entries/{path}").json()["images"]
        assert [(each["quality"], each["time"]) for each in told] == [(0.9, 100), (0.3, 99), (0.2, 98)]
        pictures = [ask.get(f"/api/images/{path}", params={"number": n}) for n in range(4)]
        assert [each.status_code for each in pictures] == [200, 200, 200, 404]
        assert len({each.content for each in pictures[:3]}) == 3
        assert ask.get(f"/api/images/{path}").content == pictures[0].content
        similar = ask.get(f"/api/similar/{path}", params={"images": True}).json()["results"]
        assert {each["key"]: len(each["images"]) for each in similar} == {"a#pass-2": 3, "plain.jpg": 0}
        assert "images" not in ask.get(f"/api/similar/{path}").json()["results"][0]
