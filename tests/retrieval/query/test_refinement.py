"""Fusion, feedback, re-ranking and grouping."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Entry, GalleryModel, Result
from retrieval.query.feedback import Feedback
from retrieval.query.reranking import reranked_distances
from retrieval.query.searcher import Query, Searcher, best_of_each
from training.evaluation.reranking import reranked_rows
from zoo.card import Card
from zoo.errors import UserError

DIMENSION, VEHICLES, IMAGES = 32, 40, 12


@pytest.fixture(scope="module", params=["euclidean", "cosine"])
def searcher(request, tmp_path_factory):
    rng = np.random.default_rng(4)
    card = Card("tiny.one", (32, 32), {"embedding": DIMENSION}, metric=request.param)
    centres = rng.normal(size=(VEHICLES, DIMENSION))
    with open_gallery(
        tmp_path_factory.mktemp("g"), model=GalleryModel(card, "hash"), writable=True
    ) as gallery:
        gallery.add(
            Entry(f"{vehicle}-{image}", noisy(rng, centres[vehicle]), vehicle_id=vehicle, track_id=image // 4)
            for vehicle in range(VEHICLES)
            for image in range(IMAGES)
        )
        yield Searcher(gallery, None), centres  # type: ignore[arg-type]


def noisy(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    return (centre + 0.9 * rng.normal(size=DIMENSION)).astype(np.float32)


def ask(embedding: np.ndarray) -> Query:
    return Query(embedding, {}, {})


def found(hits: list[Result], vehicle: int) -> float:
    return sum(hit.vehicle_id == vehicle for hit in hits)


def test_more_images_and_feedback_find_more(searcher) -> None:
    search, centres = searcher
    rng = np.random.default_rng(5)
    one = several = positive = negative = reranked = 0.0
    for vehicle, centre in enumerate(centres):
        queries = [ask(noisy(rng, centre)) for _ in range(4)]
        plain = search.search(queries[0], IMAGES)
        one += found(plain, vehicle)
        several += found(search.search(queries, IMAGES), vehicle)
        reranked += found(search.search(queries[0], IMAGES, rerank=True), vehicle)
        right = tuple(hit.key for hit in plain if hit.vehicle_id == vehicle)[:2]
        wrong = tuple(hit.key for hit in plain if hit.vehicle_id != vehicle)[:2]
        positive += found(search.search(queries[0], IMAGES, feedback=Feedback(right)), vehicle)
        refined = search.search(queries[0], IMAGES, feedback=Feedback((), wrong))
        negative += found(refined, vehicle)
        assert len(refined) == IMAGES
        assert not {hit.key for hit in refined} & set(wrong)
    assert min(several, positive, negative, reranked) > one


def test_key_that_is_not_there_is_told(searcher) -> None:
    with pytest.raises(UserError, match="'gone': the gallery has no image"):
        searcher[0].search(ask(np.ones(DIMENSION, np.float32)), 5, feedback=Feedback(("gone",)))


def test_groups_fill_the_page(searcher) -> None:
    search, centres = searcher
    query = ask(centres[3].astype(np.float32))
    hits = search.search(query, 15, group="vehicle")
    assert len({hit.vehicle_id for hit in hits}) == len(hits) == 15
    whole = search.search(query, 0)
    assert [hit.key for hit in hits] == [hit.key for hit in best_of_each(whole, "vehicle")[:15]]
    assert [hit.rank for hit in hits] == list(range(1, 16))
    assert len(search.search(query, 100, group="vehicle")) == VEHICLES
    assert {hit.track_id for hit in search.search(query, 0, group="track")} == {0, 1, 2}
    loose = [Result(str(n)) for n in range(3)]
    assert best_of_each(loose, "vehicle") == loose


@pytest.mark.parametrize("count", [2, 7, 100])
def test_head_is_reranked_as_in_evaluation(count: int) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count + 1, 16)) + 2 * rng.normal(size=(4, 16))[rng.integers(0, 4, count + 1)]
    (expected,) = reranked_rows(points[:1], points[1:])
    assert reranked_distances(points[0], points[1:]) == pytest.approx(expected, abs=1e-9)


def test_commands_options(gallery_folder: Path, images: Path, capsys) -> None:
    from tests.retrieval.test_search import ask as command

    query = images / "image_query"
    base = ("--gallery", gallery_folder, "--query", query / "0003_c001_00003250_0.jpg")
    results = command(capsys, *base, "--group", "vehicle", "-k", 6)["results"]
    assert len({result["vehicle_id"] for result in results}) == 6
    results = command(capsys, *base, "--near", "48.1,11.5,50", "-k", 0)["results"]
    assert {result["camera"] for result in results} == {1}
    results = command(capsys, *base, "--vehicle", 2, "-k", 0, "--color-confidence", 0.2)["results"]
    assert {result["vehicle_id"] for result in results} == {2}
    assert all(result["color_confidence"] >= 0.2 for result in results)
    first = command(capsys, *base)["results"][0]["key"]
    results = command(capsys, *base, "--unlike", first, "--like", "0003_c002_00003500_0.jpg", "--rerank")[
        "results"
    ]
    assert first not in {result["key"] for result in results}
    both = command(capsys, *base, "--query", query / "0002_c001_00002250_0.jpg", "-k", 8)["results"]
    assert {result["vehicle_id"] for result in both} >= {2, 3}
