"""The table of the images of passes. A gallery of before gets it with its next writer; its version stays."""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.gallery.crops import PassCrop
from retrieval.local import checksums

CREATE = """
CREATE TABLE IF NOT EXISTS crops (
    image INTEGER NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    count INTEGER NOT NULL,
    jpeg BLOB NOT NULL,
    quality REAL NOT NULL,
    time REAL,
    box_left REAL NOT NULL,
    box_top REAL NOT NULL,
    box_right REAL NOT NULL,
    box_bottom REAL NOT NULL,
    embedding BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (image, place)
) WITHOUT ROWID
"""
"""`count` is that of the image's crops, so that one that is missing shows."""

_COLUMNS = "image, place, count, jpeg, quality, time, box_left, box_top, box_right, box_bottom, embedding"


def write(database: sqlite3.Connection, image: int, crops: Sequence[PassCrop]) -> None:
    """Add the crops of a new image, inside the transaction that adds it."""
    for row in _rows(image, crops):
        database.execute(
            f"INSERT INTO crops ({_COLUMNS}, checksum) VALUES ({'?, ' * len(row)}?)",
            (*row, checksums.of_values(*row)),
        )


def are_kept(database: sqlite3.Connection, image: int, crops: Sequence[PassCrop]) -> bool:
    """Whether an image has just these."""
    found = database.execute(f"SELECT {_COLUMNS} FROM crops WHERE image = ? ORDER BY place", (image,))
    return found.fetchall() == _rows(image, crops)


def is_any(database: sqlite3.Connection) -> bool:
    """Whether some image is a pass of several; the first few tell, for all of a large gallery take time."""
    few = "SELECT 1 FROM (SELECT count FROM crops LIMIT 100) WHERE count > 1"
    return _is_there(database) and database.execute(few).fetchone() is not None


def _is_there(database: sqlite3.Connection) -> bool:
    """Galleries from before passes kept their crops have no such table."""
    known = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'crops'")
    return known.fetchone() is not None


def read(database: sqlite3.Connection, images: Sequence[int]) -> dict[int, tuple[PassCrop, ...]]:
    """The crops of images by id, the best first; of an image that has none, nothing.

    Raises:
        sqlite3.DatabaseError: they are not those that were written.
    """
    if not _is_there(database):
        return {}
    rows: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in database.execute(
        f"SELECT {_COLUMNS}, checksum FROM crops WHERE image IN ({', '.join('?' * len(images))}) "
        "ORDER BY image, place",
        images,
    ):
        rows[row[0]].append(row)
    for image, found in rows.items():
        if len(found) != found[0][2] or any(row[-1] != checksums.of_values(*row[:-1]) for row in found):
            raise sqlite3.DatabaseError(f"the crops of the image {image} are not as they were written")
    return {image: tuple(map(_crop, found)) for image, found in rows.items()}


def _rows(image: int, crops: Sequence[PassCrop]) -> list[tuple[Any, ...]]:
    """The values of `_COLUMNS` of each, as SQLite gives them back."""
    return [
        (
            *(image, place, len(crops), each.picture, float(each.quality)),
            None if each.time is None else float(each.time) + 0.0,
            *(float(side) + 0.0 for side in each.box),
            np.ascontiguousarray(each.embedding, "<f4").tobytes(),
        )
        for place, each in enumerate(crops)
    ]


def _crop(row: Sequence[Any]) -> PassCrop:
    _, _, _, jpeg, quality, time, *box, embedding, _ = row
    left, top, right, bottom = box
    return PassCrop(jpeg, quality, time, (left, top, right, bottom), np.frombuffer(embedding, "<f4"))
