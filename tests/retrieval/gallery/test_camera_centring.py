"""Camera centring in a folder and in Milvus: against a plain loop over whatever the gallery holds."""

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery, QueryCameraError
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.gallery.filters import Filters
from tests.zoo.test_camera_means import naive_means
from zoo.camera_means import NO_CAMERA, CameraSums
from zoo.card import Card

DIMENSION = 6
METRICS = ("euclidean", "cosine")


def model(metric: str) -> GalleryModel:
    return GalleryModel(Card("tiny.one", (32, 32), {"embedding": DIMENSION}, metric=metric), "hash")


def make_entries(count: int, seed: int = 0, first: int = 0) -> list[Entry]:
    """Images of four cameras, each with an offset of its own, and some of no known camera."""
    rng = np.random.default_rng(seed)
    offsets = 2 * np.random.default_rng(99).standard_normal((4, DIMENSION))
    entries = []
    for number in range(first, first + count):
        camera = None if number % 9 == 0 else number % 7 % 4
        looks = rng.standard_normal(DIMENSION) + 3
        vector = looks if camera is None else looks + offsets[camera]
        # Camera 3 has few pictures, and a number as no one would choose it.
        camera = -12 if camera == 3 else camera
        entries.append(Entry(f"{number:04}", vector.astype(np.float32), camera=camera))
    return entries


def naive(
    entries: Sequence[Entry], query: np.ndarray, camera: int | None, metric: str
) -> list[tuple[float, str]]:
    """Distances and keys in order, number by number."""

    def unit(values: list[float]) -> list[float]:
        length = math.hypot(*values) if metric == "cosine" else 1.0
        return [value / (length or 1) for value in values]

    vectors = np.array([unit(entry.embedding.tolist()) for entry in entries])
    cameras = np.array([NO_CAMERA if e.camera is None else e.camera for e in entries])
    means, _ = naive_means(vectors, cameras)

    def centred(values: list[float], owner: int | None) -> list[float]:
        taken = means.get(NO_CAMERA if owner is None else owner, means[NO_CAMERA])
        return unit([value - away for value, away in zip(unit(values), taken, strict=True)])

    asked = centred(query.tolist(), camera)
    found = []
    for entry in entries:
        vector = centred(entry.embedding.tolist(), entry.camera)
        if metric == "cosine":
            distance = 1 - sum(a * b for a, b in zip(asked, vector, strict=True))
        else:
            distance = math.dist(asked, vector)
        found.append((distance, entry.key))
    return sorted(found)


def check(gallery: Gallery, entries: Sequence[Entry], metric: str, seed: int = 0) -> None:
    """The gallery answers as the loop does, for queries of each camera, of a new one and of none."""
    rng = np.random.default_rng(seed)
    assert len(gallery) == len(entries)
    for camera in (None, 0, 2, -12, 555):
        query = (rng.standard_normal(DIMENSION) + 3).astype(np.float32)
        expected = naive(entries, query, camera, metric)
        for k in (0, 5):
            found = gallery.search(query, k, camera=camera)
            wanted = expected[: k or None]
            assert [hit.distance for hit in found] == pytest.approx([d for d, _ in wanted], abs=2e-5)
            assert [hit.key for hit in found] == [key for _, key in wanted]
            assert gallery.rank(query, k, camera=camera) == [hit.key for hit in found]
        chosen = {entry.key for entry in entries if entry.camera == 2}
        found = gallery.search(query, 3, Filters(cameras=(2,)), camera=camera)
        assert [hit.key for hit in found] == [key for _, key in expected if key in chosen][:3]


@pytest.fixture(params=["folder", "milvus"])
def name(request, tmp_path: Path) -> str:
    return str(tmp_path / "gallery") if request.param == "folder" else f"milvus:{tmp_path / 'lite.db'}"


@pytest.mark.parametrize("metric", METRICS)
def test_answers_are_those_of_a_plain_loop_while_the_gallery_changes(name: str, metric: str) -> None:
    entries = {entry.key: entry for entry in make_entries(90)}
    with open_gallery(name, model=model(metric), writable=True, camera_centring=True) as gallery:
        gallery.add(list(entries.values())[:50])
        check(gallery, list(entries.values())[:50], metric)
        gallery.add(list(entries.values())[50:])
        check(gallery, list(entries.values()), metric)
        gone = [*[key for key, entry in entries.items() if entry.camera == 0][:12], "0009"]
        assert gallery.remove(gone) == len(gone)
        entries = {key: entry for key, entry in entries.items() if key not in gone}
        # Other pictures under the same keys, and one that moves to another camera.
        for entry in (*make_entries(8, seed=5, first=20), Entry("0030", entries["0031"].embedding, camera=2)):
            entries[entry.key] = entry
            gallery.add([entry])
        check(gallery, list(entries.values()), metric)
    with open_gallery(name) as gallery:
        assert gallery.camera_centring
        check(gallery, list(entries.values()), metric)


