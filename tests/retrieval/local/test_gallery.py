"""The gallery against plain numpy, and its promises about keys, models and writers."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Camera, Entry, GalleryModel, Result
from retrieval.gallery.filters import Filters
from zoo.card import Card
from zoo.errors import UserError

DIMENSION = 6
OUTPUTS = {"embedding": DIMENSION, "color_probs": 10, "type_probs": 9}


def model(metric: str = "euclidean", name: str = "one") -> GalleryModel:
    return GalleryModel(
        Card(f"tiny.{name}", (32, 32), OUTPUTS, metric=metric), f"hash-of-{name}", "build/bundle"
    )


def random_entries(rng: np.random.Generator, count: int) -> list[Entry]:
    """Entries with few distinct values, so that equal distances are common."""
    return [
        Entry(
            key=f"{int(number):03}",
            embedding=rng.integers(-2, 3, DIMENSION).astype(np.float32),
            color_probs=rng.dirichlet(np.ones(10)).astype(np.float32),
            type_probs=rng.dirichlet(np.ones(9)).astype(np.float32),
            picture=b"jpeg",
            vehicle_id=None if number % 5 == 0 else int(number) // 3,
            camera=None if number % 7 == 0 else int(number) % 4,
            time=None if number % 4 == 0 else float(rng.integers(0, 50)),
        )
        for number in rng.permutation(count)
    ]


def naive(entries: list[Entry], query: np.ndarray, metric: str, filters: Filters, card: Card) -> list[str]:
    """Filter with plain Python, compute with plain numpy, sort everything."""
    found = []
    for entry in entries:
        color = card.colors[int(np.argmax(entry.color_probs))]
        kind = card.types[int(np.argmax(entry.type_probs))]
        if filters.colors and color not in filters.colors:
            continue
        if filters.types and kind not in filters.types:
            continue
        if filters.cameras and entry.camera not in filters.cameras:
            continue
        if filters.after is not None and (entry.time is None or entry.time < filters.after):
            continue
        if filters.before is not None and (entry.time is None or entry.time > filters.before):
            continue
        a, b = entry.embedding.astype(np.float64), query.astype(np.float64)
        distance = np.linalg.norm(a - b) if metric == "euclidean" else 1 - a @ b / np.sqrt((a @ a) * (b @ b))
        found.append((round(float(distance), 6), entry.key))
    return [key for _, key in sorted(found)]


def rounded(hits: list[Result]) -> list[str]:
    """Keys in the order of `naive`, which rounds distances: its last bits differ."""
    return [key for _, key in sorted((round(hit.distance, 6), hit.key) for hit in hits)]


subsets = st.lists(st.integers(0, 8), max_size=4, unique=True)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    metric=st.sampled_from(["euclidean", "cosine"]),
    count=st.integers(0, 60),
    k=st.integers(0, 70),
    colors=subsets,
    types=subsets,
    cameras=st.lists(st.integers(0, 4), max_size=3),
    times=st.tuples(st.none() | st.integers(0, 25), st.none() | st.integers(25, 60)),
)
def test_search_equals_naive_search(tmp_path_factory, seed, metric, count, k, colors, types, cameras, times):
    rng = np.random.default_rng(seed)
    # One that is all zeros is refused, whatever the metric.
    entries = [entry for entry in random_entries(rng, count) if entry.embedding.any()]
    card = model(metric).card
    filters = Filters(
        tuple(card.colors[index] for index in colors),
        tuple(card.types[index] for index in types),
        tuple(cameras),
        *times,
    )
    query = rng.normal(size=DIMENSION).astype(np.float32)
    with open_gallery(tmp_path_factory.mktemp("g"), model=model(metric), writable=True) as gallery:
        assert gallery.add(entries) == len(entries)
        hits = gallery.search(query, k, filters)
        expected = naive(entries, query, metric, filters, card)
        assert len(hits) == (len(expected) if k == 0 else min(k, len(expected)))
        if k == 0:
            assert rounded(hits) == expected
        assert [hit.key for hit in hits] == gallery.rank(query, k, filters)
        whole = gallery.search(query, 0, filters)
        assert [hit.key for hit in whole[: len(hits)]] == [hit.key for hit in hits]
        assert [(hit.distance, hit.key) for hit in whole] == sorted((hit.distance, hit.key) for hit in whole)
        scores = [hit.score for hit in whole]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("filters", [Filters(), Filters(cameras=(1, 2))])
def test_large_gallery_is_exact_where_float32_ties(tmp_path: Path, metric: str, filters: Filters) -> None:
    """Thousands of vectors so close together that float32 distances cannot order them."""
    rng = np.random.default_rng(3)
    base = rng.normal(size=DIMENSION)
    vectors = (base + 1e-6 * rng.normal(size=(12_000, DIMENSION))).astype(np.float32)
    entries = [Entry(f"{i:05}", vector, camera=i % 4) for i, vector in enumerate(vectors)]
    with open_gallery(tmp_path, model=model(metric), writable=True) as gallery:
        gallery.add(entries)
        found = [hit.key for hit in gallery.search(vectors[7], 25, filters)]
        whole = [hit.key for hit in gallery.search(vectors[7], 0, filters)]
    assert found == whole[:25]
    assert len(whole) == (6_000 if filters.cameras else 12_000)
    if metric == "euclidean":
        distances = np.linalg.norm(vectors.astype(np.float64) - vectors[7].astype(np.float64), axis=1)
        order = [
            f"{i:05}" for i in np.argsort(distances, kind="stable") if not filters.cameras or i % 4 in (1, 2)
        ]
        assert found == order[:25]


def test_faiss_path_is_exact_on_spread_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(9_000, DIMENSION)).astype(np.float32)
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        gallery.add([Entry(f"{i:05}", vector) for i, vector in enumerate(vectors)])
        for query in rng.normal(size=(20, DIMENSION)).astype(np.float32):
            distances = np.linalg.norm(vectors.astype(np.float64) - query.astype(np.float64), axis=1)
            expected = [f"{i:05}" for i in np.argsort(distances, kind="stable")[:30]]
            assert [hit.key for hit in gallery.search(query, 30)] == expected


def test_same_entry_twice_changes_nothing_and_another_replaces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    entries = random_entries(rng, 12)
    query = np.full(DIMENSION, 0.01, np.float32)
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        gallery.add(entries)
        before = gallery.search(query, 0)
        assert gallery.add(entries) == 0
        assert gallery.search(query, 0) == before
        changed = Entry(**{**vars(entries[0]), "embedding": query})
        assert gallery.add([changed, entries[1]]) == 1
        after = gallery.search(query, 0)
        assert len(after) == 12
        assert (after[0].distance, {hit.key for hit in after}) == (0, {hit.key for hit in before})
        assert gallery.remove(["nobody", changed.key, changed.key]) == 1
        assert len(gallery) == 11
        assert changed.key not in gallery.rank(query)
        assert gallery.picture(changed.key) is None
        assert gallery.add([changed]) == 1
    with open_gallery(tmp_path) as reopened:
        assert reopened.search(query, 0) == after
        assert reopened.picture(changed.key) == b"jpeg"


def test_hit_tells_what_is_known(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        gallery.add([Entry("bare", np.ones(DIMENSION, np.float32))])
        (hit,) = gallery.search(np.ones(DIMENSION, np.float32))
        assert (hit.score, hit.distance) == (1, 0)
        assert (hit.vehicle_id, hit.camera, hit.time, hit.color, hit.type) == (None,) * 5
        assert gallery.search(np.ones(DIMENSION), 5, Filters(colors=("red",))) == []
        assert gallery.time_range() is None
        gallery.add([Entry("c", np.ones(DIMENSION, np.float32), camera=3, time=4.5)])
        gallery.set_cameras([Camera(3, "北门", 1.0, 2.0), Camera(9, "yard")])
        assert [camera.name for camera in gallery.cameras()] == ["北门", "yard"]
        assert gallery.time_range() == (4.5, 4.5)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (np.ones(DIMENSION + 1), r"car\.jpg: .*\[7\].*\[6\]"),
        (np.full(DIMENSION, np.nan), r"car\.jpg: .*not finite"),
    ],
)
def test_bad_embedding_is_refused_and_nothing_of_the_batch_stays(tmp_path: Path, embedding, message) -> None:
    good = Entry("good.jpg", np.ones(DIMENSION, np.float32))
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        with pytest.raises(UserError, match=message):
            gallery.add([good, Entry("car.jpg", embedding.astype(np.float32))])
        assert len(gallery) == 0


@pytest.mark.parametrize(
    ("k", "filters", "message"),
    [
        (-1, Filters(), "k is -1"),
        (5, Filters(colors=("pink",)), "pink.*yellow"),
        (5, Filters(types=("tank",)), "tank.*sedan"),
        (5, Filters(after=10, before=9), "ends .* before it begins"),
    ],
)
def test_senseless_search_is_refused(tmp_path: Path, k: int, filters: Filters, message: str) -> None:
    with (
        open_gallery(tmp_path, model=model(), writable=True) as gallery,
        pytest.raises(UserError, match=message),
    ):
        gallery.search(np.ones(DIMENSION, np.float32), k, filters)


def test_another_model_is_refused(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        gallery.add([Entry("a", np.ones(DIMENSION, np.float32))])
    for writable in (True, False):
        with pytest.raises(UserError, match=r"tiny\.one .*hash-of-one.* not of tiny\.two") as caught:
            open_gallery(tmp_path, model=model(name="two"), writable=writable)
        assert "\n" not in str(caught.value)
    assert len(open_gallery(tmp_path, model=model())) == 1


def test_second_writer_is_told_and_readers_are_let_in(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=model(), writable=True) as writer:
        with pytest.raises(UserError, match=r"another process \(pid \d+\) is writing"):
            open_gallery(tmp_path, model=model(), writable=True)
        with open_gallery(tmp_path) as reader:
            assert len(reader) == 0
            writer.add(random_entries(np.random.default_rng(0), 5))
            assert len(reader) == 5
            writer.remove(["001"])
            assert reader.search(np.zeros(DIMENSION), 0) == writer.search(np.zeros(DIMENSION), 0)
            with pytest.raises(UserError, match="readonly"):
                reader.remove(["002"])
    open_gallery(tmp_path, model=model(), writable=True).close()


def test_what_is_no_gallery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        open_gallery(tmp_path / "absent")
    with pytest.raises(UserError, match="no gallery there"):
        open_gallery(tmp_path)
    assert not (tmp_path / "absent").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        open_gallery(tmp_path / "file", model=model(), writable=True)
    (tmp_path / "gallery.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match="not a gallery's database"):
        open_gallery(tmp_path)
    with pytest.raises(UserError, match="below: no gallery can be written there"):
        open_gallery(tmp_path / "file" / "below", model=model(), writable=True)


def test_damaged_pages_are_named(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        gallery.add([Entry(f"{n}", np.ones(DIMENSION, np.float32), picture=bytes(3000)) for n in range(40)])
    path = tmp_path / "gallery.sqlite"
    content = bytearray(path.read_bytes())
    # The first page holds the schema: the file still opens.
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"gallery\.sqlite: is damaged .*ingest the images again"):
        open_gallery(tmp_path)


def test_a_schema_that_is_no_text_is_damage(tmp_path: Path) -> None:
    open_gallery(tmp_path, model=model(), writable=True).close()
    path = tmp_path / "gallery.sqlite"
    content = path.read_bytes()
    assert b"CREATE TABLE meta" in content
    path.write_bytes(content.replace(b"CREATE TABLE meta", b"CREATE TABLE \xcc\xccta"))
    with pytest.raises(UserError, match=r"gallery\.sqlite: is damaged"):
        open_gallery(tmp_path)


def test_space_for_nothing_but_the_name_is_an_empty_gallery(tmp_path: Path) -> None:
    """What a full disk leaves of a gallery: told as empty, and filled once there is space."""
    (tmp_path / "gallery.sqlite").touch()
    with pytest.raises(UserError, match="the gallery is empty; fill it"):
        open_gallery(tmp_path)
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        assert gallery.add([Entry("a", np.ones(DIMENSION, np.float32))]) == 1


def test_threads_add_and_search_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    batches = [[Entry(f"{i}-{j}", rng.normal(size=DIMENSION)) for j in range(20)] for i in range(8)]
    failures: list[BaseException] = []

    def guarded(work, *values) -> None:
        try:
            work(*values)
        except BaseException as error:
            failures.append(error)

    def look(gallery: Gallery) -> None:
        for _ in range(60):
            hits = gallery.search(np.zeros(DIMENSION, np.float32), 0)
            assert len({hit.key for hit in hits}) == len(hits)
            assert len(hits) % 20 == 0

    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        threads = [threading.Thread(target=guarded, args=(gallery.add, batch)) for batch in batches]
        threads += [threading.Thread(target=guarded, args=(look, gallery)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(gallery) == 160


def test_full_disk_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """SQLite's own limit on pages gives the error that a full disk gives."""
    entries = random_entries(np.random.default_rng(2), 10)
    large = Entry("large", np.ones(DIMENSION, np.float32), picture=bytes(10**6))
    with open_gallery(tmp_path, model=model(), writable=True) as gallery:
        gallery.add(entries)
        gallery._store._writer.execute("PRAGMA max_page_count = 40")
        with pytest.raises(UserError, match=r"gallery\.sqlite: database or disk is full.*Free some space"):
            gallery.add([Entry("small", np.ones(DIMENSION, np.float32)), large])
        assert len(gallery) == 10
        gallery._store._writer.execute("PRAGMA max_page_count = 4000")
        assert gallery.add([large]) == 1
    with open_gallery(tmp_path) as reopened:
        assert len(reopened) == 11
