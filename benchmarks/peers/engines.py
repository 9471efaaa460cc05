"""Stores of vectors behind one face: what each needs to add, search and come back. Runs in any environment.

Each is used as its own documentation shows for one machine and one process, float32 vectors, Euclidean
distance. `efforts` are what it offers to trade time for recall, least first.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Engine(Protocol):
    """A store; `ids` are row numbers, `values` one number a row to filter by.

    Attributes:
        package: to be installed for it.
        durability: what an add that returned is safe from.
    """

    package: str
    durability: str
    efforts: tuple[int, ...]

    def create(self, folder: Path, dimension: int) -> None:
        """Begin an empty store."""

    def add(self, first: int, vectors: np.ndarray, values: np.ndarray) -> None:
        """Add rows from number `first` on, as safely as the store does."""

    def finish(self) -> None:
        """Build what it searches by, and close it."""

    def open(self, folder: Path, dimension: int) -> None:
        """Open what is there."""

    def count(self) -> int:
        """Rows that are there."""

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        """The k nearest of the rows whose value is below `limit`."""


class Gallery:
    """This project's, in a folder."""

    package, durability, efforts = "vehicle-reid-zoo", "SIGKILL and power cuts: each add is synced", (0,)

    def create(self, folder: Path, dimension: int) -> None:
        from retrieval.gallery.entries import GalleryModel
        from retrieval.local.gallery import LocalGallery
        from zoo.card import Card

        card = Card("benchmark.vehicles", (128, 128), {"embedding": dimension})
        self.gallery = LocalGallery.open_folder(folder, GalleryModel(card, "benchmark"), True, "auto", None)

    def add(self, first: int, vectors: np.ndarray, values: np.ndarray) -> None:
        from retrieval.gallery.entries import Entry

        self.gallery.add(
            Entry(str(first + row), vector, time=float(value))
            for row, (vector, value) in enumerate(zip(vectors, values, strict=True))
        )

    def finish(self) -> None:
        self.gallery.close()

    def open(self, folder: Path, dimension: int) -> None:
        from retrieval.local.gallery import LocalGallery

        self.gallery = LocalGallery.open_folder(folder, None, False, None, None)

    def count(self) -> int:
        return len(self.gallery)

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        from retrieval.gallery.filters import Filters

        return [int(hit.key) for hit in self.gallery.search(query, k, Filters(before=limit))]


