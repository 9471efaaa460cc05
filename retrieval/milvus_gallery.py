"""A gallery in Milvus, for more images than one machine holds; or in a file of Milvus Lite."""

import heapq
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import distances
from retrieval.entries import Camera, Entry, Hit, Model
from retrieval.filters import Filters
from retrieval.gallery import Gallery, check_model
from retrieval.milvus_connection import MAX_FETCH, Address, Connection, parse_address
from retrieval.milvus_filters import expression_of, holds
from retrieval.milvus_rows import (
    INDEXES,
    SHOWN,
    about_schema,
    are_equal,
    entry_of,
    hit_of,
    index_kind,
    picture_of,
    row_id,
    row_of,
    schema_of,
)
from retrieval.ranking import nearest_first, similarity
from zoo.card import Card
from zoo.errors import UserError

_ROWS_A_REQUEST = 200
_CAMERA = "camera/"
_PLACE = ["latitude", "longitude"]

Row = dict[str, Any]


class MilvusGallery(Gallery):
    """Milvus proposes candidates and applies the filters; their order is decided here, in float64.

    So it answers what a folder's exact search answers, as long as the collection's index is exact (`FLAT`).
    Any number of processes may write to a server at once; what Milvus acknowledged, it keeps.
    """

    def __init__(
        self, name: str, connection: Connection, address: Address, model: Model, writable: bool
    ) -> None:
        self.name = name
        self.folder = Path(".")
        self.model = model
        self.writable = writable
        self._connection = connection
        self._images = address.collection
        self._about = _about(address)
        self._seen_cameras: set[int] = set()
        # Milvus Lite takes one writer at a time.
        self._writing = threading.Lock()
        described = connection.call("describe_index", self._images, "embedding")
        self._index = str(described["index_type"])

    @classmethod
    def open_named(cls, name: str, model: Model | None, writable: bool, index: str | None) -> "MilvusGallery":
        """See `Gallery.open`."""
        kind = index_kind(index)
        address = parse_address(name)
        if address.file is not None and not writable and not address.file.exists():
            raise UserError(f"{name}: no gallery there; make one with `python -m retrieval.ingest`")
        if address.file is not None:
            address.file.parent.mkdir(parents=True, exist_ok=True)
        connection = Connection(name, address)
        try:
            if not connection.call("has_collection", _about(address)):
                if model is None or not writable:
                    raise UserError(f"{name}: no gallery there; make one with `python -m retrieval.ingest`")
                _create(connection, address, model, kind)
            for collection in (address.collection, _about(address)):
                connection.call("load_collection", collection)
            about = _read_about(connection, address)
            card = Card.from_json(about["card"], f"the card in {name}")
            held = Model(card, about["model_hash"], about["encoder"])
            check_model(name, held, model)
            if model is not None and writable and model.encoder not in ("", held.encoder):
                _write_about(connection, address, {"encoder": model.encoder})
                held = Model(card, held.hash, model.encoder)
            gallery = cls(name, connection, address, held, writable)
            if index is not None and writable and gallery._index != kind:
                gallery._change_index(kind)
            return gallery
        except BaseException:
            connection.close()
            raise

    def __len__(self) -> int:
        return self._count("")

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
                known = {row["name"]: entry_of(row) for row in self._rows([e.key for e in part], ["*"])}
                fresh = {}
                for entry in part:
                    if entry.key not in known or not are_equal(entry, known[entry.key]):
                        known[entry.key] = fresh[entry.key] = entry
                        changed += 1
                self._note_cameras(fresh.values())
                if fresh:
                    rows = [row_of(entry) for entry in fresh.values()]
                    self._connection.call("upsert", self._images, rows)
        return changed

    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; return how many of the keys were there."""
        self._may_write()
        with self._writing:
            found = [row["id"] for row in self._rows(list(keys), ["id"])]
            if found:
                self._connection.call("delete", self._images, ids=found)
        return len(found)

    def search(self, embedding: np.ndarray, k: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Find the nearest; see `Gallery.search`."""
        query = self._query(embedding, k)
        rows, values = self._nearest(query, k, filters, SHOWN)
        scores = similarity(values, query, self.model.card.metric)
        return [
            hit_of(row, float(score), float(value), self.model.card)
            for row, score, value in zip(rows, scores, values, strict=True)
        ]

    def rank(self, embedding: np.ndarray, k: int = 0, filters: Filters | None = None) -> list[str]:
        """The keys of `search` without the rest."""
        rows, _ = self._nearest(self._query(embedding, k), k, filters, ["name"])
        return [row["name"] for row in rows]

    def _nearest(
        self, query: np.ndarray, k: int, filters: Filters | None, fields: list[str]
    ) -> tuple[list[Row], np.ndarray]:
        """The k nearest rows in order, and their distances."""
        chosen = filters or Filters()
        expression = self._expression(chosen)
        wanted = fields if chosen.near is None else sorted({*fields, *_PLACE})
        rows, values = self._candidates(query, k, chosen, expression, [*wanted, "embedding"])
        order, values = nearest_first(np.arange(len(rows)), values, lambda place: str(rows[place]["name"]), k)
        return [rows[place] for place in order.tolist()], values

    def _candidates(
        self, query: np.ndarray, k: int, filters: Filters, expression: str, fields: list[str]
    ) -> tuple[list[Row], np.ndarray]:
        """Rows with at least the k nearest among them, in no order."""
        metric = self.model.card.metric
        fetch = min(k + 32, MAX_FETCH) if k else 0
        while fetch:
            found = self._connection.call(
                "search",
                self._images,
                data=[query.tolist()],
                anns_field="embedding",
                limit=fetch,
                filter=expression,
                output_fields=fields,
                search_params={"metric_type": _metric(self.model.card), "params": self._effort(fetch)},
            )[0]
            rows = _inside([hit["entity"] for hit in found], filters)
            values = self._distances(query, rows)
            if len(found) < fetch and (len(rows) >= k or self._count(expression) == len(found)):
                return rows, values
            if len(found) == fetch and len(rows) >= k:
                last = float(found[-1]["distance"])
                last = 1 - last if metric == "cosine" else last
                if distances.is_settled(query, last, float(np.partition(values, k - 1)[k - 1]), metric):
                    return rows, values
            if fetch == MAX_FETCH or len(found) < fetch:
                break
            fetch = min(4 * fetch, MAX_FETCH)
        return self._scan(query, k, filters, expression, fields)

    def _scan(
        self, query: np.ndarray, k: int, filters: Filters, expression: str, fields: list[str]
    ) -> tuple[list[Row], np.ndarray]:
        """Compare everything that meets the filters, one by one."""
        rows: list[Row] = []
        values = np.zeros(0)
        for batch in self._connection.scan(self._images, expression, fields):
            fresh = _inside(batch, filters)
            values = np.append(values, self._distances(query, fresh))
            rows += fresh
            if k and len(rows) > 4 * k + MAX_FETCH:
                near = np.flatnonzero(values <= np.partition(values, k - 1)[k - 1])
                rows, values = [rows[place] for place in near.tolist()], values[near]
        return rows, values

    def _distances(self, query: np.ndarray, rows: list[Row]) -> np.ndarray:
        # They are no longer needed, and the larger part of a row.
        vectors = [row.pop("embedding") for row in rows]
        stored = np.asarray(vectors, np.float32).reshape(len(rows), len(query))
        return distances.distances(query, stored, self.model.card.metric)

    def _effort(self, fetch: int) -> dict[str, int]:
        """Parameters of a search; a graph has to look at more than it returns."""
        effort = dict(INDEXES.get(self._index, ({}, {}))[1])
        for name in ("ef", "search_list"):
            if name in effort:
                effort[name] = max(effort[name], 2 * fetch)
        return effort

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images, float32 [M, D]."""
        found = {row["name"]: row["embedding"] for row in self._rows(keys, ["name", "embedding"])}
        for key in keys:
            if key not in found:
                raise UserError(f"{key!r}: the gallery has no image of this key")
        dimension = self.model.card.outputs["embedding"]
        return np.asarray([found[key] for key in keys], np.float32).reshape(len(keys), dimension)

    def get(self, key: str) -> Entry | None:
        """Everything that the gallery holds of an image."""
        rows = self._rows([key], ["*"])
        return entry_of(rows[0]) if rows else None

    def entries(self, batch: int = 256) -> Iterator[list[Entry]]:
        """Everything that the gallery holds, in batches, in an order of Milvus'."""
        for rows in self._connection.scan(self._images, "", ["*"]):
            for start in range(0, len(rows), batch):
                yield [entry_of(row) for row in rows[start : start + batch]]

    def browse(self, filters: Filters | None = None, limit: int = 100, offset: int = 0) -> list[str]:
        """Keys by attributes alone: Milvus sorts nothing, so that all that meet the filters are read."""
        chosen = filters or Filters()
        batches = self._connection.scan(self._images, self._expression(chosen), ["name", "time", *_PLACE])
        found = (
            (float("inf") if row["time"] is None else -row["time"], row["name"])
            for batch in batches
            for row in _inside(batch, chosen)
        )
        return [name for _, name in heapq.nsmallest(offset + limit, found)[offset:]]

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image."""
        rows = self._rows([key], ["picture"])
        return picture_of(rows[0]) if rows else None

    def digests(self, keys: Sequence[str]) -> dict[str, str]:
        """Of those keys that are there, the digests of their source files."""
        return {row["name"]: row["digest"] for row in self._rows(keys, ["name", "digest"])}

    def sample_keys(self, count: int) -> list[str]:
        """Some keys."""
        rows = self._connection.call("query", self._images, filter="", limit=count, output_fields=["name"])
        return [row["name"] for row in rows]

    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image came from, by id."""
        rows = self._connection.call(
            "query", self._about, filter=f'id like "{_CAMERA}%"', output_fields=["value"], limit=MAX_FETCH
        )
        return sorted((Camera(**json.loads(row["value"])) for row in rows), key=lambda camera: camera.id)

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        self._may_write()
        described = {f"{_CAMERA}{c.id}": json.dumps(asdict(c), ensure_ascii=False) for c in cameras}
        _upsert_about(self._connection, self._about, described)

    def time_range(self) -> tuple[float, float] | None:
        """The earliest and the latest known time: Milvus does not tell, so that all times are read."""
        earliest, latest = float("inf"), float("-inf")
        for batch in self._connection.scan(self._images, "time is not null", ["time"]):
            times = [row["time"] for row in batch]
            earliest, latest = min(earliest, *times), max(latest, *times)
        return None if earliest > latest else (earliest, latest)

    def _expression(self, filters: Filters) -> str:
        return expression_of(filters, self.model.card, self.cameras() if filters.near else ())

    def _count(self, expression: str) -> int:
        rows = self._connection.call("query", self._images, filter=expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def _rows(self, keys: Sequence[str], fields: list[str]) -> list[Row]:
        """The rows of those keys that are there, each once."""
        ids = list(dict.fromkeys(row_id(key) for key in keys))
        rows: list[Row] = []
        for start in range(0, len(ids), _ROWS_A_REQUEST):
            part = ids[start : start + _ROWS_A_REQUEST]
            rows += self._connection.call("get", self._images, ids=part, output_fields=fields)
        return rows

    def _note_cameras(self, entries: Iterable[Entry]) -> None:
        """See that `cameras` knows every camera before an image of it is there."""
        fresh = {entry.camera for entry in entries if entry.camera is not None} - self._seen_cameras
        if not fresh:
            return
        known = {camera.id for camera in self.cameras()}
        self.set_cameras(Camera(camera, f"camera {camera}") for camera in sorted(fresh - known))
        self._seen_cameras |= fresh

    def _may_write(self) -> None:
        if not self.writable:
            raise UserError(f"{self.name}: was opened for searching (readonly); open it for writing")

    def _change_index(self, kind: str) -> None:
        self._connection.call("release_collection", self._images)
        self._connection.call("drop_index", self._images, "embedding")
        self._connection.call("create_index", self._images, _index(kind, _metric(self.model.card)))
        self._connection.call("load_collection", self._images)
        self._index = kind


def recorded_encoder(name: str) -> str:
    """See `Gallery.recorded_encoder`."""
    address = parse_address(name)
    if address.file is not None and not address.file.exists():
        return ""
    connection = Connection(name, address)
    try:
        if not connection.call("has_collection", _about(address)):
            return ""
        connection.call("load_collection", _about(address))
        return _read_about(connection, address).get("encoder", "")
    finally:
        connection.close()


def _about(address: Address) -> str:
    return f"{address.collection}_about"


def _metric(card: Card) -> str:
    # Vectors of a cosine model are kept at unit length.
    return "IP" if card.metric == "cosine" else "L2"


def _index(kind: str, metric: str, field: str = "embedding") -> Any:
    from pymilvus import MilvusClient

    wanted = MilvusClient.prepare_index_params()
    wanted.add_index(
        field_name=field, index_name=field, index_type=kind, metric_type=metric, params=INDEXES[kind][0]
    )
    return wanted


def _create(connection: Connection, address: Address, model: Model, kind: str) -> None:
    """Make both collections; what makes it a gallery is written last."""
    if not connection.call("has_collection", address.collection):
        connection.call(
            "create_collection",
            address.collection,
            schema=schema_of(model.card.outputs["embedding"]),
            index_params=_index(kind, _metric(model.card)),
            consistency_level="Strong",
        )
    connection.call(
        "create_collection",
        _about(address),
        schema=about_schema(),
        index_params=_index("FLAT", "L2", "nothing"),
        consistency_level="Strong",
    )
    _write_about(
        connection,
        address,
        {"card": model.card.to_json(), "model_hash": model.hash, "encoder": model.encoder},
    )


def _read_about(connection: Connection, address: Address) -> dict[str, str]:
    ids = ["card", "model_hash", "encoder"]
    rows = connection.call("get", _about(address), ids=ids, output_fields=["id", "value"])
    return {row["id"]: row["value"] for row in rows}


def _write_about(connection: Connection, address: Address, values: dict[str, str]) -> None:
    _upsert_about(connection, _about(address), values)


def _upsert_about(connection: Connection, collection: str, values: dict[str, str]) -> None:
    rows = [{"id": name, "value": value, "nothing": [0.0, 0.0]} for name, value in values.items()]
    if rows:
        connection.call("upsert", collection, rows)


def _inside(rows: Iterable[Row], filters: Filters) -> list[Row]:
    return [row for row in rows if filters.near is None or holds(filters.near, row)]
