"""Looks at everything that a gallery's folder holds, and mends what can be mended."""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.local import snapshot
from retrieval.local.checksums import DamagedError
from retrieval.local.reader import Reader
from retrieval.local.store import Store
from zoo.card import Card


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        images: how many there are.
        damaged: keys of those that are not as they were written.
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


def examine(folder: Path) -> Findings:
    """Read all of a gallery and compare it with its checksums, and the derived files with the database.

    Raises:
        UserError: no gallery there, or a database that cannot be read.
    """
    with closing(Store(folder, writable=False)) as store, store.reading() as reader:
        count, damaged = 0, []
        for _, key, is_whole in reader.examined():
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
    """Whether the snapshot can be read and has the very vectors of the database."""
    meta = reader.meta()
    card = Card.from_json(meta["card"], f"the card in {folder}")
    found = snapshot.read(folder, meta["gallery_id"], card.outputs["embedding"])
    if found is None:
        return False
    derived = found[0]
    ids, alive = derived.table["ids"], derived.table["alive"]
    try:
        for first, block in derived.vectors.blocks():
            places = np.flatnonzero(alive[first : first + len(block)])
            keys = [derived.table.key(first + place) for place in places.tolist()]
            stored = reader.embeddings(keys)
            if any(
                key in stored and not np.array_equal(stored[key], block[place])
                for key, place in zip(keys, places.tolist(), strict=True)
            ):
                return False
    except DamagedError:
        return False
    return len(ids) == len(derived.vectors)
