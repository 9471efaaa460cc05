"""A gallery in Milvus, for more images than one machine holds; or in a file of Milvus Lite."""

import heapq
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from retrieval.gallery.base import Gallery, UnknownKeyError, check_model, with_sameness
from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Camera, Entry, GalleryModel, Origin, Result, results_of
from retrieval.gallery.filters import Filters
from retrieval.gallery.ranking import similarity
from retrieval.milvus.about import About, change_index, create_images
from retrieval.milvus.camera_statistics import CameraStatistics, StatisticsReader
from retrieval.milvus.connection import Address, Connection, parse_address
from retrieval.milvus.crops import Crops
from retrieval.milvus.filters import IS_TIME_KNOWN, expression_of
from retrieval.milvus.rows import (
    SHOWN,
    are_equal,
    as_known,
    as_result_row,
    entry_of,
    index_kind,
    picture_of,
    row_id,
    row_of,
)
from retrieval.milvus.search import Row, Search, inside
from zoo.camera_means import NO_CAMERA, CameraMeans
from zoo.card import Card
from zoo.errors import UserError

_ROWS_A_REQUEST = 200


@dataclass
class _Seen:
    """What one thread has read in a read transaction.

    Attributes:
        embeddings: of the last search's results, float32 [D], by key.
        cameras: None until somebody has asked for them.
        statistics: of the cameras, likewise.
    """

    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    cameras: list[Camera] | None = None
    statistics: CameraStatistics | None = None


