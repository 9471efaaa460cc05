"""The gallery: images that can be searched by embedding, kept in SQLite and indexed beside it."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from retrieval import snapshot, vector_search
from retrieval.approximate import ApproximateIndex
from retrieval.entries import Camera, Entry, Hit, Model
from retrieval.filters import Filters
from retrieval.plan import AUTO, IndexPlan, check_index
from retrieval.ranking import nearest_first, similarity, unit_length
from retrieval.snapshot import Derived, State
from retrieval.store import CHUNK, Store
from retrieval.table import NO_ID, Table
from retrieval.vectors import Vectors
from zoo.card import Card
from zoo.errors import UserError


class Gallery:
    """Add, remove and search, safe from any number of threads; one process writes while others search.

    A reader notices what the writer has committed at its next search. Only a writer makes the index and
    writes snapshots; it makes a new index in a thread of its own, while searches go on with the old one.
    """

    def __init__(self, folder: Path, store: Store, model: Model, writable: bool, plan: IndexPlan) -> None:
        self.folder = folder
        self.model = model
        self.plan = plan
        self._store = store
        self.writable = writable
        self._lock = threading.RLock()
        self._gallery_id = store.meta()["gallery_id"]
        self._dimension = model.card.outputs["embedding"]
        self._version = -1
        self._builder: threading.Thread | None = None
        self._fault: UserError | None = None
        self._derived = self._load()
        self._catch_up()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        model: Model | None = None,
        writable: bool = False,
        index: str | None = None,
        plan: IndexPlan | None = None,
    ) -> "Gallery":
        """Open a gallery; make it when it is opened for writing and is not there.

        Args:
            folder: the gallery's folder.
            model: whose embeddings will be added or searched for; None takes the gallery's word for it.
            writable: only one process at a time can have a gallery open for writing.
            index: `auto`, `exact` or a FAISS factory string, which a writable gallery then remembers; None
                for what it remembers.
            plan: when indexes and snapshots are made; `index` and what the gallery remembers override it.

        Raises:
            UserError: no gallery there, one of another model, or another writer.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; a gallery is a folder")
        store = Store(folder, writable)
        try:
            meta = store.meta()
            if "model_hash" not in meta:
                if model is None or not writable:
                    raise UserError(
                        f"{folder}: the gallery is empty; fill it with `python -m retrieval.ingest`"
                    )
                store.set_meta(
                    {"card": model.card.to_json(), "encoder": model.encoder, "model_hash": model.hash}
                )
                meta = store.meta()
            card = Card.from_json(meta["card"], f"the card in {folder}")
            held = Model(card, meta["model_hash"], meta["encoder"])
            if model is not None and model.hash != held.hash:
                raise UserError(
                    f"{folder}: holds embeddings of {card.name} (hash {held.hash[:12]}), not of "
                    f"{model.card.name} (hash {model.hash[:12]}), and the two cannot be compared; use the "
                    f"encoder {held.encoder or 'that made them'}, or ingest into another folder"
                )
            if model is not None and writable and model.encoder not in ("", held.encoder):
                # The same weights at another place: later commands should look for them there.
                store.set_meta({"encoder": model.encoder})
                held = Model(card, held.hash, model.encoder)
            if index is not None and writable:
                store.set_meta({"index": check_index(index)})
            chosen = index or meta.get("index") or (plan or IndexPlan()).index
            return cls(folder, store, held, writable, replace(plan or IndexPlan(), index=chosen))
        except BaseException:
            store.close()
            raise

    def __len__(self) -> int:
        with self._lock:
            self._catch_up()
            return len(self._derived.table) - self._derived.table.dead

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish the index, write down what is only in memory, and let the next writer in.

        Raises:
            UserError: the index that was asked for cannot be made; the images are all there.
        """
        builder = self._builder
        if builder is not None:
            builder.join()
        with self._lock:
            try:
                # A small tail is replayed sooner than a snapshot of everything is written.
                unsaved = len(self._derived.vectors.tail)
                if (
                    self.writable
                    and self._fault is None
                    and unsaved >= max(CHUNK, len(self._derived.table) // 100)
                ):
                    self._write_snapshot()
            finally:
                self._derived.vectors.close()
                self._store.close()
        if self._fault is not None:
            raise self._fault

    def add(self, entries: Iterable[Entry]) -> int:
        """Add images; when this returns they survive whatever happens to the process.

        Idempotent by key: an entry equal to what is there changes nothing, a different one replaces it.

        Returns:
            how many entries were new or replaced something.

        Raises:
            UserError: an embedding of the wrong length or with a value that is not finite.
        """
        checked = [self._checked(entry) for entry in entries]
        with self._lock:
            changed = self._store.add(checked, self.model.card)
            self._catch_up(own_change=True)
        return changed

    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; return how many of the keys were there."""
        with self._lock:
            removed = self._store.remove(keys)
            self._catch_up(own_change=True)
        return removed

    def search(self, embedding: np.ndarray, k: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Find the images whose embeddings are nearest, nearest first, equal distances in order of the key.

        Args:
            embedding: float32 [D].
            k: how many results; 0 for all. There are fewer only where fewer meet the filters.
            filters: conditions on the results, applied inside the search.

        Raises:
            UserError: an embedding of the wrong length, k below 0, or filters that make no sense.
        """
        query = self._query(embedding, k)
        with self._lock:
            positions, distances = self._nearest(query, k, filters)
            scores = similarity(distances, query, self.model.card.metric)
            return [
                self._hit(int(position), float(score), float(distance))
                for position, score, distance in zip(positions, scores, distances, strict=True)
            ]

    def rank(self, embedding: np.ndarray, k: int = 0, filters: Filters | None = None) -> list[str]:
        """The keys of `search` without the rest, which is quicker for whole rankings."""
        query = self._query(embedding, k)
        with self._lock:
            positions, _ = self._nearest(query, k, filters)
            return [self._derived.table.keys[position] for position in positions]

    def _query(self, embedding: np.ndarray, k: int) -> np.ndarray:
        if k < 0:
            raise UserError(f"k is {k}; ask for 1 or more results, or 0 for all")
        return self._vector(embedding, "the query")

    def _nearest(self, query: np.ndarray, k: int, filters: Filters | None) -> tuple[np.ndarray, np.ndarray]:
        self._catch_up()
        chosen = filters or Filters()
        cameras = self._store.cameras() if chosen.near else ()
        mask = chosen.mask(self._derived.table, self.model.card, cameras)
        positions, distances = vector_search.search(self._derived, query, k, mask, self.model.card.metric)
        return nearest_first(positions, distances, self._derived.table.keys, k)

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images, float32 [M, D].

        Raises:
            UserError: a key that the gallery does not have.
        """
        found = []
        for key in keys:
            entry = self._store.entry(key)
            if entry is None:
                raise UserError(f"{key!r}: the gallery has no image of this key")
            found.append(entry.embedding)
        return np.stack(found) if found else np.zeros((0, self._dimension), np.float32)

    def get(self, key: str) -> Entry | None:
        """Everything that the gallery holds of an image, None where there is no such key."""
        return self._store.entry(key)

    def entries(self, batch: int = 256) -> Iterator[list[Entry]]:
        """Everything that the gallery holds, in batches, in the order in which it came."""
        last_id = 0
        while found := self._store.entries(last_id, batch):
            yield [entry for _, entry in found]
            last_id = found[-1][0]

    def browse(self, filters: Filters | None = None, limit: int = 100, offset: int = 0) -> list[str]:
        """Keys of the images that meet the filters, newest time first, unknown times last, then by key."""
        with self._lock:
            self._catch_up()
            table = self._derived.table
            mask = (filters or Filters()).mask(table, self.model.card, self._store.cameras())
            positions = np.arange(len(table)) if mask is None else np.flatnonzero(mask)
            time = np.nan_to_num(-table["time"][positions], nan=np.inf)
            keys = [table.keys[position] for position in positions]
            order = sorted(range(len(keys)), key=lambda place: (time[place], keys[place]))
            return [keys[place] for place in order[offset : offset + limit]]

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image, None where there is no such key."""
        return self._store.picture(key)

    def digests(self, keys: Sequence[str]) -> dict[str, str]:
        """Of those keys that are there, the digests of their source files."""
        return self._store.digests(keys)

    def sample_keys(self, count: int) -> list[str]:
        """Keys spread evenly over the gallery, to show what is in it."""
        with self._lock:
            self._catch_up()
            table = self._derived.table
            alive = np.flatnonzero(table["alive"])
            if not alive.size:
                return []
            places = np.linspace(0, len(alive) - 1, min(count, len(alive))).astype(int)
            return [table.keys[position] for position in alive[places]]

    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image comes from, by id."""
        described = {camera.id: camera for camera in self._store.cameras()}
        with self._lock:
            self._catch_up()
            table = self._derived.table
            present = [int(id) for id in np.unique(table["camera"][table["alive"]]) if id != NO_ID]
        return [
            described.get(camera, Camera(camera, f"camera {camera}"))
            for camera in sorted({*described, *present})
        ]

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        self._store.set_cameras(cameras)

    def time_range(self) -> tuple[float, float] | None:
        """The earliest and the latest known time in seconds, None where no image has one."""
        with self._lock:
            self._catch_up()
            table = self._derived.table
            known = table["time"][table["alive"] & ~np.isnan(table["time"])]
            return (float(known.min()), float(known.max())) if known.size else None

    def _load(self) -> Derived:
        """The snapshot, where there is one that this database went through; else nothing yet."""
        self._stamp = snapshot.stamp(self.folder)
        found = snapshot.read(self.folder, self._gallery_id, self._dimension)
        if found is not None:
            derived, last_key = found
            # Of a snapshot that is mostly removed rows, a writer makes a new one from the database.
            spent = self.writable and derived.table.dead > max(CHUNK, len(derived.table) // 2)
            known = self._store.knows(derived.state.last_id, derived.state.last_removal, last_key)
            if known and not spent:
                return derived
            derived.vectors.close()
        return Derived(Table(), Vectors(self._dimension))

    def _catch_up(self, own_change: bool = False) -> None:
        """Bring what is derived to what the store holds; called with the lock held."""
        version = self._store.version()
        if version == self._version and not own_change:
            return
        if not self.writable and len(self._derived.vectors.tail) >= self.plan.snapshot_rows:
            self._adopt_snapshot()
        derived = self._derived
        while True:
            state = derived.state
            changes = self._store.changes(state.last_id, state.last_removal, self.model.card)
            derived.table.remove(changes.removed)
            if changes.rows:
                derived.vectors.append(np.stack([row.embedding for row in changes.rows]))
                derived.table.append(changes.rows)
            last_id = changes.rows[-1].id if changes.rows else state.last_id
            derived.state = State(last_id, changes.last_removal)
            if derived.index is not None and self._builder is None:
                derived.index.extend(derived.vectors, len(derived.vectors))
            if self.writable:
                self._maintain()
            if len(changes.rows) < CHUNK:
                break
        self._version = version

    def _adopt_snapshot(self) -> None:
        """Go on from the snapshot that the writer has written meanwhile, and free the memory."""
        if snapshot.stamp(self.folder) != self._stamp:
            newer = self._load()
            if len(newer.table) >= len(self._derived.table) - len(self._derived.vectors.tail):
                self._derived.vectors.close()
                self._derived = newer

    def _maintain(self) -> None:
        """Write a snapshot, or have an index made, when the plan says so.

        A disk that is too full for it does not undo what the database has: `close` tells the fault.
        """
        if self._builder is not None or self._fault is not None:
            return
        derived = self._derived
        rows = len(derived.table)
        factory = self.plan.factory(rows)
        if factory is None:
            derived.index = None
        try:
            if factory is not None and self._is_outgrown(derived.index, factory, rows):
                self._write_snapshot()
                self._builder = threading.Thread(target=self._build, args=(factory, rows), name="index")
                self._builder.start()
            elif self.plan.is_snapshot_due(rows, len(derived.vectors.tail)):
                self._write_snapshot()
        except UserError as error:
            self._fault = error

    def _is_outgrown(self, index: ApproximateIndex | None, factory: str, rows: int) -> bool:
        if index is None or (self.plan.index != AUTO and index.factory != factory):
            return True
        return index.factory != factory and rows >= self.plan.grown * index.built_rows

    def _build(self, factory: str, rows: int) -> None:
        """Make a new index of the rows that are in the vector file, then take it into use."""
        # A view of its own: the gallery's grows meanwhile.
        vectors = Vectors(self._dimension, self._derived.vectors.path, rows)
        try:
            index = ApproximateIndex.build(factory, vectors, rows)
            index.calibrate(vectors, rows, self.model.card.metric)
            with self._lock:
                index.extend(self._derived.vectors, len(self._derived.vectors))
                self._derived.index = index
                self._write_snapshot()
        except UserError as error:
            self._fault = error
        finally:
            vectors.close()
            self._builder = None

    def _write_snapshot(self) -> None:
        snapshot.write(self.folder, self._gallery_id, self._derived)
        self._stamp = snapshot.stamp(self.folder)

    def _checked(self, entry: Entry) -> Entry:
        return replace(entry, embedding=self._vector(entry.embedding, entry.key))

    def _vector(self, embedding: np.ndarray, name: str) -> np.ndarray:
        dimension = self._dimension
        vector = np.ascontiguousarray(embedding, np.float32)
        if vector.shape != (dimension,):
            raise UserError(
                f"{name}: an embedding of shape {list(vector.shape)} where the gallery's model gives "
                f"[{dimension}]; encode it with that model"
            )
        if not np.isfinite(vector).all():
            raise UserError(f"{name}: the embedding has values that are not finite; encode the image again")
        return unit_length(vector) if self.model.card.metric == "cosine" else vector

    def _hit(self, position: int, score: float, distance: float) -> Hit:
        table, card = self._derived.table, self.model.card
        color, kind = table.value("color", position), table.value("type", position)
        return Hit(
            key=table.keys[position],
            score=score,
            distance=distance,
            vehicle_id=_whole(table.value("vehicle", position)),
            camera=_whole(table.value("camera", position)),
            time=table.value("time", position),
            color=None if color is None else card.colors[int(color)],
            type=None if kind is None else card.types[int(kind)],
            track_id=_whole(table.value("track", position)),
            color_confidence=table.value("color_confidence", position),
            type_confidence=table.value("type_confidence", position),
        )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
