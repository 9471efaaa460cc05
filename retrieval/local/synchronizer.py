"""Keeps what is derived from a gallery's database in line with it: memory, snapshot and index."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from retrieval.gallery.entries import GalleryModel
from retrieval.local import snapshot
from retrieval.local.approximate import ApproximateIndex
from retrieval.local.centred_vectors import compared
from retrieval.local.checksums import DamagedError
from retrieval.local.index_policy import AUTO, IndexPolicy
from retrieval.local.locks import SharedLock
from retrieval.local.reader import CHUNK, Changes, Reader
from retrieval.local.snapshot import Derived
from retrieval.local.store import Store
from retrieval.local.table import Table
from retrieval.local.vector_search import SCANNED_ROWS
from retrieval.local.vectors import Vectors
from zoo.camera_means import CameraSums
from zoo.errors import UserError

_log = logging.getLogger(__name__)

_PATIENCE = 30.0
"""Seconds in which somebody who reads has to meet a state that both the database and memory are in."""

_MOST_IN_MEMORY = 64 * 2**20
"""Bytes of vectors at which they are written to their file, before a snapshot of a large gallery is due."""


@dataclass
class ReadTransaction:
    """One state of a gallery: what is derived from the database, and the database itself."""

    derived: Derived
    reader: Reader


class Synchronizer:
    """What searches look at, and how it comes to be up to date.

    Searches look at one `Derived`, which does not change under them, and never wait for the disk: whoever
    changes the gallery makes another one beside it, and keeps searches out only for the moment in which new
    vectors enter the index that both share.

    Only a writer makes the index and writes snapshots; a new index comes from a thread of its own, while
    searches go on with the old one.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        model: GalleryModel,
        writable: bool,
        policy: IndexPolicy,
        camera_centring: bool,
    ) -> None:
        self._folder = folder
        self._store = store
        self._card = model.card
        self._writable = writable
        self._policy = policy
        self._centring = camera_centring
        with store.reading() as reader:
            self._gallery_id = reader.meta()["gallery_id"]
        self._dimension = model.card.outputs["embedding"]
        # Who brings it up to date; and, for a moment only, who searches.
        self._updating = threading.RLock()
        self._searching = SharedLock()
        self._published = threading.Condition()
        self._own = threading.local()
        self._builder: threading.Thread | None = None
        self._fault: UserError | None = None
        self._repairing = threading.Lock()
        self._anew: Derived | None = None
        self._generation = 0
        self.derived = self._load()
        self.catch_up(whole=True)

    @contextmanager
    def reading(self) -> Iterator[ReadTransaction]:
        """What the gallery holds now, which stays what it is; inside another one, the same again."""
        outer: ReadTransaction | None = getattr(self._own, "transaction", None)
        if outer is not None:
            yield outer
            return
        give_up = time.monotonic() + _PATIENCE
        while True:
            with self._searching.reading(), self._store.reading() as reader:
                derived = self.derived
                is_current = reader.state() == derived.state
                if is_current:
                    transaction = self._own.transaction = ReadTransaction(derived, reader)
                    try:
                        yield transaction
                    finally:
                        self._own.transaction = None
            if is_current:
                if transaction.derived is not derived:
                    self._replace(derived, transaction.derived)
                return
            if time.monotonic() > give_up:
                raise UserError(f"{self._folder}: changes faster than it can be read; ask again")
            self._await(derived)

    def _await(self, seen: Derived) -> None:
        """Wait until there is something newer than `seen`: the database is a little ahead of it."""
        if self._writable:
            with self._published:
                if self._published.wait_for(lambda: self.derived is not seen, timeout=1):
                    return
        # What another process has committed, or what was not taken in because that failed.
        self.catch_up()

    def derive_anew(self, transaction: ReadTransaction) -> None:
        """Go on with what the database itself holds, because a derived file was found to be damaged."""
        with self._repairing:
            # Made once for all who meet the damage.
            if self._anew is None or self._anew.state != transaction.derived.state:
                self._anew = self._derived_of(transaction.reader)
            transaction.derived = self._anew

    def _derived_of(self, reader: Reader) -> Derived:
        """What is derived of the database alone."""
        _log.warning("%s: a derived file is damaged and made anew of the database", self._folder)
        derived = self._with_sums(Derived(Table(), Vectors(self._dimension)))
        while True:
            changes = reader.changes(derived.state, self._card)
            derived = _with_changes(derived, changes)
            if len(changes.rows) < CHUNK:
                self._check(derived, reader, whole=True)
                return derived

    def _replace(self, damaged: Derived, derived: Derived) -> None:
        """Let all searches look at `derived`, where they still look at damaged files."""
        with self._updating:
            if self.derived.vectors.path == damaged.vectors.path:
                self._start_from(derived)
                self.catch_up()
            self._anew = None

    def _start_anew(self) -> None:
        """The same where nobody is reading."""
        with self._store.reading() as reader:
            self._start_from(self._derived_of(reader))

    def _start_from(self, derived: Derived) -> None:
        # An index that is being built is of other positions, and so is the snapshot.
        self._generation += 1
        self._snapshot_rows = 0
        self._publish(derived)

    def _check(self, derived: Derived, reader: Reader, whole: bool = False) -> None:
        """Hold what is derived of a state to the numbers that the database keeps of just that state.

        Args:
            whole: the checksums as well, not only how many images there are.

        Raises:
            sqlite3.DatabaseError: rows of the database are missing or in the wrong place.
        """
        table, (count, checksum) = derived.table, reader.content()
        if len(table) - table.dead != count or (whole and table.checksum != checksum):
            raise sqlite3.DatabaseError("its images are not those that were written")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the database inside, one thread at a time; afterwards, searches know of it."""
        if getattr(self._own, "transaction", None) is not None:
            raise RuntimeError("a thread cannot change the gallery inside its own read transaction")
        with self._updating:
            yield
            self.catch_up()

    def catch_up(self, whole: bool = False) -> None:
        """Bring what is derived to what the store holds; `whole` as in `_check`."""
        with self._updating:
            if not self._writable and len(self.derived.vectors.tail) >= self._policy.snapshot_rows:
                self._adopt_snapshot()
            more = True
            while more:
                try:
                    more = self._take_in_changes(whole)
                    if self._writable:
                        self._maintain()
                except DamagedError:
                    self._start_anew()

    def _take_in_changes(self, whole: bool) -> bool:
        """Take in the next changes; return whether there may be more."""
        with self._store.reading() as reader:
            changes = reader.changes(self.derived.state, self._card)
            derived, more = _with_changes(self.derived, changes), len(changes.rows) == CHUNK
            if not more:
                self._check(derived, reader, whole)
        if derived is not self.derived:
            self._show(derived)
        return more

    def close(self) -> None:
        """Finish the index, and write down what is only in memory.

        Raises:
            UserError: the index that was asked for cannot be made.
        """
        builder = self._builder
        if builder is not None:
            builder.join()
        with self._updating:
            # A few rows are replayed sooner than a snapshot of everything is written.
            few = max(CHUNK, len(self.derived.table) // 100)
            if self._writable and self._fault is None and self._unsaved() >= few:
                # Damage is met again at the next opening, and mended then.
                with suppress(DamagedError):
                    self._write_snapshot()
        if self._fault is not None:
            raise self._fault

    def _unsaved(self) -> int:
        """How many rows no snapshot has; the vectors of some may be in the file already."""
        return len(self.derived.table) - self._snapshot_rows

    def _load(self) -> Derived:
        """The snapshot, where there is one that this database went through; else nothing yet."""
        self._stamp = snapshot.stamp(self._folder)
        found = snapshot.read(self._folder, self._gallery_id, self._dimension)
        if found is not None:
            derived, last_key = found
            # Of a snapshot that is mostly removed rows, a writer makes a new one from the database.
            spent = self._writable and derived.table.dead > max(CHUNK, len(derived.table) // 2)
            with self._store.reading() as reader:
                known = reader.knows(derived.state, last_key)
            if known and not spent:
                with suppress(DamagedError):
                    derived = self._with_sums(derived)
                    self._snapshot_rows = len(derived.table)
                    return derived
        self._snapshot_rows = 0
        return self._with_sums(Derived(Table(), Vectors(self._dimension)))

    def _with_sums(self, derived: Derived) -> Derived:
        """The same with camera statistics if they are wanted, from the vectors where no snapshot has them."""
        if not self._centring or derived.sums is not None:
            return derived if self._centring else replace(derived, sums=None)
        sums, table = CameraSums(self._dimension), derived.table
        for start, block in derived.vectors.blocks():
            there = table["alive"][start : start + len(block)]
            cameras = table["camera"][start : start + len(block)]
            sums = sums.with_pictures(block[there], cameras[there])
        derived.vectors.release()
        return replace(derived, sums=sums)

    def _show(self, derived: Derived) -> None:
        """Let searches look at `derived`, whose index takes in what it lacks."""
        if derived.index is not None and self._builder is None:
            vectors = compared(
                derived.vectors, derived.table["camera"], derived.index.means, self._card.metric
            )
            while len(derived.index) < len(vectors):
                put_in = derived.index.prepare(vectors, len(vectors))
                with self._searching.writing():
                    put_in()
                    # Never fewer rows than the index holds.
                    self._publish(derived)
        self._publish(derived)

    def _publish(self, derived: Derived) -> None:
        with self._published:
            self.derived = derived
            self._published.notify_all()

    def _adopt_snapshot(self) -> None:
        """Go on from the snapshot that the writer has written meanwhile, and free the memory."""
        if snapshot.stamp(self._folder) != self._stamp:
            newer = self._load()
            if len(newer.table) >= len(self.derived.table) - len(self.derived.vectors.tail):
                self._show(newer)

    def _maintain(self) -> None:
        """Write a snapshot, or vectors alone, or have an index made, when the policy says so.

        A disk that is too full for it does not undo what the database has: `close` tells the fault.
        """
        if self._fault is not None:
            return
        try:
            # While an index is built as well: in a minute of that, a gigabyte of vectors may come.
            if self._snapshot_rows and self.derived.vectors.tail.nbytes >= _MOST_IN_MEMORY:
                self._show(snapshot.with_vectors_written(self._folder, self.derived))
            if self._builder is not None:
                return
            rows = len(self.derived.table)
            factory = self._policy.factory(rows)
            if factory is None and self.derived.index is not None:
                self._show(replace(self.derived, index=None))
            if factory is not None and self._is_outgrown(factory, rows):
                self._write_snapshot()
                self._builder = threading.Thread(
                    target=self._build, args=(factory, rows, self.derived), name="index"
                )
                self._builder.start()
            elif self._policy.is_snapshot_due(rows, self._unsaved()):
                self._write_snapshot()
        except UserError as error:
            self._fault = error

    def _is_outgrown(self, factory: str, rows: int) -> bool:
        index = self.derived.usable_index
        if index is None or (self._policy.index != AUTO and index.factory != factory):
            return True
        if len(self.derived.drifted) > max(SCANNED_ROWS, rows // 50):
            return True
        return index.factory != factory and rows >= self._policy.grown * index.built_rows

    def _build(self, factory: str, rows: int, derived: Derived) -> None:
        """Make a new index of the rows that are in the vector file, then take it into use.

        Args:
            factory: of the index.
            rows: of the file.
            derived: the state just written, whose camera means the index keeps.
        """
        generation = self._generation
        metric, means = self._card.metric, derived.means
        vectors = compared(derived.vectors, derived.table["camera"], means, metric)
        try:
            index = ApproximateIndex.build(factory, vectors, rows, means)
            index.calibrate(vectors, rows, metric)
            with self._updating:
                if self._generation != generation:
                    return
                newest, cameras = self.derived.vectors, self.derived.table["camera"]
                index.extend(compared(newest, cameras, means, metric), len(newest))
                self._show(replace(self.derived, index=index))
                self._write_snapshot()
        except UserError as error:
            self._fault = error
        except DamagedError:
            with self._updating:
                if self._generation == generation:
                    self._start_anew()
        finally:
            self._builder = None

    def _write_snapshot(self) -> None:
        self._show(snapshot.write(self._folder, self._gallery_id, self.derived))
        self._snapshot_rows = len(self.derived.table)
        self._stamp = snapshot.stamp(self._folder)


def _with_changes(derived: Derived, changes: Changes) -> Derived:
    """What is derived of a state, and what came after it; the index stays as it is.

    Raises:
        DamagedError: a vector that is needed for it is not what was written.
    """
    if changes.state == derived.state:
        return derived
    table, vectors, sums = derived.table.without(changes.removed), derived.vectors, derived.sums
    if sums is not None:
        gone = derived.table.positions(changes.removed)
        gone = gone[derived.table["alive"][gone]]
        sums = sums.without_pictures(vectors.rows(gone), derived.table["camera"][gone])
    if changes.rows:
        vectors = vectors.with_rows(np.stack([row.embedding for row in changes.rows]))
        table = table.with_rows(changes.rows)
        if sums is not None:
            sums = sums.with_pictures(
                vectors.rows(np.arange(len(derived.vectors), len(vectors))),
                table["camera"][len(derived.vectors) :],
            )
    return Derived(table, vectors, derived.index, changes.state, sums)
