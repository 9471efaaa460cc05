"""Every answer is of one state of the gallery, whatever is removed and added again meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery, UnknownKeyError
from retrieval.gallery.entries import Camera, Entry, GalleryModel, Result
from retrieval.gallery.filters import Filters
from retrieval.query.feedback import Feedback, refine
from retrieval.query.reranking import reranked_distances
from retrieval.query.searcher import Query, Searcher
from zoo.card import Card

DIMENSION, IMAGES, VEHICLES = 16, 60, 12
CARD = Card("tiny.one", (32, 32), {"embedding": DIMENSION})
MODEL = GalleryModel(CARD, "hash")
KEYS = [f"{n:02}" for n in range(IMAGES)]
SECONDS = 1.5


def embeddings(version: int) -> np.ndarray:
    return np.random.default_rng(version).normal(size=(IMAGES, DIMENSION)).astype(np.float32)


def entries(version: int) -> list[Entry]:
    """The same images, whose time tells the version; each version comes from a camera of its own."""
    return [
        Entry(
            key, vector, vehicle_id=n % VEHICLES, time=float(version), camera=version, picture=b"%d" % version
        )
        for n, (key, vector) in enumerate(zip(KEYS, embeddings(version), strict=True))
    ]


@contextmanager
def changing(gallery: Gallery) -> Iterator[list[BaseException]]:
    """Replace all images, or remove them and add them again, until the body is done."""
    ended = threading.Event()
    failures: list[BaseException] = []

    def change() -> None:
        version = 1
        try:
            while not ended.is_set():
                version += 1
                if version % 3 == 0:
                    gallery.remove(KEYS)
                gallery.set_cameras([Camera(version, f"camera of {version}")])
                gallery.add(entries(version))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield failures
    finally:
        ended.set()
        thread.join()


def version_of(results: list[Result]) -> int:
    """The one version that all results are of."""
    (version,) = {result.time for result in results}
    assert version is not None
    for result in results:
        assert (result.camera, result.camera_name) == (version, f"camera of {version:g}")
    return int(version)


def check_search(searcher: Searcher, query: Query) -> int:
    results = searcher.search(query, 20, Filters(vehicles=(1, 2, 3, 4)))
    if not results:
        return 0
    version = version_of(results)
    vectors = embeddings(version).astype(np.float64)
    expected = sorted(
        (float(np.linalg.norm(vectors[n] - query.embedding)), KEYS[n])
        for n in range(IMAGES)
        if n % VEHICLES in (1, 2, 3, 4)
    )
    assert [result.key for result in results] == [key for _, key in expected[:20]]
    assert [result.distance for result in results] == pytest.approx([d for d, _ in expected[:20]])
    return version


def check_reranked(searcher: Searcher, query: Query) -> int:
    said = Feedback((KEYS[5],), (KEYS[6],))
    try:
        results = searcher.search(query, 0, feedback=said, rerank=True)
    except UnknownKeyError:
        return 0
    version = version_of(results)
    vectors = embeddings(version)
    moved = refine(query.embedding, vectors[5:6], vectors[6:7], "euclidean")
    away = np.linalg.norm(vectors.astype(np.float64) - moved, axis=1)
    plain = [n for n in np.argsort(away, kind="stable") if n != 6]
    order = np.argsort(reranked_distances(moved, vectors[plain]), kind="stable")
    assert [result.key for result in results] == [KEYS[plain[place]] for place in order]
    return version


def check_grouped(searcher: Searcher, query: Query) -> int:
    results = searcher.search(query, VEHICLES, group="vehicle")
    if not results:
        return 0
    assert sorted(result.vehicle_id or 0 for result in results) == list(range(VEHICLES))
    return version_of(results)


def check_similar(searcher: Searcher, query: Query) -> int:
    found = searcher.similar(KEYS[7], 5)
    if found is None:
        return 0
    version = version_of(found[1])
    assert np.array_equal(found[0].embedding, embeddings(version)[7])
    return version


def check_listed(searcher: Searcher, query: Query) -> int:
    with searcher.gallery.read_transaction():
        results = searcher.gallery.browse(limit=IMAGES, without=KEYS[:1])
        pictures = searcher.gallery.pictures([result.key for result in results])
        count, times = len(searcher.gallery), searcher.gallery.time_range()
        cameras = {camera.id for camera in searcher.gallery.cameras()}
    if not results:
        assert (count, times) == (0, None)
        return 0
    version = version_of(results)
    assert [result.key for result in results] == KEYS[1:]
    assert set(pictures.values()) == {b"%d" % version}
    assert (count, times, version in cameras) == (IMAGES, (version, version), True)
    return version


@pytest.mark.parametrize("reader", ["the process that writes", "another one"])
@pytest.mark.parametrize("check", [check_search, check_reranked, check_grouped, check_similar, check_listed])
def test_answers_are_of_one_state(
    tmp_path: Path, check: Callable[[Searcher, Query], int], reader: str
) -> None:
    with open_gallery(tmp_path, model=MODEL, writable=True) as writer:
        writer.set_cameras([Camera(1, "camera of 1")])
        writer.add(entries(1))
        gallery = writer if reader == "the process that writes" else open_gallery(tmp_path)
        searcher = Searcher(gallery, None)  # type: ignore[arg-type]
        rng = np.random.default_rng(0)
        seen = set()
        with changing(writer) as failures:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                query = Query(rng.normal(size=DIMENSION).astype(np.float32), {}, {})
                seen.add(check(searcher, query))
        assert not failures
        assert len(seen) > 5, "nothing changed meanwhile"
        if gallery is not writer:
            gallery.close()


def test_a_thread_does_not_change_what_it_reads(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=MODEL, writable=True) as gallery:
        with gallery.read_transaction(), pytest.raises(RuntimeError, match="read transaction"):
            gallery.add(entries(1))
        assert gallery.add(entries(1)) == IMAGES
