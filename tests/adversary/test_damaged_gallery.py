"""Random damage to every file of a gallery: an answer is the truth, or a refusal in one line, never else."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Camera, Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.local.index_policy import IndexPolicy
from tests.adversary.conftest import Trials
from tests.adversary.damage import damage
from zoo.card import Card
from zoo.errors import UserError

DIMENSION, ROWS = 32, 600
MODEL = GalleryModel(Card("tiny.one", (32, 32), {"embedding": DIMENSION, "color_probs": 10}), "hash")
POLICY = IndexPolicy("IVF4,SQ8", index_from=400, snapshot_rows=200)
CHANCE = np.random.default_rng(5)
VECTORS = CHANCE.normal(size=(ROWS, DIMENSION)).astype(np.float32)
COLORS = CHANCE.dirichlet(np.ones(10), size=ROWS).astype(np.float32)


@pytest.fixture(scope="module", params=["indexed", "small", "centred"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery with index and snapshot, one of the database alone, and one that centres by camera."""
    folder = tmp_path_factory.mktemp("whole") / request.param
    rows = 150 if request.param == "small" else ROWS
    entries = [
        Entry(
            f"{row:04}",
            VECTORS[row],
            COLORS[row],
            picture=bytes([row % 256]) * 500,
            source=f"street/{row}.jpg",
            camera=row % 5,
            time=float(row),
        )
        for row in range(rows)
    ]
    centring = request.param == "centred"
    with open_gallery(folder, model=MODEL, writable=True, policy=POLICY, camera_centring=centring) as gallery:
        gallery.set_cameras([Camera(number, f"gate {number}", 48.0 + number, 11.0) for number in range(5)])
        for start in range(0, rows, 150):
            gallery.add(entries[start : start + 150])
        gallery.remove(["0003", "0149"])
    return folder


def ask(gallery: Gallery) -> Iterator[Callable[[], Any]]:
    """What people ask a gallery for."""
    yield lambda: (len(gallery), gallery.cameras(), gallery.time_range(), gallery.camera_centring)
    for query in (VECTORS[1] + 0.1, VECTORS[100] - 0.1):
        yield lambda query=query: gallery.search(query, 5)
        yield lambda query=query: gallery.search(query, 3, Filters(cameras=(1, 2)))
        yield lambda query=query: gallery.search(query, 60, Filters(colors=("red", "blue")))
        yield lambda query=query: gallery.rank(query)
    yield lambda: gallery.browse(limit=20)
    yield lambda: gallery.pictures(["0001", "0140", "none"])
    yield lambda: gallery.embeddings(["0001", "0140"]).tolist()
    yield lambda: gallery.get("0007") is not None and gallery.get("none") is None
    yield lambda: [
        [np.asarray(value).tolist() for value in astuple(entry)]
        for part in gallery.entries()
        for entry in part
    ]


def answers(gallery: Gallery) -> list[Any]:
    """The answers, or None for what was refused."""
    given: list[Any] = []
    for question in ask(gallery):
        try:
            given.append(question())
        except UserError as error:
            assert "\n" not in str(error)
            given.append(None)
    return given


def test_a_page_of_another_table_is_no_picture(whole: Path, tmp_path: Path) -> None:
    """Its rows are shorter, and so seem to be from before there were checksums."""
    folder = shutil.copytree(whole, tmp_path / "copy")
    with closing(sqlite3.connect(folder / "gallery.sqlite")) as database:
        database.execute("UPDATE pictures SET jpeg = '0007', checksum = NULL WHERE id = 5")
        database.commit()
    with open_gallery(folder, policy=POLICY) as gallery:
        for asked in (lambda: gallery.pictures(["0004"]), lambda: list(gallery.entries())):
            with pytest.raises(UserError, match="is not as it was written"):
                asked()


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE removals SET id = 'gate 1' WHERE sequence = 1",
        "UPDATE sqlite_sequence SET seq = 'gate 1' WHERE name = 'removals'",
    ],
)
def test_a_page_of_another_table_is_no_removal(whole: Path, tmp_path: Path, command: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "copy")
    for path in folder.iterdir():
        # As if no snapshot knew of its removals.
        if path.is_dir():
            shutil.rmtree(path)
    with closing(sqlite3.connect(folder / "gallery.sqlite")) as database:
        assert database.execute(command).rowcount == 1
        database.commit()
    with (
        pytest.raises(UserError, match=r"is damaged .*not as it was written"),
        open_gallery(folder, policy=POLICY),
    ):
        pass


def test_a_refusal_is_one_line_whatever_the_file_holds(whole: Path, tmp_path: Path) -> None:
    """SQLite's own words on text that is no UTF-8 have that text in them."""
    folder = shutil.copytree(whole, tmp_path / "copy")
    with closing(sqlite3.connect(folder / "gallery.sqlite")) as database:
        database.execute("UPDATE meta SET value = CAST(x'7b0a0aff7d' AS TEXT)")
        database.commit()
    with pytest.raises(UserError, match="is damaged") as raised, open_gallery(folder, policy=POLICY):
        pass
    assert "\n" not in str(raised.value)


def test_an_answer_is_the_truth_or_a_refusal(whole: Path, tmp_path: Path, trials: Trials) -> None:
    with open_gallery(whole, policy=POLICY) as gallery:
        truth = answers(gallery)
    assert None not in truth
    for chance in trials(10):
        folder = tmp_path / "copy"
        shutil.copytree(whole, folder)
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "writer.lock")
        path = chance.choice(paths)
        done = damage(path, chance)
        print(done)
        try:
            with open_gallery(folder, policy=POLICY, writable=chance.random() < 0.5) as gallery:
                given = answers(gallery)
        except UserError as error:
            assert "\n" not in str(error)
            given = [None] * len(truth)
        assert all(answer is None or answer == right for answer, right in zip(given, truth, strict=True)), (
            done
        )
        # What is derived is made anew of a database that is whole.
        assert path.name == "gallery.sqlite" or None not in given, done
        shutil.rmtree(folder)
