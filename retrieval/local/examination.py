"""Looks at everything that a gallery's folder holds, and mends what can be mended."""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.local import snapshot
from retrieval.local.checksums import DamagedError
from retrieval.local.reader import CHUNK, Reader, State
from retrieval.local.snapshot import Derived
from retrieval.local.store import Store
from retrieval.local.table import COLUMNS, Table
from zoo.card import Card


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        images: how many there are.
        damaged: keys of those that are not as they were written, or whose pictures show nothing.
        database: what else is wrong with the database.
        derived: whether the derived files are `whole`, `damaged`, or `none` were written yet.
    """

    images: int
    damaged: tuple[str, ...]
    database: tuple[str, ...]
    derived: str

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damaged and not self.database and self.derived != "damaged"


def examine(folder: Path, decode: bool = True) -> Findings:
    """Read all of a gallery and compare it with its checksums, and the derived files with the database.

    Args:
        folder: of the gallery.
        decode: whether pictures are decoded too, which takes most of the time.

    Raises:
        UserError: no gallery there, or a database that cannot be read.
    """
    with closing(Store(folder, writable=False)) as store, store.reading() as reader:
        count, damaged = 0, []
        for _, key, is_whole in reader.examined(decode):
            count += 1
            if not is_whole:
                damaged.append(key)
        faults = reader.faults()
        reader.cameras()
        if not damaged and not faults and reader.content() != reader.counted():
            faults.append("its images are not those that were written")
        derived = "none" if not (folder / snapshot.FOLDER / snapshot.MANIFEST).exists() else "whole"
        if derived == "whole" and not damaged and not faults and not _is_derived(folder, reader):
            derived = "damaged"
    return Findings(count, tuple(damaged), tuple(faults), derived)


def repair(folder: Path) -> list[str]:
    """Take damaged images out, and the derived files, which the next writer makes anew.

    Returns:
        the keys of the images, which have to be ingested again.

    Raises:
        UserError: another process writes, or the database is too damaged.
    """
    with closing(Store(folder, writable=True)) as store:
        keys = store.repair()
        shutil.rmtree(folder / snapshot.FOLDER, ignore_errors=True)
    return keys


def _is_derived(folder: Path, reader: Reader) -> bool:
    """Whether the snapshot can be read, and is what a new one of its state of the database would be."""
    meta = reader.meta()
    card = Card.from_json(meta["card"], f"the card in {folder}")
    found = snapshot.read(folder, meta["gallery_id"], card.outputs["embedding"])
    if found is None:
        return False
    try:
        return _is_as_stored(found[0], reader, card)
    except DamagedError:
        return False


def _is_as_stored(derived: Derived, reader: Reader, card: Card) -> bool:
    """Compare every row that is still there, by ascending id, with the database's."""
    changes = reader.changes(State(0, derived.state.last_removal), card)
    table = derived.table.without(changes.removed)
    places = np.flatnonzero(table["alive"])
    seen = 0
    while True:
        rows = [row for row in changes.rows if row.id <= derived.state.last_id]
        there = places[seen : seen + len(rows)]
        if len(there) < len(rows):
            return False
        if rows:
            stored = Table().with_rows(rows)
            vectors = np.stack([row.embedding for row in rows])
            is_same = (
                [row.key for row in rows] == [table.key(place) for place in there.tolist()]
                and all(np.array_equal(stored[name], table[name][there], equal_nan=True) for name in COLUMNS)
                and np.array_equal(vectors, derived.vectors.rows(there))
            )
            if not is_same:
                return False
        seen += len(rows)
        if len(changes.rows) < CHUNK or len(rows) < CHUNK:
            return seen == len(places) and len(table) == len(derived.vectors)
        changes = reader.changes(changes.state, card)
