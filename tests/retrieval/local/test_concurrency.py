"""Searches beside changes: they wait for no disk, and see every change whole or not at all."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.local.gallery import LocalGallery
from retrieval.local.index_policy import IndexPolicy
from retrieval.local.locks import SharedLock
from retrieval.query.searcher import Query, Searcher
from serving.encoders.encoder import Encoder
from zoo.card import Card

DIMENSION = 32
MODEL = GalleryModel(Card("tiny.one", (32, 32), {"embedding": DIMENSION}), "hash")
GUARD = 60
"""Seconds after which a thread that should have ended counts as stuck."""


def open_gallery(folder: Path, index: str = "exact") -> LocalGallery:
    policy = IndexPolicy(index_from=1000, snapshot_rows=300)
    return LocalGallery.open_folder(folder, MODEL, True, index, policy)


def test_no_read_waits_for_a_change(tmp_path: Path) -> None:
    """Everything that looks is asked while a change is under way: in its transaction, and after it."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, DIMENSION)).astype(np.float32)
    with open_gallery(tmp_path) as gallery:
        gallery.add([Entry(str(n), v, picture=b"jpeg", time=float(n)) for n, v in enumerate(vectors)])
        entered, leave = threading.Event(), threading.Event()

        def change() -> None:
            with gallery.synchronizer.changing(), gallery._store._transaction() as database:
                database.execute("INSERT INTO removals (id) SELECT id FROM images WHERE key = '3'")
                database.execute("DELETE FROM images WHERE key = '3'")
                entered.set()
                assert leave.wait(GUARD)

        seen: list[object] = []

        def look() -> None:
            seen.extend(
                [
                    [hit.key for hit in gallery.search(vectors[3], 1)],
                    gallery.rank(vectors[3], 1),
                    len(gallery),
                    [result.key for result in gallery.browse(Filters(after=3, before=3))],
                    gallery.get("3") is not None,
                    gallery.picture("3"),
                    gallery.cameras(),
                    gallery.time_range(),
                ]
            )

        changer, looker = threading.Thread(target=change), threading.Thread(target=look)
        changer.start()
        assert entered.wait(GUARD)
        looker.start()
        looker.join(GUARD)
        stuck = looker.is_alive()
        leave.set()
        changer.join(GUARD)
        looker.join(GUARD)
        assert not stuck
        assert seen == [["3"], ["3"], 20, ["3"], True, b"jpeg", [], (0.0, 19.0)]


@pytest.mark.parametrize("index", ["exact", "IVF16,RaBitQ", "IVF16,SQ8", "HNSW16,SQ8"])
def test_changes_are_seen_whole(tmp_path: Path, index: str) -> None:
    """One thread replaces and adds, batch by batch, through snapshots and a new index; others search."""
    rng = np.random.default_rng(1)
    names = [f"{n:04}" for n in range(400)]
    ended = threading.Event()
    failures: list[BaseException] = []

    def batch(number: int) -> list[Entry]:
        """The same 400 images anew, all of this batch, and 40 more."""
        vectors = rng.normal(size=(440, DIMENSION)).astype(np.float32)
        replaced = [Entry(name, v, camera=number) for name, v in zip(names, vectors, strict=False)]
        return replaced + [Entry(f"{number}-{n}", v) for n, v in enumerate(vectors[400:])]

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            if work is change:
                ended.set()

    with open_gallery(tmp_path, index) as gallery:
        gallery.add(batch(0))

        def change() -> None:
            for number in range(1, 8):
                gallery.add(batch(number))

        def look() -> None:
            asking = np.random.default_rng()
            while not ended.is_set():
                query = asking.normal(size=DIMENSION).astype(np.float32)
                hits = gallery.search(query, 0)
                assert len({hit.key for hit in hits}) == len(hits)
                assert len(hits) % 40 == 0
                assert len({hit.camera for hit in hits if hit.camera is not None}) == 1
                assert len(gallery.search(query, 10)) == 10
                assert len(gallery.search(query, 10, Filters(before=0))) == 0

        threads = [threading.Thread(target=guarded, args=(work,)) for work in (change, look, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GUARD)
        assert not failures
        expected = gallery.rank(np.zeros(DIMENSION, np.float32))
        assert len(expected) == 400 + 8 * 40
    with open_gallery(tmp_path, index) as reopened:
        assert reopened.rank(np.zeros(DIMENSION, np.float32)) == expected
        assert (reopened.synchronizer.derived.index is None) is (index == "exact")


def test_answer_outlives_what_it_found(tmp_path: Path, encoder: Encoder) -> None:
    """Between a search and its answer, somebody may remove a camera's only image."""
    vector = np.ones(DIMENSION, np.float32)
    with open_gallery(tmp_path) as gallery:
        searcher = Searcher(gallery, encoder)
        gallery.add([Entry("a", vector, camera=9)])
        query = Query(vector, {}, {})
        results = searcher.search(query, 1)
        gallery.remove(["a"])
        (found,) = searcher.answer(query, results)["results"]
        assert (found["key"], found["camera"], found["camera_name"]) == ("a", 9, "camera 9")


def test_readers_share_the_lock_and_a_writer_does_not() -> None:
    lock = SharedLock()
    inside = threading.Barrier(3)
    order = []

    def read() -> None:
        with lock.reading():
            inside.wait(GUARD)  # broken unless two readers are in at once

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    inside.wait(GUARD)
    for thread in readers:
        thread.join(GUARD)

    def write() -> None:
        with lock.writing():
            order.append("writer")

    with lock.reading():
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.05)
        order.append("reader")
    writer.join(GUARD)
    assert order == ["reader", "writer"]