class _InMemory(ABC):
    """A graph in memory that is written down as a whole; nothing of it is safe before."""

    durability, efforts = "nothing until the whole index is saved", (32, 64, 128, 256, 512, 1024)

    def create(self, folder: Path, dimension: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.dimension, self.values = folder, dimension, np.zeros(0)

    def finish(self) -> None:
        self._save(str(self.folder / "index.bin"))
        np.save(self.folder / "values.npy", self.values)

    def open(self, folder: Path, dimension: int) -> None:
        self.folder, self.dimension = folder, dimension
        self.values = np.load(folder / "values.npy")
        self._load(str(folder / "index.bin"))

    def add(self, first: int, vectors: np.ndarray, values: np.ndarray) -> None:
        self.values = np.append(self.values, values)
        self._put_in(np.arange(first, first + len(vectors)), vectors)

    def count(self) -> int:
        return len(self.values)

    @abstractmethod
    def _save(self, path: str) -> None: ...

    @abstractmethod
    def _load(self, path: str) -> None: ...

    @abstractmethod
    def _put_in(self, ids: np.ndarray, vectors: np.ndarray) -> None: ...


class Usearch(_InMemory):
    """Its Python has no filter: more and more of the nearest are fetched until enough of them are allowed."""

    package = "usearch"

    def _index(self) -> Any:
        from usearch.index import Index

        return Index(ndim=self.dimension, metric="l2sq", dtype="f32", connectivity=16, expansion_add=128)

    def _put_in(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        if not hasattr(self, "index"):
            self.index = self._index()
        self.index.add(ids, vectors, threads=1)

    def _save(self, path: str) -> None:
        self.index.save(path)

    def _load(self, path: str) -> None:
        self.index = self._index()
        self.index.load(path)

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        fetch = k
        while True:
            self.index.expansion_search = max(effort, fetch)
            found = self.index.search(query, fetch, threads=1).keys
            if limit is not None:
                found = found[self.values[found] < limit]
            if len(found) >= k or fetch >= len(self.values):
                return [int(key) for key in found[:k]]
            fetch = min(4 * fetch, len(self.values))


class Hnswlib(_InMemory):
    """Its filter is a Python function that the search asks of every row it comes by."""

    package = "hnswlib"

    def _put_in(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        import hnswlib

        if not hasattr(self, "index"):
            self.index = hnswlib.Index("l2", self.dimension)
            self.index.init_index(max(1024, len(ids)), ef_construction=128, M=16)
        if (needed := int(ids[-1]) + 1) > self.index.get_max_elements():
            self.index.resize_index(2 * needed)
        self.index.add_items(vectors, ids, num_threads=1)

    def _save(self, path: str) -> None:
        self.index.save_index(path)

    def _load(self, path: str) -> None:
        import hnswlib

        self.index = hnswlib.Index("l2", self.dimension)
        self.index.load_index(path)

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        allowed: Callable[[int], bool] | None = None
        if limit is not None:
            values, below = self.values, limit
            allowed = lambda row: bool(values[row] < below)  # noqa: E731
        self.index.set_ef(max(effort, k))
        try:
            found = self.index.knn_query(query, k, num_threads=1, filter=allowed)[0][0]
        except RuntimeError:  # fewer than k were met
            return []
        return [int(key) for key in found]


class LanceDb:
    """A table with an `IVF_RQ` index, whose first results are compared again by the vectors themselves."""

    package = "lancedb"
    durability = "SIGKILL: each add is a version in files, which are not synced"
    efforts = (8, 16, 32, 64, 128, 256)

    def create(self, folder: Path, dimension: int) -> None:
        import lancedb
        import pyarrow as pa

        vector = pa.list_(pa.float32(), dimension)
        fields = [pa.field("id", pa.int64()), pa.field("value", pa.float64()), pa.field("vector", vector)]
        self.schema = pa.schema(fields)
        self.table = lancedb.connect(str(folder)).create_table("vehicles", schema=self.schema)

    def add(self, first: int, vectors: np.ndarray, values: np.ndarray) -> None:
        import pyarrow as pa

        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        columns = [
            pa.array(np.arange(first, first + len(vectors))),
            pa.array(values),
            pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        ]
        self.table.add(pa.table(columns, schema=self.schema))

    def finish(self) -> None:
        self.table.optimize()
        self.table.create_index("l2", vector_column_name="vector", index_type="IVF_RQ")
        self.table.create_scalar_index("value")

    def open(self, folder: Path, dimension: int) -> None:
        import lancedb

        self.table = lancedb.connect(str(folder)).open_table("vehicles")

    def count(self) -> int:
        return int(self.table.count_rows())

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        asked = self.table.search(query).nprobes(effort).refine_factor(10).select(["id"]).limit(k)
        if limit is not None:
            asked = asked.where(f"value < {limit}", prefilter=True)
        return [int(row) for row in asked.to_arrow()["id"].to_pylist()]


class Qdrant:
    """The client's embedded mode, which scans all vectors."""

    package = "qdrant-client"
    durability = "SIGKILL: each point goes through SQLite"
    efforts = (0,)

    def create(self, folder: Path, dimension: int) -> None:
        from qdrant_client import QdrantClient, models

        self.client = QdrantClient(path=str(folder))
        params = models.VectorParams(size=dimension, distance=models.Distance.EUCLID)
        self.client.create_collection("vehicles", vectors_config=params)

    def add(self, first: int, vectors: np.ndarray, values: np.ndarray) -> None:
        from qdrant_client import models

        ids = list(range(first, first + len(vectors)))
        payloads = [{"value": float(value)} for value in values]
        self.client.upsert(
            "vehicles",
            models.Batch(ids=ids, vectors=vectors.tolist(), payloads=payloads),  # type: ignore[arg-type]
        )

    def finish(self) -> None:
        self.client.close()

    def open(self, folder: Path, dimension: int) -> None:
        from qdrant_client import QdrantClient

        self.client = QdrantClient(path=str(folder))

    def count(self) -> int:
        return int(self.client.count("vehicles").count)

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        from qdrant_client import models

        condition = None
        if limit is not None:
            below = models.FieldCondition(key="value", range=models.Range(lt=limit))
            condition = models.Filter(must=[below])
        found = self.client.query_points("vehicles", query=query, query_filter=condition, limit=k)
        return [int(point.id) for point in found.points]


class MilvusLite:
    """Milvus in a file, with its HNSW."""

    package = "milvus-lite pymilvus"
    durability = "SIGKILL, as far as its log was written"
    efforts = (32, 64, 128, 256, 512, 1024)

    def create(self, folder: Path, dimension: int) -> None:
        from pymilvus import DataType, MilvusClient

        folder.mkdir(parents=True)
        self.client = MilvusClient(str(folder / "milvus.db"))
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("value", DataType.DOUBLE)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
        index = self.client.prepare_index_params()
        settings = {"M": 16, "efConstruction": 128}
        index.add_index("vector", index_type="HNSW", metric_type="L2", params=settings)
        self.client.create_collection("vehicles", schema=schema, index_params=index)

    def add(self, first: int, vectors: np.ndarray, values: np.ndarray) -> None:
        rows = zip(vectors, values.tolist(), strict=True)
        self.client.insert(
            "vehicles",
            [{"id": first + n, "vector": vector, "value": value} for n, (vector, value) in enumerate(rows)],
        )

    def finish(self) -> None:
        self.client.flush("vehicles")
        self.client.close()

    def open(self, folder: Path, dimension: int) -> None:
        from pymilvus import MilvusClient

        self.client = MilvusClient(str(folder / "milvus.db"))
        self.client.load_collection("vehicles")

    def count(self) -> int:
        return int(self.client.query("vehicles", filter="id >= 0", output_fields=["count(*)"])[0]["count(*)"])

    def search(self, query: np.ndarray, k: int, limit: float | None, effort: int) -> list[int]:
        condition = "" if limit is None else f"value < {limit}"
        settings = {"params": {"ef": max(effort, k)}}
        found = self.client.search("vehicles", [query.tolist()], condition, k, search_params=settings)
        return [int(hit["id"]) for hit in found[0]]


ENGINES: dict[str, Callable[[], Engine]] = {
    "gallery": Gallery,
    "usearch": Usearch,
    "hnswlib": Hnswlib,
    "lancedb": LanceDb,
    "qdrant": Qdrant,
    "milvus-lite": MilvusLite,
}
