"""Links between passes in a gallery's folder: what each run proposes, and what people say of it."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from retrieval.gallery.base import LINKS_FILE, Gallery
from retrieval.journeys.linking import Link, Linked, LinkOptions
from retrieval.journeys.passes import Passes
from zoo.errors import UserError

_RUNS_KEPT = 10
_VERSION = 1

Mark = Literal["confirmed", "cut"]

_TABLES = f"""
CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, made REAL NOT NULL, options TEXT NOT NULL);
CREATE TABLE images (run INTEGER, key TEXT, pass TEXT NOT NULL, PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE INDEX images_of ON images (run, pass);
CREATE TABLE links (
    run INTEGER, earlier TEXT, later TEXT, certainty REAL NOT NULL, is_chosen INTEGER NOT NULL,
    PRIMARY KEY (run, earlier, later)
) WITHOUT ROWID;
CREATE INDEX links_to ON links (run, later);
CREATE TABLE marks (
    earlier TEXT, later TEXT, verdict TEXT NOT NULL, made REAL NOT NULL, marked_by TEXT,
    PRIMARY KEY (earlier, later)
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True)
class Proposal:
    """A link as it stands.

    Attributes:
        earlier, later: the passes.
        certainty: that they are of one vehicle; None where no run knows of it.
        mark: what a person said.
    """

    earlier: str
    later: str
    certainty: float | None
    mark: Mark | None = None


class LinkStore:
    """The links of the gallery in a folder; safe from any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Name the folder.

        Raises:
            UserError: there is no gallery in it; one in Milvus has no folder.
        """
        if not (folder / "gallery.sqlite").is_file():
            raise UserError(
                f"{folder}: holds no gallery, and journeys are kept in a gallery's folder; copy one that is "
                "in Milvus into a folder with `python -m retrieval.transfer`"
            )
        self._path = folder / LINKS_FILE

    def add_run(self, passes: Passes, linked: Linked, options: LinkOptions) -> int:
        """Write a run's proposals; return its number. The last ten runs are kept."""
        names = [keys[0] for keys in passes.images]
        rows = zip(
            linked.earlier.tolist(),
            linked.later.tolist(),
            linked.certainty.tolist(),
            linked.is_chosen.tolist(),
            strict=True,
        )
        with self._writing() as database:
            run = database.execute(
                "INSERT INTO runs (made, options) VALUES (?, ?)", (time.time(), json.dumps(asdict(options)))
            ).lastrowid
            database.executemany(
                "INSERT INTO links VALUES (?, ?, ?, ?, ?)",
                ((run, names[a], names[b], certainty, chosen) for a, b, certainty, chosen in rows),
            )
            database.executemany(
                "INSERT INTO images VALUES (?, ?, ?)",
                ((run, key, keys[0]) for keys in passes.images if len(keys) > 1 for key in keys),
            )
            _forget(database, "id <= ?", (run or 0) - _RUNS_KEPT)
        return run or 0

    def undo(self) -> int | None:
        """Take the last run away whole; return its number, None where there is none. Marks stay."""
        with self._writing() as database:
            run = _last_run(database)
            if run is not None:
                _forget(database, "id = ?", run)
        return run

    def mark(self, earlier: str, later: str, verdict: Mark | None, by: str | None = None) -> None:
        """Note what a person says of a link, None to take it back; runs to come keep to it.

        A pass has one after it and one before it at most, so that a confirmed link takes the place of
        another confirmed one.
        """
        with self._writing() as database:
            run = _last_run(database)
            earlier, later = _pass_of(database, run, earlier), _pass_of(database, run, later)
            _note(database, earlier, later, verdict, time.time(), by)

    def take_over(self, other: "LinkStore") -> int:
        """Take what people said of links in another gallery, where nobody has said something later here.

        Returns:
            how many marks were taken.
        """
        with other._reading() as database:
            if database is None:
                return 0
            rows = database.execute(
                "SELECT earlier, later, verdict, made, marked_by FROM marks ORDER BY made"
            ).fetchall()
        if not rows:
            return 0
        taken = 0
        with self._writing() as database:
            for earlier, later, verdict, made, by in rows:
                (known,) = database.execute(
                    "SELECT max(made) FROM marks WHERE (earlier, later) IN ((?, ?), (?, ?)) "
                    "OR (verdict = 'confirmed' AND ? = 'confirmed' AND (earlier = ? OR later = ?))",
                    (earlier, later, later, earlier, verdict, earlier, later),
                ).fetchone()
                if known is None or known < made:
                    _note(database, earlier, later, verdict, made, by)
                    taken += 1
        return taken

    def pass_of(self, key: str) -> str:
        """The name of the pass that an image is of."""
        with self._reading() as database:
            return key if database is None else _pass_of(database, _last_run(database), key)

    def marked(self, verdict: Mark) -> list[Link]:
        """The links of which people said so."""
        with self._reading() as database:
            if database is None:
                return []
            rows = database.execute("SELECT earlier, later FROM marks WHERE verdict = ?", (verdict,))
            return [(earlier, later) for earlier, later in rows]

    def way(self, key: str) -> list[tuple[str, ...]]:
        """The passes of the journey that an image is of, in order: the keys of the images of each."""
        with self._reading() as database:
            if database is None:
                return [(key,)]
            return [_images(database, name) for name in _way(database, key)]

    def journeys(self, keys: Iterable[str]) -> dict[str, str]:
        """The journey of each image, named by its first pass."""
        found: dict[str, str] = {}
        with self._reading() as database:
            for key in keys:
                if key not in found:
                    names = [key] if database is None else _way(database, key)
                    images = [(key,)] if database is None else [_images(database, name) for name in names]
                    found |= {image: names[0] for each in images for image in each}
        return found

    def link(self, earlier: str, later: str) -> Proposal:
        """What is known of a link."""
        with self._reading() as database:
            if database is None:
                return Proposal(earlier, later, None)
            run = _last_run(database)
            pair = earlier, later
            certainty = database.execute(
                "SELECT certainty FROM links WHERE run = ? AND earlier = ? AND later = ?", (run, *pair)
            ).fetchone()
            mark = database.execute(
                "SELECT verdict FROM marks WHERE earlier = ? AND later = ?", pair
            ).fetchone()
            return Proposal(*pair, certainty and certainty[0], mark and mark[0])

    def candidates(self, earlier: str, count: int) -> list[Proposal]:
        """The passes that may follow one, the most certain first, without those that people cut."""
        with self._reading() as database:
            if database is None:
                return []
            rows = database.execute(
                "SELECT links.earlier, links.later, certainty, verdict FROM links "
                "LEFT JOIN marks ON marks.earlier = links.earlier AND marks.later = links.later "
                "WHERE run = ? AND links.earlier = ? AND certainty > 0 AND verdict IS NOT 'cut' "
                "ORDER BY certainty DESC, links.later LIMIT ?",
                (_last_run(database), earlier, count),
            )
            return [Proposal(*row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A transaction, None where nothing was written yet."""
        if not self._path.exists():
            yield None
            return
        with self._open(f"file:{_quoted(self._path)}?mode=ro", "BEGIN") as database:
            yield database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open(f"file:{_quoted(self._path)}", "BEGIN IMMEDIATE") as database:
            if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _TABLES.split(";")[:-1]:
                    database.execute(statement)
            yield database

    @contextmanager
    def _open(self, address: str, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            database = sqlite3.connect(address, timeout=30, uri=True, isolation_level=None)
            try:
                database.execute(begin)
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise UserError(f"{self._path}: was written by a newer release; install that one")
                yield database
                database.execute("COMMIT")
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self._path}: {error}; free some space or mend its permissions, or, where it is damaged, "
                "delete it and link again: the gallery itself is whole"
            ) from error


def journeys_of(gallery: Gallery, keys: Iterable[str]) -> dict[str, str]:
    """The journey of each image by key, named by its first pass; empty where the gallery has no links."""
    if not gallery.owns_folder or not (gallery.folder / LINKS_FILE).exists():
        return {}
    try:
        return LinkStore(gallery.folder).journeys(keys)
    except UserError:
        # A search is answered without what is drawn beside it; who asks for a journey is told why.
        return {}


def _quoted(path: Path) -> str:
    return path.resolve().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _forget(database: sqlite3.Connection, condition: str, value: int) -> None:
    for table in ("links", "images"):
        database.execute(f"DELETE FROM {table} WHERE {condition.replace('id', 'run')}", (value,))
    database.execute(f"DELETE FROM runs WHERE {condition}", (value,))


def _last_run(database: sqlite3.Connection) -> int | None:
    found: tuple[int | None] = database.execute("SELECT max(id) FROM runs").fetchone()
    return found[0]


def _pass_of(database: sqlite3.Connection, run: int | None, key: str) -> str:
    row = database.execute("SELECT pass FROM images WHERE run = ? AND key = ?", (run, key)).fetchone()
    return key if row is None else str(row[0])


def _images(database: sqlite3.Connection, name: str) -> tuple[str, ...]:
    run = _last_run(database)
    rows = database.execute("SELECT key FROM images WHERE run = ? AND pass = ? ORDER BY key", (run, name))
    found = [str(key) for (key,) in rows]
    return (name, *(key for key in found if key != name))


def _note(
    database: sqlite3.Connection, earlier: str, later: str, verdict: Mark | None, made: float, by: str | None
) -> None:
    """Write a mark in the place of those that it contradicts; None for the verdict writes none."""
    database.execute(
        "DELETE FROM marks WHERE (earlier, later) IN ((?, ?), (?, ?))", (earlier, later, later, earlier)
    )
    if verdict == "confirmed":
        database.execute(
            "DELETE FROM marks WHERE verdict = 'confirmed' AND (earlier = ? OR later = ?)", (earlier, later)
        )
    if verdict is not None:
        database.execute("INSERT INTO marks VALUES (?, ?, ?, ?, ?)", (earlier, later, verdict, made, by))


def _way(database: sqlite3.Connection, key: str) -> list[str]:
    """The passes of a journey; what people say counts for more than what a run says."""
    run = _last_run(database)
    way = [_pass_of(database, run, key)]
    while (before := _neighbour(database, run, way[0], "later", "earlier")) and before not in way:
        way.insert(0, before)
    while (after := _neighbour(database, run, way[-1], "earlier", "later")) and after not in way:
        way.append(after)
    return way


def _neighbour(database: sqlite3.Connection, run: int | None, name: str, here: str, there: str) -> str | None:
    said = database.execute(
        f"SELECT {there} FROM marks WHERE {here} = ? AND verdict = 'confirmed'", (name,)
    ).fetchone()
    if said is not None:
        return str(said[0])
    proposed = database.execute(
        f"SELECT {there} FROM links WHERE run = ? AND {here} = ? AND is_chosen", (run, name)
    ).fetchone()
    if proposed is None:
        return None
    contradicted = database.execute(
        f"SELECT 1 FROM marks WHERE (verdict = 'cut' AND {here} = ? AND {there} = ?) "
        f"OR (verdict = 'confirmed' AND {there} = ?)",
        (name, proposed[0], proposed[0]),
    ).fetchone()
    return None if contradicted else str(proposed[0])