def test_off_unless_asked_for(name: str) -> None:
    entries = make_entries(40)
    query = entries[3].embedding
    with open_gallery(name, model=model("euclidean"), writable=True) as gallery:
        gallery.add(entries)
        assert not gallery.camera_centring
        found = gallery.search(query, 40)
        for hit in found:
            vector = next(entry.embedding for entry in entries if entry.key == hit.key)
            assert hit.distance == pytest.approx(math.dist(query.tolist(), vector.tolist()), abs=1e-12)
        with pytest.raises(QueryCameraError, match="--camera-centring on"):
            gallery.search(query, 5, camera=2)
        assert gallery.centred(query[None], [2])[0] is not None
        assert np.array_equal(gallery.centred_embeddings(["0003"])[0], query)


def test_turned_on_and_off_again(name: str) -> None:
    entries = make_entries(60)
    query = entries[3].embedding
    with open_gallery(name, model=model("cosine"), writable=True) as gallery:
        gallery.add(entries)
        plain = [(hit.key, hit.distance) for hit in gallery.search(query, 0)]
    with open_gallery(name, camera_centring=True) as gallery:
        # For this reader alone: nothing is remembered.
        check(gallery, entries, "cosine")
    with open_gallery(name, writable=True) as gallery:
        assert not gallery.camera_centring
    with open_gallery(name, writable=True, camera_centring=True) as gallery:
        check(gallery, entries, "cosine")
    with open_gallery(name, writable=True) as gallery:
        check(gallery, entries, "cosine")
    with open_gallery(name, camera_centring=False) as gallery:
        assert [(hit.key, hit.distance) for hit in gallery.search(query, 0)] == plain
    with open_gallery(name, writable=True, camera_centring=False) as gallery:
        assert [(hit.key, hit.distance) for hit in gallery.search(query, 0)] == plain


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_images(name: str, count: int) -> None:
    with open_gallery(name, model=model("cosine"), writable=True, camera_centring=True) as gallery:
        gallery.add(make_entries(count, first=1))
        found = gallery.search(np.ones(DIMENSION, np.float32), 5, camera=1)
        assert len(found) == count
        assert all(np.isfinite(hit.distance) for hit in found)


@pytest.mark.parametrize("metric", METRICS)
def test_means_are_of_the_state_that_is_searched(tmp_path: Path, metric: str) -> None:
    """Others add, replace and remove without pause; each answer fits the images of its own state."""
    with open_gallery(
        tmp_path / "gallery", model=model(metric), writable=True, camera_centring=True
    ) as gallery:
        gallery.add(make_entries(100))
        done = threading.Event()
        faults: list[BaseException] = []

        def change(seed: int) -> None:
            try:
                for turn in range(25):
                    gallery.add(make_entries(5, seed=1000 * seed + turn, first=100 * seed + 3 * turn))
                    gallery.remove([f"{100 * seed + 3 * turn:04}", f"{turn:04}"])
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=change, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        query = np.full(DIMENSION, 2, np.float32)
        states = set()
        while not done.is_set():
            if not any(thread.is_alive() for thread in threads):
                done.set()
            with gallery.read_transaction():
                found = gallery.search(query, 0, camera=1)
                vectors = gallery.embeddings([hit.key for hit in found])
                means = gallery.camera_means()
            states.add(len(found))
            cameras = np.array([NO_CAMERA if hit.camera is None else hit.camera for hit in found])
            fresh = CameraSums(DIMENSION).with_pictures(vectors, cameras).means
            assert means.cameras.tolist() == fresh.cameras.tolist()
            assert means.counts.tolist() == fresh.counts.tolist()
            assert means.means == pytest.approx(fresh.means, abs=1e-5)
            asked = gallery._vector(query, "the query")
            target = fresh.centred(asked[None], np.array([1]), metric)[0].astype(np.float64)
            centred = fresh.centred(vectors, cameras, metric).astype(np.float64)
            if metric == "cosine":
                expected = 1 - centred @ target
            else:
                expected = np.linalg.norm(centred - target, axis=1)
            assert [hit.distance for hit in found] == pytest.approx(expected, abs=2e-5)
        assert not faults
        assert len(states) > 3


def test_another_process_sees_what_a_writer_adds(name: str) -> None:
    """A second opening stands for another process; Milvus Lite's file takes it as well."""
    entries = make_entries(80)
    with open_gallery(name, model=model("euclidean"), writable=True, camera_centring=True) as writer:
        writer.add(entries[:30])
        with open_gallery(name) as reader:
            check(reader, entries[:30], "euclidean")
            writer.add(entries[30:])
            check(reader, entries, "euclidean")
            # As many images as before: only the mark of the change tells.
            writer.add([Entry(entries[5].key, entries[6].embedding + 1, camera=0)])
            entries[5] = Entry(entries[5].key, entries[6].embedding + 1, camera=0)
            check(reader, entries, "euclidean")
