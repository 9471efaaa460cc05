"""Keeps what is derived from a gallery's database in line with it: memory, snapshot and index."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from retrieval.gallery.entries import GalleryModel
from retrieval.local import snapshot
from retrieval.local.approximate import ApproximateIndex
from retrieval.local.index_policy import AUTO, IndexPolicy
from retrieval.local.locks import SharedLock
from retrieval.local.snapshot import Derived, State
from retrieval.local.store import CHUNK, Changes, Store
from retrieval.local.table import Table
from retrieval.local.vectors import Vectors
from zoo.errors import UserError


class Synchronizer:
    """What searches look at, and how it comes to be up to date.

    Searches look at one `Derived`, which does not change under them, and never wait for the disk: whoever
    changes the gallery makes another one beside it, and keeps searches out only for the moment in which new
    vectors enter the index that both share.

    Only a writer makes the index and writes snapshots; a new index comes from a thread of its own, while
    searches go on with the old one.
    """

    def __init__(
        self, folder: Path, store: Store, model: GalleryModel, writable: bool, policy: IndexPolicy
    ) -> None:
        self._folder = folder
        self._store = store
        self._card = model.card
        self._writable = writable
        self._policy = policy
        self._gallery_id = store.meta()["gallery_id"]
        self._dimension = model.card.outputs["embedding"]
        # Who brings it up to date; and, for a moment only, who searches.
        self._updating = threading.RLock()
        self._searching = SharedLock()
        self._version = -1
        self._builder: threading.Thread | None = None
        self._fault: UserError | None = None
        self.derived = self._load()
        self.catch_up()

    @contextmanager
    def reading(self) -> Iterator[Derived]:
        """What the gallery holds now; a reader first takes in what the writer has committed."""
        if not self._writable:
            self.catch_up()
        with self._searching.reading():
            yield self.derived

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the database inside, one thread at a time; afterwards, searches know of it."""
        with self._updating:
            yield
            self._catch_up()

    def catch_up(self) -> None:
        """Take in what another process has committed."""
        with self._updating:
            version = self._store.version()
            if version != self._version:
                self._catch_up()
                self._version = version

    def close(self) -> None:
        """Finish the index, and write down what is only in memory.

        Raises:
            UserError: the index that was asked for cannot be made.
        """
        builder = self._builder
        if builder is not None:
            builder.join()
        with self._updating:
            # A small tail is replayed sooner than a snapshot of everything is written.
            unsaved = len(self.derived.vectors.tail)
            if (
                self._writable
                and self._fault is None
                and unsaved >= max(CHUNK, len(self.derived.table) // 100)
            ):
                self._write_snapshot()
        if self._fault is not None:
            raise self._fault

    def _load(self) -> Derived:
        """The snapshot, where there is one that this database went through; else nothing yet."""
        self._stamp = snapshot.stamp(self._folder)
        found = snapshot.read(self._folder, self._gallery_id, self._dimension)
        if found is not None:
            derived, last_key = found
            # Of a snapshot that is mostly removed rows, a writer makes a new one from the database.
            spent = self._writable and derived.table.dead > max(CHUNK, len(derived.table) // 2)
            known = self._store.knows(derived.state.last_id, derived.state.last_removal, last_key)
            if known and not spent:
                return derived
        return Derived(Table(), Vectors(self._dimension))

    def _catch_up(self) -> None:
        """Bring what is derived to what the store holds."""
        if not self._writable and len(self.derived.vectors.tail) >= self._policy.snapshot_rows:
            self._adopt_snapshot()
        while True:
            state = self.derived.state
            changes = self._store.changes(state.last_id, state.last_removal, self._card)
            self._take_in(changes)
            if self._writable:
                self._maintain()
            if len(changes.rows) < CHUNK:
                break

    def _take_in(self, changes: Changes) -> None:
        derived = self.derived
        table, vectors = derived.table.without(changes.removed), derived.vectors
        last_id = derived.state.last_id
        if changes.rows:
            vectors = vectors.with_rows(np.stack([row.embedding for row in changes.rows]))
            table = table.with_rows(changes.rows)
            last_id = changes.rows[-1].id
        self._show(Derived(table, vectors, derived.index, State(last_id, changes.last_removal)))

    def _show(self, derived: Derived) -> None:
        """Let searches look at `derived`, whose index takes in what it lacks."""
        if derived.index is not None and self._builder is None:
            while len(derived.index) < len(derived.vectors):
                put_in = derived.index.prepare(derived.vectors, len(derived.vectors))
                with self._searching.writing():
                    put_in()
                    # Never fewer rows than the index holds.
                    self.derived = derived
        self.derived = derived

    def _adopt_snapshot(self) -> None:
        """Go on from the snapshot that the writer has written meanwhile, and free the memory."""
        if snapshot.stamp(self._folder) != self._stamp:
            newer = self._load()
            if len(newer.table) >= len(self.derived.table) - len(self.derived.vectors.tail):
                self._show(newer)

    def _maintain(self) -> None:
        """Write a snapshot, or have an index made, when the policy says so.

        A disk that is too full for it does not undo what the database has: `close` tells the fault.
        """
        if self._builder is not None or self._fault is not None:
            return
        rows = len(self.derived.table)
        factory = self._policy.factory(rows)
        if factory is None and self.derived.index is not None:
            self._show(replace(self.derived, index=None))
        try:
            if factory is not None and self._is_outgrown(self.derived.index, factory, rows):
                self._write_snapshot()
                self._builder = threading.Thread(target=self._build, args=(factory, rows), name="index")
                self._builder.start()
            elif self._policy.is_snapshot_due(rows, len(self.derived.vectors.tail)):
                self._write_snapshot()
        except UserError as error:
            self._fault = error

    def _is_outgrown(self, index: ApproximateIndex | None, factory: str, rows: int) -> bool:
        if index is None or (self._policy.index != AUTO and index.factory != factory):
            return True
        return index.factory != factory and rows >= self._policy.grown * index.built_rows

    def _build(self, factory: str, rows: int) -> None:
        """Make a new index of the rows that are in the vector file, then take it into use."""
        assert self.derived.vectors.path is not None
        vectors = Vectors.read(self._dimension, self.derived.vectors.path, rows)
        try:
            index = ApproximateIndex.build(factory, vectors, rows)
            index.calibrate(vectors, rows, self._card.metric)
            with self._updating:
                index.extend(self.derived.vectors, len(self.derived.vectors))
                self._show(replace(self.derived, index=index))
                self._write_snapshot()
        except UserError as error:
            self._fault = error
        finally:
            self._builder = None

    def _write_snapshot(self) -> None:
        self._show(snapshot.write(self._folder, self._gallery_id, self.derived))
        self._stamp = snapshot.stamp(self._folder)
