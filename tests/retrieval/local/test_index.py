"""Large galleries: the quantised index, filters inside it, snapshots, and files of older versions."""

import fcntl
import json
import shutil
import sqlite3
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Camera, Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.local.index_policy import IndexPolicy, check_index
from retrieval.local.schema import seal
from retrieval.local.store import Store
from zoo.card import Card
from zoo.errors import UserError

DIMENSION = 128
ROWS = 12_000
OUTPUTS = {"embedding": DIMENSION, "color_probs": 10, "type_probs": 9}
CARD = Card("tiny.one", (32, 32), OUTPUTS)
SMALL = IndexPolicy(index_from=5_000, snapshot_rows=3_000)


def vectors_of(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Eight images of each vehicle, so that the ten nearest reach over to other vehicles."""
    vehicles = rng.normal(size=(rows // 8 + 1, DIMENSION))
    return (vehicles[np.arange(rows) // 8] + 0.3 * rng.normal(size=(rows, DIMENSION))).astype(np.float32)


def entries_of(vectors: np.ndarray) -> list[Entry]:
    """Colour 0 for every row, 1 for each tenth; camera n for one row in n."""
    probabilities = np.eye(10, dtype=np.float32) * 0.8 + 0.02
    return [
        Entry(
            f"{row:06}",
            vector,
            color_probs=probabilities[int(row % 10 == 0)],
            vehicle_id=row // 8,
            camera=next(c for c in (3000, 300, 30, 3, 1) if row % c == 0),
            time=float(row),
        )
        for row, vector in enumerate(vectors)
    ]


@pytest.mark.parametrize("factory", ["IVF64,RaBitQ", "IVF64,SQ8", "RR128,IVF64,SQ8"])
def test_embeddings_close_together_far_from_zero(tmp_path: Path, factory: str) -> None:
    """In lists that FAISS fills by products of float32 a search of few of them finds a third."""
    rng = np.random.default_rng(5)
    vectors = 5 + 1e-3 * vectors_of(rng, 6_000).astype(np.float64)
    stored = vectors.astype(np.float32)
    model = GalleryModel(CARD, "hash")
    with open_gallery(tmp_path, model=model, writable=True, index=factory, policy=SMALL) as gallery:
        gallery.add([Entry(f"{row:06}", vector) for row, vector in enumerate(stored)])
    with open_gallery(tmp_path, model=model) as gallery:
        found = 0
        for row in rng.choice(len(vectors), 40, replace=False):
            query = (vectors[row] + 2e-4 * rng.normal(size=DIMENSION)).astype(np.float32)
            distances = np.sqrt(np.square(stored.astype(np.float64) - query).sum(axis=1))
            results = gallery.search(query, k=10)
            found += len({int(result.key) for result in results} & set(np.argsort(distances)[:10].tolist()))
            for result in results:
                assert result.distance == pytest.approx(distances[int(result.key)], rel=1e-12)
    assert found >= 0.98 * 400


@pytest.fixture(scope="module", params=["IVF32,RaBitQ", "IVF32,SQ8", "HNSW32,SQ8"])
def indexed(request, tmp_path_factory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("indexed")
    vectors = vectors_of(np.random.default_rng(0), ROWS)
    model = GalleryModel(CARD, "hash")
    with open_gallery(folder, model=model, writable=True, index=request.param, policy=SMALL) as gallery:
        for start in range(0, ROWS, 2_000):
            gallery.add(entries_of(vectors)[start : start + 2_000])
    manifest = json.loads((folder / "derived" / "current.json").read_text())
    assert manifest["index"]["factory"] == request.param
    assert manifest["index"]["effort"]["recall"] >= 0.998
    return folder, vectors


@pytest.mark.parametrize(
    ("filters", "share"),
    [
        (Filters(), 1),
        (Filters(before=ROWS * 0.7), 0.7),
        (Filters(after=ROWS * 0.5), 0.5),
        (Filters(cameras=(3, 30, 300, 3000)), 1 / 3),
        (Filters(colors=("orange",)), 0.1),
        (Filters(cameras=(300, 3000)), 1 / 300),
        (Filters(vehicles=(7,), color_confidence=0.5), 8 / ROWS),
        (Filters(color_confidence=0.9), 0),
    ],
)
def test_recall_with_filters(indexed, filters: Filters, share: float) -> None:
    """Ties count: a result is right when it is as near as the last of a plain search in float64."""
    folder, vectors = indexed
    queries = vectors[:: ROWS // 20] + np.float32(0.1)
    chosen = [
        row
        for row, entry in enumerate(entries_of(vectors))
        if (not filters.cameras or entry.camera in filters.cameras)
        and (not filters.colors or row % 10 == 0)
        and (not filters.vehicles or entry.vehicle_id in filters.vehicles)
        and (filters.after is None or row >= filters.after)
        and (filters.before is None or row <= filters.before)
        and filters.color_confidence < 0.9
    ]
    assert len(chosen) == pytest.approx(share * ROWS, abs=1)
    right = wanted = 0
    with open_gallery(folder, policy=SMALL) as gallery:
        assert gallery.synchronizer.derived.index is not None
        for query, k in zip(queries, cycle((10, 60)), strict=False):
            found = gallery.search(query, k, filters)
            assert len(found) == min(k, len(chosen))
            distances = np.linalg.norm(vectors.astype(np.float64) - query.astype(np.float64), axis=1)
            near = np.sort(distances[chosen])[: len(found)]
            right += sum(hit.distance <= near[-1] + 1e-9 for hit in found)
            wanted += len(found)
    assert right >= 0.99 * wanted


@pytest.mark.parametrize("index", ["exact", "IVF16,RaBitQ"])
def test_vectors_do_not_wait_in_memory_for_a_snapshot(tmp_path: Path, monkeypatch, index: str) -> None:
    """They are in the file long before; one that ends without a snapshot leaves what the next writes over."""
    monkeypatch.setattr("retrieval.local.synchronizer._MOST_IN_MEMORY", 500 * 4 * DIMENSION)
    policy, model = IndexPolicy(index, index_from=1_000, snapshot_rows=6_000), GalleryModel(CARD, "hash")
    vectors = vectors_of(np.random.default_rng(3), 9_000)
    entries = entries_of(vectors)
    folder, copy, manifest = tmp_path / "g", tmp_path / "killed", tmp_path / "g" / "derived" / "current.json"
    with open_gallery(folder, model=model, writable=True, policy=policy) as gallery:
        for start in range(0, 8_800, 400):
            gallery.add(entries[start : start + 400])
            if gallery.synchronizer._snapshot_rows:
                assert len(gallery.synchronizer.derived.vectors.tail) < 500
        gallery.remove([entry.key for entry in entries[8_500:8_600]])
        rows = json.loads(manifest.read_text())["rows"]
        written = next((folder / "derived").glob("vectors-*")).stat().st_size // (4 * DIMENSION)
        if index == "exact":
            # Else another one may have been written as the index was ready.
            assert (rows, written) == (6_000, 8_400)
        shutil.copytree(folder, copy)
    with open_gallery(copy, model=model, writable=True, policy=policy) as gallery:
        assert len(gallery.synchronizer.derived.vectors.tail) < 500
        gallery.add(entries[8_800:])
    for place, there in ((folder, 8_700), (copy, 8_900)):
        with open_gallery(place, policy=policy) as gallery:
            assert len(gallery) == there
            for row in (3, 5_999, 6_005, 8_399, 8_499, 8_600, 8_799):
                (hit,) = gallery.search(vectors[row], 1)
                assert (hit.key, hit.distance) == (f"{row:06}", 0.0)


@pytest.mark.parametrize(
    "damage", ["cut manifest", "cut vectors", "cut table", "other gallery", "older database"]
)
def test_snapshot_that_does_not_fit_is_not_used(indexed, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(indexed[0], folder)
    derived = folder / "derived"
    if damage == "older database":
        database = sqlite3.connect(folder / "gallery.sqlite")
        with database:
            database.execute("DELETE FROM images WHERE id > 9000")
            database.execute("UPDATE sqlite_sequence SET seq = 9000 WHERE name = 'images'")
        database.close()
    elif damage == "other gallery":
        database = sqlite3.connect(folder / "gallery.sqlite")
        with database:
            database.execute("UPDATE meta SET value = 'another' WHERE name = 'gallery_id'")
            seal(database, "meta")
            database.execute("DELETE FROM images WHERE id > 9000")
        database.close()
    else:
        names = {"cut manifest": "current.json", "cut vectors": "vectors-*", "cut table": "table-*"}
        (path,) = derived.glob(names[damage])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_gallery(folder) as gallery:
        assert len(gallery) == (9000 if "cut" not in damage else ROWS)
        assert gallery.search(indexed[1][5], 1)[0].key == "000005"


def test_index_that_cannot_be_made_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an index that FAISS makes"):
        check_index("IVF,what")
    vectors = vectors_of(np.random.default_rng(0), 400)
    policy = IndexPolicy(index_from=300)
    gallery = open_gallery(
        tmp_path, model=GalleryModel(CARD, "hash"), writable=True, index="IVF4096,SQ8", policy=policy
    )
    gallery.add(entries_of(vectors))
    with pytest.raises(UserError, match=r"IVF4096,SQ8.*cannot be made of 400"):
        gallery.close()
    with open_gallery(tmp_path) as reopened:
        assert len(reopened) == 400


def test_place(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=GalleryModel(CARD, "hash"), writable=True) as gallery:
        vector = np.ones(DIMENSION, np.float32)
        gallery.set_cameras([Camera(1, "gate", 48.0, 11.0), Camera(2, "yard")])
        gallery.add(
            [
                Entry("at the gate", vector, camera=1),
                Entry("moved away", vector, camera=1, latitude=48.1, longitude=11.0),
                Entry("nowhere", vector, camera=2),
            ]
        )
        # A degree of latitude is 111.2 km.
        for radius, keys in (
            (100, ["at the gate"]),
            (11_000, ["at the gate"]),
            (11_200, ["at the gate", "moved away"]),
        ):
            hits = gallery.search(vector, 0, Filters(near=Near(48.0, 11.0, radius)))
            assert [hit.key for hit in hits] == keys
        with pytest.raises(UserError, match="metres above 0"):
            gallery.search(vector, 0, Filters(near=Near(48.0, 11.0, 0)))


def test_file_of_version_1_is_upgraded_once(tmp_path: Path) -> None:
    with open_gallery(tmp_path, model=GalleryModel(CARD, "hash"), writable=True) as gallery:
        gallery.add(entries_of(vectors_of(np.random.default_rng(0), 20)))
        expected = gallery.search(np.zeros(DIMENSION, np.float32), 0)
    database = sqlite3.connect(tmp_path / "gallery.sqlite")
    with database:
        for column in ("color_confidence", "type_confidence", "track_id", "latitude", "longitude"):
            database.execute(f"ALTER TABLE images DROP COLUMN {column}")
        for trigger in ("images_in", "images_out"):
            database.execute(f"DROP TRIGGER {trigger}")
        for table in ("images", "pictures"):
            database.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        database.execute("DROP TABLE sums")
        for side in ("left", "top", "right", "bottom"):
            database.execute(f"ALTER TABLE images DROP COLUMN box_{side}")
        database.execute("DELETE FROM meta WHERE name = 'gallery_id'")
        database.execute("PRAGMA user_version = 1")
    database.close()
    with open(tmp_path / "writer.lock", "a+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"of an older version.*another process"):
            open_gallery(tmp_path)
    with open_gallery(tmp_path) as upgraded:
        assert upgraded.search(np.zeros(DIMENSION, np.float32), 0) == expected
    store = Store(tmp_path, writable=True)
    store._writer.execute("PRAGMA user_version = 4")
    store.close()
    with pytest.raises(UserError, match=r"version 4.*update the program"):
        open_gallery(tmp_path)


def test_whole_entries_come_back(tmp_path: Path) -> None:
    entry = Entry(
        "a",
        np.arange(DIMENSION, dtype=np.float32),
        np.eye(10, dtype=np.float32)[2],
        np.zeros(0, np.float32),
        b"jpeg",
        "scene.jpg",
        "digest",
        vehicle_id=5,
        track_id=6,
        camera=7,
        time=8.5,
        latitude=1.0,
        longitude=2.0,
        box=(1.0, 2.0, 3.0, 4.0),
    )
    with open_gallery(tmp_path, model=GalleryModel(CARD, "hash"), writable=True) as gallery:
        gallery.add([entry])
        for found in (gallery.get("a"), next(gallery.entries())[0]):
            for name, value in vars(entry).items():
                assert np.array_equal(getattr(found, name), value), name
        assert gallery.get("b") is None
        assert [result.key for result in gallery.browse()] == ["a"]
        with pytest.raises(UserError, match="no image of this key"):
            gallery.embeddings(["a", "b"])
