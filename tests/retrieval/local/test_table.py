"""The gallery's columns in memory: what nobody has filled takes none, and is there when somebody does."""

import json
from pathlib import Path

import numpy as np

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.local import checksums, snapshot
from retrieval.local.index_policy import IndexPolicy
from retrieval.local.table import COLUMNS, NO_ID, Row, Table
from zoo.card import Card


def row(id: int, **values: float) -> Row:
    """A row with these values and no others."""
    return Row(
        id, f"{id}.jpg", np.zeros(2, np.float32), tuple(values.get(name) for name in list(COLUMNS)[2:])
    )


def test_a_column_is_there_from_its_first_value_on() -> None:
    first = Table().with_rows([row(1, camera=3), row(2)])
    assert set(first.filled) == {"ids", "alive", "camera"}
    assert first["track"].tolist() == [NO_ID, NO_ID]
    assert np.isnan(first["latitude"]).all()
    second = first.with_rows([row(3, latitude=50.5)])
    assert set(second.filled) == {"ids", "alive", "camera", "latitude"}
    assert np.array_equal(second["latitude"], [np.nan, np.nan, 50.5], equal_nan=True)
    # What somebody still searches in stays what it was.
    assert len(first["latitude"]) == 2
    assert np.isnan(first["latitude"]).all()


def test_a_snapshot_without_places_finds_the_first_one(tmp_path: Path) -> None:
    """Also one of the format that wrote every column out."""
    model = GalleryModel(Card("tiny.one", (32, 32), {"embedding": 4}), "hash")
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    policy, here = IndexPolicy(snapshot_rows=10), Filters(near=Near(50, 8, 1000))
    with open_gallery(tmp_path, model=model, writable=True, policy=policy) as gallery:
        gallery.add([Entry(f"{n:02}", vectors[n], camera=n) for n in range(20)])
        expected = gallery.search(vectors[0], 30)
        assert gallery.search(vectors[0], 30, here) == []
    manifest = tmp_path / snapshot.FOLDER / snapshot.MANIFEST
    content = json.loads(manifest.read_text())
    table = manifest.parent / content["table"]
    with np.load(table) as arrays:
        stored = dict(arrays)
    assert "latitude" not in stored
    whole = {name: np.full(20, missing, kind) for name, (kind, missing) in COLUMNS.items()}
    np.savez(table, **(whole | stored))
    content |= {"format": 3, "table_checksum": checksums.of_file(table)}
    content["checksum"] = snapshot._checksum(content)
    manifest.write_text(json.dumps(content))
    with open_gallery(tmp_path, writable=True, policy=policy) as gallery:
        assert table.exists(), "made anew"
        assert gallery.search(vectors[0], 30) == expected
        gallery.add([Entry("placed", vectors[30], latitude=50.0, longitude=8.0)])
        assert [hit.key for hit in gallery.search(vectors[0], 30, here)] == ["placed"]
    found = snapshot.read(tmp_path, content["gallery_id"], 4)
    assert found is not None
    assert set(found[0].table.filled) <= {"ids", "alive", "camera", "checksum", "latitude", "longitude"}
