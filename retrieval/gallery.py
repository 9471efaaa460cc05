"""The gallery: images that can be searched by embedding, kept in SQLite and indexed in memory."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from retrieval.entries import Camera, Entry, Hit, Model
from retrieval.filters import Filters
from retrieval.index import FlatIndex
from retrieval.ranking import nearest_first, similarity, unit_length
from retrieval.store import Store
from retrieval.table import NO_ID, UNKNOWN, Table
from zoo.card import Card
from zoo.errors import UserError


class Gallery:
    """Add, remove and search, safe from any number of threads; one process writes while others search.

    A reader notices what the writer has committed at its next search.
    """

    def __init__(self, folder: Path, store: Store, model: Model) -> None:
        self.folder = folder
        self.model = model
        self._store = store
        self._lock = threading.RLock()
        self._table = Table()
        self._index = FlatIndex(model.card.outputs["embedding"], model.card.metric)
        self._last_id = 0
        self._last_removal = 0
        self._version = -1
        self._catch_up()

    @classmethod
    def open(cls, folder: str | Path, *, model: Model | None = None, writable: bool = False) -> "Gallery":
        """Open a gallery; make it when it is opened for writing and is not there.

        Args:
            folder: the gallery's folder.
            model: whose embeddings will be added or searched for; None takes the gallery's word for it.
            writable: only one process at a time can have a gallery open for writing.

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
            return cls(folder, store, held)
        except BaseException:
            store.close()
            raise

    def __len__(self) -> int:
        with self._lock:
            self._catch_up()
            return len(self._table)

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; the next writer may come in."""
        with self._lock:
            self._store.close()

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
            changed = self._store.add(checked)
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
            return [self._table.keys[position] for position in positions]

    def _query(self, embedding: np.ndarray, k: int) -> np.ndarray:
        if k < 0:
            raise UserError(f"k is {k}; ask for 1 or more results, or 0 for all")
        return self._vector(embedding, "the query")

    def _nearest(self, query: np.ndarray, k: int, filters: Filters | None) -> tuple[np.ndarray, np.ndarray]:
        self._catch_up()
        rows = (filters or Filters()).rows(self._table, self.model.card)
        positions, distances = self._index.search(query, k, rows)
        return nearest_first(positions, distances, self._table.keys, k)

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image, None where there is no such key."""
        return self._store.picture(key)

    def digests(self) -> dict[str, str]:
        """Every key with the digest of its source file."""
        return self._store.digests()

    def sample_keys(self, count: int) -> list[str]:
        """Keys spread evenly over the gallery, to show what is in it."""
        with self._lock:
            self._catch_up()
            if not self._table.keys:
                return []
            positions = np.linspace(0, len(self._table) - 1, min(count, len(self._table))).astype(int)
            return [self._table.keys[position] for position in positions]

    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image comes from, by id."""
        described = {camera.id: camera for camera in self._store.cameras()}
        with self._lock:
            self._catch_up()
            present = [int(camera) for camera in np.unique(self._table.camera) if camera != NO_ID]
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
            known = self._table.time[~np.isnan(self._table.time)]
            return (float(known.min()), float(known.max())) if known.size else None

    def _catch_up(self, own_change: bool = False) -> None:
        """Bring the table and the index to what the store holds; called with the lock held."""
        version = self._store.version()
        if version == self._version and not own_change:
            return
        card = self.model.card
        rows, removed, newest = self._store.changes(
            self._last_id, self._last_removal, card.colors, card.types
        )
        positions = self._table.positions(removed)
        self._index.drop(positions)
        self._table.drop(positions)
        if rows:
            self._index.append(np.stack([row.embedding for row in rows]))
            self._table.append(rows)
            self._last_id = rows[-1].id
        self._last_removal = newest
        self._version = version

    def _checked(self, entry: Entry) -> tuple[Entry, str | None, str | None]:
        embedding = self._vector(entry.embedding, entry.key)
        card = self.model.card
        checked = Entry(**{**vars(entry), "embedding": embedding})
        return checked, _best(entry.color_probs, card.colors), _best(entry.type_probs, card.types)

    def _vector(self, embedding: np.ndarray, name: str) -> np.ndarray:
        dimension = self.model.card.outputs["embedding"]
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
        table, card = self._table, self.model.card
        color, kind = int(table.color[position]), int(table.type[position])
        camera, vehicle = int(table.camera[position]), int(table.vehicle[position])
        time = float(table.time[position])
        return Hit(
            key=table.keys[position],
            score=score,
            distance=distance,
            vehicle_id=None if vehicle == NO_ID else vehicle,
            camera=None if camera == NO_ID else camera,
            time=None if np.isnan(time) else time,
            color=None if color == UNKNOWN else card.colors[color],
            type=None if kind == UNKNOWN else card.types[kind],
        )


def _best(probabilities: np.ndarray, names: Sequence[str]) -> str | None:
    """The likeliest class, None where the model does not tell."""
    if not probabilities.size or not np.isfinite(probabilities).all():
        return None
    return names[int(np.argmax(probabilities))]