class MilvusGallery(Gallery):
    """Milvus proposes candidates and applies the filters; their order is decided here, in float64.

    So it answers what a folder's exact search answers, as long as the collection's index is exact (`FLAT`).
    Any number of processes may write to a server at once; what Milvus acknowledged, it keeps.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        address: Address,
        model: GalleryModel,
        writable: bool,
        camera_centring: bool,
    ) -> None:
        self.name = name
        self.folder = Path(".")
        self.owns_folder = False
        self.model = model
        self.writable = writable
        self.camera_centring = camera_centring
        self._connection = connection
        self._images = address.collection
        self._about = About(connection, address)
        self._crops = Crops(connection, address)
        index = str(connection.call("describe_index", self._images, "embedding")["index_type"])
        fields = connection.call("describe_collection", self._images)["fields"]
        is_nullable = any(field.get("nullable") for field in fields)
        self._search = Search(connection, self._images, index, is_nullable, model.card)
        self._statistics = StatisticsReader(
            connection, self._images, self._about, model.card.outputs["embedding"], model.card.metric
        )
        self._seen_cameras: set[int] = set()
        self._own = threading.local()
        # Milvus Lite takes one writer at a time.
        self._writing = threading.Lock()

    @classmethod
    def open_named(
        cls,
        name: str,
        model: GalleryModel | None,
        writable: bool,
        index: str | None,
        camera_centring: bool | None,
    ) -> "MilvusGallery":
        """See `galleries.open_gallery`."""
        kind = index_kind(index)
        address = parse_address(name)
        if address.file is not None and not writable and not address.file.exists():
            raise UserError(f"{name}: no gallery there; make one with `python -m retrieval.ingest`")
        if address.file is not None:
            address.file.parent.mkdir(parents=True, exist_ok=True)
        connection = Connection(name, address)
        try:
            about = About(connection, address)
            if not about.exists():
                if model is None or not writable:
                    raise UserError(f"{name}: no gallery there; make one with `python -m retrieval.ingest`")
                create_images(connection, address, model.card, kind)
                about.create(model)
            connection.call("load_collection", address.collection)
            known = about.load()
            card = Card.from_json(known["card"], f"the card in {name}")
            held = GalleryModel(card, known["model_hash"], known["encoder"])
            check_model(name, held, model)
            held = with_sameness(held, model)
            if model is not None and writable and model.encoder not in ("", held.encoder):
                about.set_encoder(model.encoder)
                held = replace(held, encoder=model.encoder)
            described = connection.call("describe_index", address.collection, "embedding")
            if index is not None and writable and described["index_type"] != kind:
                change_index(connection, address, card, kind)
            if camera_centring is not None and writable:
                about.set_centring(camera_centring)
            centres = known.get("camera_centring") == "on" if camera_centring is None else camera_centring
            return cls(name, connection, address, held, writable, centres)
        except BaseException:
            connection.close()
            raise

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Answer from one state, as far as Milvus can.

        Each request is of one state, but the next may be of a later one. A search's requests may lack what
        others wrote in the last moment, see `Connection.recent`; all others see all that was acknowledged. So
        a search reads all that its results need in one request, and the embeddings of its results, and the
        cameras, are kept for whatever is asked next in the same transaction. What else is asked may be newer,
        or have gone.
        """
        if self._seen is not None:
            yield
            return
        self._own.seen = _Seen()
        try:
            yield
        finally:
            self._own.seen = None

    @property
    def _seen(self) -> _Seen | None:
        return getattr(self._own, "seen", None)

    def __len__(self) -> int:
        return self._search.count("")

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    def add(self, entries: Iterable[Entry]) -> int:
        """Add images; an add that is cut short may have kept a part of them, and can be repeated."""
        self._may_write()
        checked = [self._checked(entry) for entry in entries]
        changed = 0
        with self._writing:
            for start in range(0, len(checked), _ROWS_A_REQUEST):
                part = checked[start : start + _ROWS_A_REQUEST]
                rows = self._rows([entry.key for entry in part], ["*"])
                known = {entry.key: entry for entry in self._whole(rows)}
                fresh = {}
                for entry in part:
                    if entry.key not in known or not are_equal(entry, known[entry.key]):
                        known[entry.key] = fresh[entry.key] = entry
                        changed += 1
                self._note_cameras(fresh.values())
                if fresh:
                    self._crops.write(list(fresh.values()))
                    rows = [row_of(entry) for entry in fresh.values()]
                    self._connection.call("upsert", self._images, rows)
                    self._about.note_change()
        return changed

    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; return how many of the keys were there."""
        self._may_write()
        with self._writing:
            found = [row["id"] for row in self._rows(list(keys), ["id"])]
            if found:
                self._connection.call("delete", self._images, ids=found)
                self._crops.remove(found)
                self._about.note_change()
        return len(found)

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
        chosen = filters or Filters()
        with self.read_transaction():
            query = self._query(embedding, k, camera, is_centred)
            rows, values = self._nearest(query, k, chosen, SHOWN)
            if self._seen is not None:
                found = {row["name"]: row["embedding"] for row in rows if "embedding" in row}
                self._seen.embeddings = found
            scores = similarity(values, query, self.model.card.metric)
            return self._results(rows, scores.tolist(), values.tolist())

    def _results(
        self,
        rows: Sequence[Row],
        scores: Iterable[float | None] = repeat(None),
        distances: Iterable[float | None] = repeat(None),
    ) -> list[Result]:
        cameras = {camera.id: camera for camera in self.cameras()} if rows else {}
        shown = [as_result_row(row, self.model.card) for row in rows]
        return results_of(shown, cameras, scores, distances)

    def rank(
        self,
        embedding: np.ndarray,
        k: int = 0,
        filters: Filters | None = None,
        *,
        camera: int | None = None,
    ) -> list[str]:
        """The keys of `search` without the rest."""
        with self.read_transaction():
            query = self._query(embedding, k, camera)
            rows, _ = self._nearest(query, k, filters or Filters(), ["name"])
        return [row["name"] for row in rows]

    def _nearest(
        self, query: np.ndarray, k: int, filters: Filters, fields: list[str]
    ) -> tuple[list[Row], np.ndarray]:
        statistics = self._camera_statistics() if self.camera_centring else None
        return self._search.nearest(query, k, filters, self._expression(filters), fields, statistics)

    def camera_means(self) -> CameraMeans:
        """The camera means of the images that it holds now, as far as Milvus can tell."""
        return self._camera_statistics().means

    def predicted_classes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Camera, likeliest colour and likeliest type of every image."""
        fields = ["camera", "color", "type"]
        rows = [row for batch in self._connection.scan(self._images, "", fields) for row in batch]
        cameras, colors, types = (
            np.array([nothing if row[name] is None else row[name] for row in rows], np.int64)
            for name, nothing in zip(fields, (NO_CAMERA, -1, -1), strict=True)
        )
        return cameras, colors, types

    def count(self, filters: Filters | None = None) -> int:
        """How many images meet the filters; those in a circle are read to be counted."""
        chosen = filters or Filters()
        expression = self._expression(chosen)
        if chosen.near is None:
            return self._search.count(expression)
        batches = self._connection.scan(self._images, expression, ["camera", "latitude", "longitude"])
        return sum(len(inside(batch, chosen)) for batch in batches)

    def sample(self, count: int, filters: Filters | None = None) -> np.ndarray:
        """Embeddings of the first images, in the order of their ids, which are hashes of their keys."""
        chosen, fields = filters or Filters(), ["camera", "embedding", "latitude", "longitude"]
        expression = self._expression(chosen)
        if chosen.near is None:
            asked = {"filter": expression, "limit": count, "output_fields": fields}
            rows = [as_known(row) for row in self._connection.call("query", self._images, **asked)]
        else:
            batches = self._connection.scan(self._images, expression, fields)
            rows = list(islice((row for batch in batches for row in inside(batch, chosen)), count))
        dimension = self.model.card.outputs["embedding"]
        found = np.asarray([row["embedding"] for row in rows], np.float32).reshape(len(rows), dimension)
        return self.centred(found, [row["camera"] for row in rows])

    def _camera_statistics(self) -> CameraStatistics:
        seen = self._seen
        if seen is None:
            return self._statistics.read()
        if seen.statistics is None:
            seen.statistics = self._statistics.read()
        return seen.statistics

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images, float32 [M, D]."""
        found = dict(self._seen.embeddings) if self._seen else {}
        missing = [key for key in keys if key not in found]
        found |= {row["name"]: row["embedding"] for row in self._rows(missing, ["name", "embedding"])}
        for key in keys:
            if key not in found:
                raise UnknownKeyError(f"{key!r}: the gallery has no image of this key")
        dimension = self.model.card.outputs["embedding"]
        return np.asarray([found[key] for key in keys], np.float32).reshape(len(keys), dimension)

    def get(self, key: str) -> Entry | None:
        """Everything that the gallery holds of an image."""
        found = self._whole(self._rows([key], ["*"]))
        return found[0] if found else None

    def entries(self, batch: int = 256) -> Iterator[list[Entry]]:
        """Everything that the gallery holds, in batches, in an order of Milvus'."""
        for rows in self._connection.scan(self._images, "", ["*"]):
            for start in range(0, len(rows), batch):
                yield self._whole(rows[start : start + batch])

    def _whole(self, rows: Sequence[Row]) -> list[Entry]:
        crops = self._crops.read([row["name"] for row in rows])
        return [entry_of(row, crops.get(row["name"], ())) for row in rows]

    def results(self, keys: Sequence[str]) -> list[Result]:
        """The images of those keys that are there."""
        found = {row["name"]: row for row in self._rows(keys, SHOWN)}
        return self._results([found[key] for key in keys if key in found])

    def browse(
        self,
        filters: Filters | None = None,
        limit: int = 100,
        offset: int = 0,
        without: Collection[str] = (),
    ) -> list[Result]:
        """Find by attributes alone: Milvus sorts nothing, so that all that meet the filters are read."""
        chosen = filters or Filters()
        with self.read_transaction():
            found = (
                (float("inf") if row["time"] is None else -row["time"], row["name"], row)
                for batch in self._connection.scan(self._images, self._expression(chosen), SHOWN)
                for row in inside(batch, chosen)
                if row["name"] not in without
            )
            return self._results([row for *_, row in heapq.nsmallest(offset + limit, found)[offset:]])

    def pictures(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Of those keys that are there, the small JPEGs."""
        return {row["name"]: picture_of(row) for row in self._rows(keys, ["name", "picture"])}

    def holds_passes(self) -> bool:
        """Whether some of its entries are passes."""
        return self._crops.is_any()

    def crops(self, keys: Sequence[str]) -> dict[str, tuple[PassCrop, ...]]:
        """Of those keys that are there and are passes, the images that they are made of, the best first."""
        return self._crops.read(keys, is_newest=False)

    def origins(self, keys: Sequence[str]) -> dict[str, Origin]:
        """Of those keys that are there, their sources and the digests of these."""
        found = self._rows(keys, ["name", "source", "digest"])
        return {row["name"]: Origin(row["source"], row["digest"]) for row in found}

    def sample_keys(self, count: int) -> list[str]:
        """Some keys."""
        rows = self._connection.call("query", self._images, filter="", limit=count, output_fields=["name"])
        return [row["name"] for row in rows]

    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image came from, by id."""
        seen = self._seen
        if seen is None:
            return self._about.cameras()
        if seen.cameras is None:
            seen.cameras = self._about.cameras()
        return seen.cameras

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        self._may_write()
        self._about.set_cameras(cameras)

    def time_range(self) -> tuple[float, float] | None:
        """The earliest and the latest known time: Milvus does not tell, so that all times are read."""
        earliest, latest = float("inf"), float("-inf")
        for batch in self._connection.scan(self._images, IS_TIME_KNOWN, ["time"]):
            times = [row["time"] for row in batch]
            earliest, latest = min(earliest, *times), max(latest, *times)
        return None if earliest > latest else (earliest, latest)

    def _expression(self, filters: Filters) -> str:
        return expression_of(filters, self.model.card, self.cameras() if filters.near else ())

    def _rows(self, keys: Sequence[str], fields: list[str]) -> list[Row]:
        """The rows of those keys that are there, each once."""
        ids = list(dict.fromkeys(row_id(key) for key in keys))
        rows: list[Row] = []
        for start in range(0, len(ids), _ROWS_A_REQUEST):
            part = ids[start : start + _ROWS_A_REQUEST]
            found = self._connection.call("get", self._images, ids=part, output_fields=fields)
            rows += [as_known(row) for row in found]
        return rows

    def _note_cameras(self, entries: Iterable[Entry]) -> None:
        """See that `cameras` knows every camera before an image of it is there."""
        fresh = {entry.camera for entry in entries if entry.camera is not None} - self._seen_cameras
        if not fresh:
            return
        known = {camera.id for camera in self.cameras()}
        self.set_cameras(Camera.unnamed(camera) for camera in sorted(fresh - known))
        self._seen_cameras |= fresh

    def _may_write(self) -> None:
        if not self.writable:
            raise UserError(f"{self.name}: was opened for searching (readonly); open it for writing")


def recorded_encoder(name: str) -> str:
    """See `galleries.recorded_encoder`."""
    address = parse_address(name)
    if address.file is not None and not address.file.exists():
        return ""
    connection = Connection(name, address)
    try:
        about = About(connection, address)
        return about.load().get("encoder", "") if about.exists() else ""
    finally:
        connection.close()
