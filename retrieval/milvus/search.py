"""The nearest rows of a Milvus collection: it proposes candidates, and float64 distances decide."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.gallery.distances import distances, is_settled
from retrieval.gallery.filters import Filters
from retrieval.gallery.ranking import nearest_first
from retrieval.milvus.about import metric_of
from retrieval.milvus.connection import MAX_FETCH, Connection
from retrieval.milvus.filters import holds
from retrieval.milvus.rows import INDEXES
from zoo.card import Card

Row = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """How a collection is searched.

    Attributes:
        images: the collection's name.
        index: the kind of index that it has.
    """

    connection: Connection
    images: str
    index: str
    card: Card

    def nearest(
        self, query: np.ndarray, k: int, filters: Filters, expression: str, fields: list[str]
    ) -> tuple[list[Row], np.ndarray]:
        """The k nearest of the rows that meet the filters.

        Args:
            query: float32 [D].
            k: 0 for all.
            expression: of the filters.
            fields: wanted of each row; `name` among them.

        Returns:
            rows and distances float64, in order; the rows have their embeddings, float32 [D], unless
            everything had to be compared one by one.
        """
        wanted = {*fields, "embedding"}
        if filters.near is not None:
            wanted |= {"latitude", "longitude"}
        rows, values = self._candidates(query, k, filters, expression, sorted(wanted))
        order, values = nearest_first(np.arange(len(rows)), values, lambda place: str(rows[place]["name"]), k)
        return [rows[place] for place in order.tolist()], values

    def count(self, expression: str) -> int:
        """How many rows meet an expression."""
        rows = self.connection.call("query", self.images, filter=expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def _candidates(
        self, query: np.ndarray, k: int, filters: Filters, expression: str, fields: list[str]
    ) -> tuple[list[Row], np.ndarray]:
        """Rows with at least the k nearest among them, in no order."""
        metric = self.card.metric
        fetch = min(k + 32, MAX_FETCH) if k else 0
        while fetch:
            found = self.connection.call(
                "search",
                self.images,
                data=[query.tolist()],
                anns_field="embedding",
                limit=fetch,
                filter=expression,
                output_fields=fields,
                search_params={"metric_type": metric_of(self.card), "params": self._effort(fetch)},
            )[0]
            rows = inside([hit["entity"] for hit in found], filters)
            values = self._distances(query, rows)
            if len(found) < fetch and (len(rows) >= k or self.count(expression) == len(found)):
                return rows, values
            if len(found) == fetch and len(rows) >= k:
                last = float(found[-1]["distance"])
                last = 1 - last if metric == "cosine" else last
                if is_settled(query, last, float(np.partition(values, k - 1)[k - 1]), metric):
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
        for batch in self.connection.scan(self.images, expression, fields):
            fresh = inside(batch, filters)
            values = np.append(values, self._distances(query, fresh))
            for row in fresh:
                # No longer needed, and the larger part of a row.
                del row["embedding"]
            rows += fresh
            if k and len(rows) > 4 * k + MAX_FETCH:
                near = np.flatnonzero(values <= np.partition(values, k - 1)[k - 1])
                rows, values = [rows[place] for place in near.tolist()], values[near]
        return rows, values

    def _distances(self, query: np.ndarray, rows: list[Row]) -> np.ndarray:
        vectors = [row["embedding"] for row in rows]
        stored = np.asarray(vectors, np.float32).reshape(len(rows), len(query))
        for row, vector in zip(rows, stored, strict=True):
            row["embedding"] = vector
        return distances(query, stored, self.card.metric)

    def _effort(self, fetch: int) -> dict[str, int]:
        """Parameters of a search; a graph has to look at more than it returns."""
        effort = dict(INDEXES.get(self.index, ({}, {}))[1])
        for name in ("ef", "search_list"):
            if name in effort:
                effort[name] = max(effort[name], 2 * fetch)
        return effort


def inside(rows: Iterable[Row], filters: Filters) -> list[Row]:
    """Those of the rows that met an expression that lie in the filters' circle itself."""
    return [row for row in rows if filters.near is None or holds(filters.near, row)]
