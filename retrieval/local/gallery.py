"""A gallery in a folder: SQLite is the truth, FAISS and the columns in memory are derived from it."""

import shutil
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np

from retrieval.gallery.base import (
    NEWCOMERS,
    Gallery,
    Newcomers,
    UnknownKeyError,
    check_model,
    with_sameness,
)
from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Camera, Entry, GalleryModel, Origin, Result, results_of
from retrieval.gallery.filters import Filters
from retrieval.gallery.ranking import nearest_first, similarity
from retrieval.local import snapshot, vector_search
from retrieval.local.centred_vectors import compared
from retrieval.local.checksums import DamagedError
from retrieval.local.index_policy import IndexPolicy, check_index
from retrieval.local.masks import mask_of
from retrieval.local.store import FILE_NAME, Store
from retrieval.local.synchronizer import ReadTransaction, Synchronizer
from retrieval.local.table import NO_ID
from zoo.camera_means import CameraMeans, CameraSums
from zoo.card import Card
from zoo.errors import UserError

_CENTRING = "camera_centring"
"""Its name among the facts of the whole gallery."""


class LocalGallery(Gallery):
    """One process writes while others search; a reader notices what was committed at its next search."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        model: GalleryModel,
        writable: bool,
        policy: IndexPolicy,
        camera_centring: bool,
    ) -> None:
        self.name = str(folder)
        self.folder = folder
        self.owns_folder = True
        self.model = model
        self.writable = writable
        self.camera_centring = camera_centring
        self._store = store
        self.synchronizer = Synchronizer(folder, store, model, writable, policy, camera_centring)

    @classmethod
    def open_folder(
        cls,
        folder: Path,
        model: GalleryModel | None,
        writable: bool,
        index: str | None,
        policy: IndexPolicy | None,
        camera_centring: bool | None = None,
    ) -> "LocalGallery":
        """See `galleries.open_gallery`."""
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; a gallery is a folder")
        if index is not None:
            check_index(index)
        store = Store(folder, writable)
        try:
            with store.reading() as reader:
                meta = reader.meta()
            if "model_hash" not in meta:
                if model is None or not writable:
                    raise UserError(
                        f"{folder}: the gallery is empty; fill it with `python -m retrieval.ingest`"
                    )
                meta |= {"card": model.card.to_json(), "encoder": model.encoder, "model_hash": model.hash}
                store.set_meta(meta)
            card = Card.from_json(meta["card"], f"the card in {folder}")
            held = GalleryModel(card, meta["model_hash"], meta["encoder"])
            check_model(str(folder), held, model)
            held = with_sameness(held, model)
            if model is not None and writable and model.encoder not in ("", held.encoder):
                # The same weights at another place: later commands should look for them there.
                store.set_meta({"encoder": model.encoder})
                held = replace(held, encoder=model.encoder)
            if index is not None and writable:
                store.set_meta({"index": index})
            if camera_centring is not None and writable:
                store.set_meta({_CENTRING: "on" if camera_centring else "off"})
            centres = meta.get(_CENTRING) == "on" if camera_centring is None else camera_centring
            chosen = index or meta.get("index") or (policy or IndexPolicy()).index
            policy = replace(policy or IndexPolicy(), index=chosen)
            return cls(folder, store, held, writable, policy, centres)
        except BaseException:
            store.close()
            raise

    def read_transaction(self) -> AbstractContextManager[object]:
        """Answer from one state: a transaction of SQLite, and what is derived of just that state.

        While it lasts, no vectors enter a quantised index, so it should not last long.
        """
        return self.synchronizer.reading()

    def __len__(self) -> int:
        with self.synchronizer.reading() as state:
            return len(state.derived.table) - state.derived.table.dead

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

    def search(
        self,
        embedding: np.ndarray,
        k: int = 10,
        filters: Filters | None = None,
        *,
        camera: int | None = None,
        is_centred: bool = False,
    ) -> list[Result]:
        """Find the nearest; see `Gallery.search`."""
        with self.synchronizer.reading() as state:
            query = self._query(embedding, k, camera, is_centred)
            positions, distances = self._nearest(state, query, k, filters)
            scores = similarity(distances, query, self.model.card.metric)
            ids = state.derived.table["ids"][positions].tolist()
            return _results(state, ids, scores.tolist(), distances.tolist())

    def rank(
        self,
        embedding: np.ndarray,
        k: int = 0,
        filters: Filters | None = None,
        *,
        camera: int | None = None,
    ) -> list[str]:
        """The keys of `search` without the rest."""
        with self.synchronizer.reading() as state:
            positions, _ = self._nearest(state, self._query(embedding, k, camera), k, filters)
            return [state.derived.table.key(position) for position in positions.tolist()]

    def camera_means(self) -> CameraMeans:
        """The camera means of the images that it holds now."""
        with self.synchronizer.reading() as state:
            return state.derived.means or CameraSums(self.model.card.outputs["embedding"]).means

    def _nearest(
        self, state: ReadTransaction, query: np.ndarray, k: int, filters: Filters | None
    ) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self._nearest_as_derived(state, query, k, filters)
        except DamagedError:
            self.synchronizer.derive_anew(state)
            return self._nearest_as_derived(state, query, k, filters)

    def _nearest_as_derived(
        self, state: ReadTransaction, query: np.ndarray, k: int, filters: Filters | None
    ) -> tuple[np.ndarray, np.ndarray]:
        mask = self._mask(state, filters)
        positions, distances = vector_search.search(state.derived, query, k, mask, self.model.card.metric)
        return nearest_first(positions, distances, state.derived.table.key, k)

    def _mask(self, state: ReadTransaction, filters: Filters | None) -> np.ndarray | None:
        chosen = filters or Filters()
        cameras = list(state.reader.cameras().values()) if chosen.near else ()
        return mask_of(chosen, state.derived.table, self.model.card, cameras)

    def _check_missing(self, state: ReadTransaction, keys: Sequence[str], found: Collection[str]) -> None:
        """Refuse an answer where the database does not find a key that the table in memory has."""
        missing = set(keys).difference(found)
        table = state.derived.table
        if missing and table["alive"][table.keys.among(missing)].any():
            raise sqlite3.DatabaseError("an image is not found by its key")

    def count(self, filters: Filters | None = None) -> int:
        """How many images meet the filters."""
        with self.synchronizer.reading() as state:
            mask = self._mask(state, filters)
            return len(state.derived.table) if mask is None else int(np.count_nonzero(mask))

    def sample(self, count: int, filters: Filters | None = None) -> np.ndarray:
        """Embeddings of images that meet the filters, spread evenly over them."""
        with self.synchronizer.reading() as state:
            try:
                return self._sample_as_derived(state, count, filters)
            except DamagedError:
                self.synchronizer.derive_anew(state)
                return self._sample_as_derived(state, count, filters)

    def _sample_as_derived(self, state: ReadTransaction, count: int, filters: Filters | None) -> np.ndarray:
        derived, mask = state.derived, self._mask(state, filters)
        there = np.arange(len(derived.table)) if mask is None else np.flatnonzero(mask)
        vectors = compared(derived.vectors, derived.table["camera"], derived.means, self.model.card.metric)
        places = np.linspace(0, len(there) - 1, min(count, len(there))).astype(int)
        return np.asarray(vectors.rows(there[places]))

    def newcomers(self, since: int | None, filters: Filters | None = None) -> Newcomers:
        """What came after a moment, which is the last id that there was."""
        with self.synchronizer.reading() as state:
            derived, ids = state.derived, state.derived.table["ids"]
            last = int(ids[-1]) if len(ids) else 0
            start = len(ids) if since is None else int(np.searchsorted(ids, since, "right"))
            if start == len(ids):
                nothing = np.zeros((0, self.model.card.outputs["embedding"]), np.float32)
                return Newcomers(last, [], nothing)
            stop = min(start + NEWCOMERS, len(ids))
            mask = self._mask(state, filters)
            allowed = derived.table["alive"] if mask is None else mask
            positions = start + np.flatnonzero(allowed[start:stop])
            metric = self.model.card.metric
            vectors = compared(derived.vectors, derived.table["camera"], derived.means, metric)
            keys = [derived.table.key(position) for position in positions.tolist()]
            return Newcomers(int(ids[stop - 1]), keys, np.asarray(vectors.rows(positions)))

    def predicted_classes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Camera, likeliest colour and likeliest type of every image."""
        with self.synchronizer.reading() as state:
            table = state.derived.table
            cameras, colors, types = (table[name][table["alive"]] for name in ("camera", "color", "type"))
            return cameras, colors, types

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images, float32 [M, D]."""
        with self.synchronizer.reading() as state:
            found = state.reader.embeddings(keys)
            self._check_missing(state, keys, found)
        for key in keys:
            if key not in found:
                raise UnknownKeyError(f"{key!r}: the gallery has no image of this key")
        dimension = self.model.card.outputs["embedding"]
        return np.array([found[key] for key in keys], np.float32).reshape(len(keys), dimension)

    def get(self, key: str) -> Entry | None:
        """Everything that the gallery holds of an image."""
        with self.synchronizer.reading() as state:
            found = state.reader.entry(key)
            self._check_missing(state, [key], () if found is None else (key,))
            return found

    def entries(self, batch: int = 256) -> Iterator[list[Entry]]:
        """Everything that the gallery holds, in batches, in the order in which it came."""
        last_id = 0
        while True:
            # By the ids that memory has: whether one is missing in the database shows then.
            with self.synchronizer.reading() as state:
                table = state.derived.table
                start = int(np.searchsorted(table["ids"], last_id, "right"))
                window = slice(start, start + batch)
                ids = table["ids"][window]
                found = state.reader.entries(ids[table["alive"][window]].tolist())
            if not len(ids):
                return
            if found:
                yield found
            last_id = int(ids[-1])

    def results(self, keys: Sequence[str]) -> list[Result]:
        """The images of those keys that are there."""
        with self.synchronizer.reading() as state:
            ids = state.reader.ids(keys)
            self._check_missing(state, keys, ids)
            return _results(state, [ids[key] for key in keys if key in ids])

    def browse(
        self,
        filters: Filters | None = None,
        limit: int = 100,
        offset: int = 0,
        without: Collection[str] = (),
    ) -> list[Result]:
        """Find by attributes alone; see `Gallery.browse`."""
        with self.synchronizer.reading() as state:
            table = state.derived.table
            mask = self._mask(state, filters)
            positions = np.arange(len(table)) if mask is None else np.flatnonzero(mask)
            time = np.nan_to_num(-table["time"][positions], nan=np.inf)
            keys = [table.key(position) for position in positions.tolist()]
            order = sorted(range(len(keys)), key=lambda place: (time[place], keys[place]))
            kept = [place for place in order if keys[place] not in without] if without else order
            return _results(state, table["ids"][positions[kept[offset : offset + limit]]].tolist())

    def pictures(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Of those keys that are there, the small JPEGs."""
        with self.synchronizer.reading() as state:
            found = state.reader.pictures(keys)
            self._check_missing(state, keys, found)
            return found

    def holds_passes(self) -> bool:
        """Whether some of its entries are passes."""
        with self.synchronizer.reading() as state:
            return state.reader.holds_passes()

    def crops(self, keys: Sequence[str]) -> dict[str, tuple[PassCrop, ...]]:
        """Of those keys that are there and are passes, the images that they are made of."""
        with self.synchronizer.reading() as state:
            return state.reader.crops(keys)

    def origins(self, keys: Sequence[str]) -> dict[str, Origin]:
        """Of those keys that are there, their sources and the digests of these."""
        with self.synchronizer.reading() as state:
            return state.reader.origins(keys)

    def sample_keys(self, count: int) -> list[str]:
        """Keys spread evenly over the gallery."""
        with self.synchronizer.reading() as state:
            table = state.derived.table
            alive = np.flatnonzero(table["alive"])
            if not alive.size:
                return []
            places = np.linspace(0, len(alive) - 1, min(count, len(alive))).astype(int)
            return [table.key(position) for position in alive[places].tolist()]

    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image comes from, by id."""
        with self.synchronizer.reading() as state:
            table, described = state.derived.table, state.reader.cameras()
            present = np.unique(table["camera"][table["alive"]]).tolist()
        seen = {camera: Camera.unnamed(camera) for camera in present if camera != NO_ID}
        return [camera for _, camera in sorted((seen | described).items())]

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        self._store.set_cameras(cameras)

    def time_range(self) -> tuple[float, float] | None:
        """The earliest and the latest known time in seconds."""
        with self.synchronizer.reading() as state:
            table = state.derived.table
            known = table["time"][table["alive"] & ~np.isnan(table["time"])]
            return (float(known.min()), float(known.max())) if known.size else None


def _results(
    state: ReadTransaction,
    ids: Sequence[int],
    scores: Iterable[float | None] = repeat(None),
    distances: Iterable[float | None] = repeat(None),
) -> list[Result]:
    """Results of images by their ids, all of them there, in that order."""
    return results_of(state.reader.rows(ids), state.reader.cameras(), scores, distances)


def recorded_encoder(folder: Path) -> str:
    """See `galleries.recorded_encoder`."""
    if not (folder / FILE_NAME).is_file():
        return ""
    store = Store(folder, writable=False)
    try:
        with store.reading() as reader:
            return reader.meta().get("encoder", "")
    finally:
        store.close()


def erase_traces(folder: Path) -> None:
    """Leave nothing of removed images in a gallery's files: neither in the database nor in derived ones.

    Raises:
        UserError: another process writes, or see `Store.compact`.
    """
    store = Store(folder, writable=True)
    try:
        store.compact()
        shutil.rmtree(folder / snapshot.FOLDER, ignore_errors=True)
    finally:
        store.close()
    # Makes anew what is derived.
    LocalGallery.open_folder(folder, None, writable=True, index=None, policy=None).close()
