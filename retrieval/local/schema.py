"""The tables of `gallery.sqlite`, and how an older file becomes one of today's."""

import sqlite3

import numpy as np

from retrieval.gallery.entries import likeliest
from retrieval.local import checksums

VERSION = 3

# AUTOINCREMENT never gives an id twice, so a reader that knows the last id it has seen, and the last
# removal, catches up by reading what came after.
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cameras (id INTEGER PRIMARY KEY, name TEXT NOT NULL, latitude REAL, longitude REAL);
CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    vehicle_id INTEGER,
    camera INTEGER,
    time REAL,
    color TEXT,
    type TEXT,
    color_probs BLOB NOT NULL,
    type_probs BLOB NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    embedding BLOB NOT NULL
);
CREATE TABLE pictures (id INTEGER PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE, jpeg BLOB NOT NULL);
CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL);
"""

# Version 2: tracks, places, boxes, and how sure the model is of its colour and type.
_SECOND = """
ALTER TABLE images ADD COLUMN color_confidence REAL;
ALTER TABLE images ADD COLUMN type_confidence REAL;
ALTER TABLE images ADD COLUMN track_id INTEGER;
ALTER TABLE images ADD COLUMN latitude REAL;
ALTER TABLE images ADD COLUMN longitude REAL;
ALTER TABLE images ADD COLUMN box_left REAL;
ALTER TABLE images ADD COLUMN box_top REAL;
ALTER TABLE images ADD COLUMN box_right REAL;
ALTER TABLE images ADD COLUMN box_bottom REAL;
INSERT OR IGNORE INTO meta VALUES ('gallery_id', lower(hex(randomblob(16))));
UPDATE images SET color_confidence = confidence(color_probs), type_confidence = confidence(type_probs);
"""

# Version 3: checksums. Rows of before have none. SQLite itself has them in its journal only.
_THIRD = """
ALTER TABLE images ADD COLUMN checksum INTEGER;
ALTER TABLE pictures ADD COLUMN checksum INTEGER;
CREATE TABLE sums (name TEXT PRIMARY KEY, count INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO sums SELECT 'images', COUNT(*), 0 FROM images;
CREATE TRIGGER images_in AFTER INSERT ON images BEGIN
    UPDATE sums SET count = count + 1, checksum = checksum + ifnull(new.checksum, 0) WHERE name = 'images';
END;
CREATE TRIGGER images_out AFTER DELETE ON images BEGIN
    UPDATE sums SET count = count - 1, checksum = checksum - ifnull(old.checksum, 0) WHERE name = 'images';
END;
"""

_STEPS = (_TABLES, _SECOND, _THIRD)

SMALL_TABLES = {
    "meta": "SELECT name, value FROM meta ORDER BY name",
    "cameras": "SELECT id, name, latitude, longitude FROM cameras ORDER BY id",
}
"""Tables whose rows have one checksum together."""


def migrate(database: sqlite3.Connection) -> None:
    """Bring a database of an older version, or an empty one, to `VERSION`, in one transaction."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    database.create_function("confidence", 1, _confidence, deterministic=True)
    steps = "".join(_STEPS[version:])
    database.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}")
    for table in SMALL_TABLES:
        seal(database, table)
    database.execute("COMMIT")


def seal(database: sqlite3.Connection, table: str) -> None:
    """Note the checksum of one of `SMALL_TABLES`, inside the transaction that changes it."""
    rows = database.execute(SMALL_TABLES[table]).fetchall()
    checksum = checksums.of_values(*rows)
    database.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?)", (table, len(rows), checksum))


def _confidence(probabilities: bytes) -> float | None:
    best = likeliest(np.frombuffer(probabilities, "<f4"))
    return None if best is None else best[1]
