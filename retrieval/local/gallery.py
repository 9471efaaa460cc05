"""A gallery in a folder: SQLite is the truth, FAISS and the columns in memory are derived from it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from retrieval.gallery.base import Gallery, check_model
from retrieval.gallery.entries import Camera, Entry, GalleryModel, Hit
from retrieval.gallery.filters import Filters
from retrieval.gallery.ranking import nearest_first, similarity
from retrieval.local import vector_search
from retrieval.local.index_policy import IndexPolicy, check_index
from retrieval.local.masks import mask_of
from retrieval.local.snapshot import Derived
from retrieval.local.store import FILE_NAME, Store
from retrieval.local.synchronizer import Synchronizer
from retrieval.local.table import NO_ID, Table
from zoo.card import Card
from zoo.errors import UserError


class LocalGallery(Gallery):
    """One process writes while others search; a reader notices what was committed at its next search."""

    def __init__(
        self, folder: Path, store: Store, model: GalleryModel, writable: bool, policy: IndexPolicy
    ) -> None:
        self.name = str(folder)
        self.folder = folder
        self.model = model
        self.writable = writable
        self._store = store
        self.synchronizer = Synchronizer(folder, store, model, writable, policy)

    @classmethod
    def open_folder(
        cls,
        folder: Path,
        model: GalleryModel | None,
        writable: bool,
        index: str | None,
        policy: IndexPolicy | None,
    ) -> "LocalGallery":
        """See `galleries.open_gallery`."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; a gallery is a folder")
        if index is not None:
            check_index(index)
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
            held = GalleryModel(card, meta["model_hash"], meta["encoder"])
            check_model(str(folder), held, model)
            if model is not None and writable and model.encoder not in ("", held.encoder):
                # The same weights at another place: later commands should look for them there.
                store.set_meta({"encoder": model.encoder})
                held = GalleryModel(card, held.hash, model.encoder)
            if index is not None and writable:
                store.set_meta({"index": index})
            chosen = index or meta.get("index") or (policy or IndexPolicy()).index
            return cls(folder, store, held, writable, replace(policy or IndexPolicy(), index=chosen))
        except BaseException:
            store.close()
            raise

    def __len__(self) -> int:
        with self.synchronizer.reading() as derived:
            return len(derived.table) - derived.table.dead

    def close(self) -> None:
        """Finish the index, write down what is only in memory, and let the next writer in."""
        try:
            self.synchronizer.close()
        finally:
            self._store.close()

    def add(self, entries: Iterable[Entry]) -> int:
        """Add images; when this returns they survive whatever happens to the process."""
        checked = [self._checked(entry) for entry in entries]
        with self.synchronizer.changing():
            return self._store.add(checked, self.model.card)

    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; when this returns, that survives likewise."""
        with self.synchronizer.changing():
            return self._store.remove(keys)

    def search(self, embedding: np.ndarray, k: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Find the nearest; see `Gallery.search`."""
        query = self._query(embedding, k)
        with self.synchronizer.reading() as derived:
            positions, distances = self._nearest(derived, query, k, filters)
            scores = similarity(distances, query, self.model.card.metric)
            return [
                self._hit(derived.table, int(position), float(score), float(distance))
                for position, score, distance in zip(positions, scores, distances, strict=True)
            ]

    def rank(self, embedding: np.ndarray, k: int = 0, filters: Filters | None = None) -> list[str]:
        """The keys of `search` without the rest."""
        query = self._query(embedding, k)
        with self.synchronizer.reading() as derived:
            positions, _ = self._nearest(derived, query, k, filters)
            return [derived.table.key(position) for position in positions.tolist()]

    def _nearest(
        self, derived: Derived, query: np.ndarray, k: int, filters: Filters | None
    ) -> tuple[np.ndarray, np.ndarray]:
        mask = self._mask(derived.table, filters or Filters())
        positions, distances = vector_search.search(derived, query, k, mask, self.model.card.metric)
        return nearest_first(positions, distances, derived.table.key, k)

    def _mask(self, table: Table, filters: Filters) -> np.ndarray | None:
        return mask_of(filters, table, self.model.card, self._store.cameras() if filters.near else ())

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images, float32 [M, D]."""
        found = []
        for key in keys:
            entry = self._store.entry(key)
            if entry is None:
                raise UserError(f"{key!r}: the gallery has no image of this key")
            found.append(entry.embedding)
        return np.stack(found) if found else np.zeros((0, self.model.card.outputs["embedding"]), np.float32)

    def get(self, key: str) -> Entry | None:
        """Everything that the gallery holds of an image."""
        return self._store.entry(key)

    def entries(self, batch: int = 256) -> Iterator[list[Entry]]:
        """Everything that the gallery holds, in batches, in the order in which it came."""
        last_id = 0
        while found := self._store.entries(last_id, batch):
            yield [entry for _, entry in found]
            last_id = found[-1][0]

    def browse(self, filters: Filters | None = None, limit: int = 100, offset: int = 0) -> list[str]:
        """Keys by attributes alone; see `Gallery.browse`."""
        with self.synchronizer.reading() as derived:
            table = derived.table
            mask = self._mask(table, filters or Filters())
            positions = np.arange(len(table)) if mask is None else np.flatnonzero(mask)
            time = np.nan_to_num(-table["time"][positions], nan=np.inf)
            keys = [table.key(position) for position in positions.tolist()]
            order = sorted(range(len(keys)), key=lambda place: (time[place], keys[place]))
            return [keys[place] for place in order[offset : offset + limit]]

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image."""
        return self._store.picture(key)

    def digests(self, keys: Sequence[str]) -> dict[str, str]:
        """Of those keys that are there, the digests of their source files."""
        return self._store.digests(keys)

    def sample_keys(self, count: int) -> list[str]:
        """Keys spread evenly over the gallery."""
        with self.synchronizer.reading() as derived:
            alive = np.flatnonzero(derived.table["alive"])
            if not alive.size:
                return []
            places = np.linspace(0, len(alive) - 1, min(count, len(alive))).astype(int)
            return [derived.table.key(position) for position in alive[places].tolist()]

    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image comes from, by id."""
        described = {camera.id: camera for camera in self._store.cameras()}
        with self.synchronizer.reading() as derived:
            table = derived.table
            present = [int(id) for id in np.unique(table["camera"][table["alive"]]) if id != NO_ID]
        return [
            described.get(camera, Camera(camera, f"camera {camera}"))
            for camera in sorted({*described, *present})
        ]

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        self._store.set_cameras(cameras)

    def time_range(self) -> tuple[float, float] | None:
        """The earliest and the latest known time in seconds."""
        with self.synchronizer.reading() as derived:
            table = derived.table
            known = table["time"][table["alive"] & ~np.isnan(table["time"])]
            return (float(known.min()), float(known.max())) if known.size else None

    def _hit(self, table: Table, position: int, score: float, distance: float) -> Hit:
        card = self.model.card
        color, kind = table.value("color", position), table.value("type", position)
        return Hit(
            key=table.key(position),
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


def recorded_encoder(folder: Path) -> str:
    """See `galleries.recorded_encoder`."""
    if not (folder / FILE_NAME).is_file():
        return ""
    store = Store(folder, writable=False)
    try:
        return store.meta().get("encoder", "")
    finally:
        store.close()


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
