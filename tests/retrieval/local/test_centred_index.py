"""Camera centring in large folders: snapshots of the statistics, the quantised index, and means that move."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.local.gallery import LocalGallery
from retrieval.local.index_policy import IndexPolicy
from zoo.camera_means import CameraSums
from zoo.card import Card

DIMENSION = 64
ROWS = 8_000
POLICY = IndexPolicy(index_from=5_000, snapshot_rows=3_000)


def model(metric: str) -> GalleryModel:
    return GalleryModel(Card("tiny.one", (32, 32), {"embedding": DIMENSION}, metric=metric), "hash")


def make_images(
    rows: int, shift: float = 1.0, seed: int = 0, cameras: tuple[int, ...] = (1, 2, 3)
) -> tuple[np.ndarray, np.ndarray]:
    """Eight images of each vehicle, at cameras whose offsets are as large as the vehicles differ."""
    rng = np.random.default_rng(seed)
    offsets = {camera: np.random.default_rng(camera).normal(size=DIMENSION) for camera in cameras}
    owners = rng.choice(cameras, rows)
    vehicles = rng.normal(size=(rows // 8 + 1, DIMENSION))[np.arange(rows) // 8]
    looks = vehicles + 0.3 * rng.normal(size=(rows, DIMENSION))
    return (looks + shift * np.array([offsets[c] for c in owners.tolist()])).astype(np.float32), owners


def entries_of(vectors: np.ndarray, cameras: np.ndarray, first: int = 0) -> list[Entry]:
    return [
        Entry(f"{first + row:06}", vector, camera=int(camera))
        for row, (vector, camera) in enumerate(zip(vectors, cameras, strict=True))
    ]


def recall(
    gallery: Gallery, vectors: np.ndarray, cameras: np.ndarray, metric: str, asked: np.ndarray
) -> float:
    """The share of the ten nearest that are found, by a scan of all centred vectors in numpy."""
    if metric == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = CameraSums(DIMENSION).with_pictures(vectors, cameras).means
    centred = means.centred(vectors.astype(np.float32), cameras, metric).astype(np.float64)
    rng = np.random.default_rng(7)
    shares = []
    for row in asked.tolist():
        query = vectors[row] + 0.1 * rng.normal(size=DIMENSION).astype(np.float32) * vectors[row].std()
        query = query.astype(np.float32) / (np.linalg.norm(query) if metric == "cosine" else 1)
        target = means.centred(query[None].astype(np.float32), cameras[row : row + 1], metric)[0]
        near = 1 - centred @ target if metric == "cosine" else np.linalg.norm(centred - target, axis=1)
        limit = np.sort(near)[9] + 1e-6
        found = gallery.search(query.astype(np.float32), 10, camera=int(cameras[row]))
        shares.append(np.mean([hit.distance <= limit for hit in found]))
        assert all(hit.distance == pytest.approx(near[int(hit.key)], abs=1e-5) for hit in found)
    return float(np.mean(shares))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("index", ["IVF32,RaBitQ", "HNSW32,SQ8"])
def test_the_index_finds_by_centred_distance(tmp_path: Path, metric: str, index: str) -> None:
    vectors, cameras = make_images(ROWS)
    options = {"index": index, "policy": POLICY}
    with open_gallery(
        tmp_path, model=model(metric), writable=True, camera_centring=True, **options
    ) as gallery:
        for start in range(0, ROWS, 2_000):
            gallery.add(entries_of(vectors[start : start + 2_000], cameras[start : start + 2_000], start))
    manifest = json.loads((tmp_path / "derived" / "current.json").read_text())
    assert manifest["index"]["factory"] == index
    asked = np.arange(0, ROWS, 200)
    with open_gallery(tmp_path, policy=POLICY) as gallery:
        assert isinstance(gallery, LocalGallery)
        assert gallery.synchronizer.derived.usable_index is not None
        assert recall(gallery, vectors, cameras, metric, asked) >= 0.995
    with open_gallery(tmp_path, policy=POLICY, camera_centring=False) as gallery:
        # The index is of other vectors than are compared now, and has to be left aside.
        assert isinstance(gallery, LocalGallery)
        assert gallery.synchronizer.derived.usable_index is None
        query = vectors[5] / (np.linalg.norm(vectors[5]) if metric == "cosine" else 1)
        assert gallery.search(query, 1)[0].key == "000005"


def test_images_of_a_camera_whose_mean_has_moved_are_found(tmp_path: Path) -> None:
    """A new camera, far away from the others: the index was built before anybody had seen it."""
    vectors, cameras = make_images(ROWS)
    with open_gallery(
        tmp_path,
        model=model("euclidean"),
        writable=True,
        camera_centring=True,
        index="IVF32,RaBitQ",
        policy=POLICY,
    ) as gallery:
        assert isinstance(gallery, LocalGallery)
        gallery.add(entries_of(vectors, cameras))
        builder = gallery.synchronizer._builder
        if builder is not None:
            builder.join()
        built = gallery.synchronizer.derived.index
        assert built is not None
        late, owners = make_images(800, shift=3.0, seed=5, cameras=(77,))
        gallery.add(entries_of(late, owners, ROWS))
        derived = gallery.synchronizer.derived
        assert derived.index is built
        assert set(range(ROWS, ROWS + 800)) <= set(derived.drifted.tolist())
        everything, all_cameras = np.vstack([vectors, late]), np.append(cameras, owners)
        asked = np.append(np.arange(0, ROWS, 400), np.arange(ROWS, ROWS + 800, 40))
        assert recall(gallery, everything, all_cameras, "euclidean", asked) >= 0.99
        # Too many of them, and the index is made anew.
        more, owners = make_images(1_000, shift=3.0, seed=6, cameras=(77,))
        gallery.add(entries_of(more, owners, ROWS + 800))
        builder = gallery.synchronizer._builder
        if builder is not None:
            builder.join()
        assert gallery.synchronizer.derived.index is not built
        assert not gallery.synchronizer.derived.drifted.size
        everything, all_cameras = np.vstack([everything, more]), np.append(all_cameras, owners)
        assert recall(gallery, everything, all_cameras, "euclidean", asked) >= 0.99


def test_statistics_come_back_from_a_snapshot_or_without_it(tmp_path: Path) -> None:
    vectors, cameras = make_images(6_000)
    policy = IndexPolicy(index="exact", snapshot_rows=1_000)
    with open_gallery(
        tmp_path, model=model("cosine"), writable=True, camera_centring=True, policy=policy
    ) as gallery:
        gallery.add(entries_of(vectors, cameras))
        gallery.remove([f"{row:06}" for row in range(0, 500, 2)])
        expected = [(hit.key, hit.distance) for hit in gallery.search(vectors[3], 20, camera=2)]
    folder = tmp_path / "derived"

    def answers() -> list[tuple[str, float]]:
        with open_gallery(tmp_path, policy=policy) as gallery:
            return [(hit.key, hit.distance) for hit in gallery.search(vectors[3], 20, camera=2)]

    def same(found: list[tuple[str, float]]) -> bool:
        return [k for k, _ in found] == [k for k, _ in expected] and [d for _, d in found] == pytest.approx(
            [d for _, d in expected], abs=1e-6
        )

    table = next(folder.glob("table-*.npz"))
    with np.load(table) as arrays:
        assert "sums_totals" in arrays
    assert same(answers())
    # One byte of the statistics is another one: the file's checksum tells.
    content = bytearray(table.read_bytes())
    totals = content.index(b"sums_totals.npy")
    content[totals + 300] ^= 0xFF
    table.write_bytes(content)
    assert same(answers())
    shutil.rmtree(folder)
    assert same(answers())


def test_a_snapshot_without_statistics_is_still_good(tmp_path: Path) -> None:
    vectors, cameras = make_images(6_000)
    policy = IndexPolicy(index="exact", snapshot_rows=1_000)
    with open_gallery(tmp_path, model=model("euclidean"), writable=True, policy=policy) as gallery:
        gallery.add(entries_of(vectors, cameras))
    with open_gallery(tmp_path, camera_centring=True, policy=policy) as gallery:
        assert isinstance(gallery, LocalGallery)
        assert gallery.synchronizer.derived.vectors.saved == 6_000
        assert recall(gallery, vectors, cameras, "euclidean", np.arange(0, 6_000, 500)) == 1
