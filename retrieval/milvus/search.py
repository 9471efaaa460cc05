"""The nearest rows of a Milvus collection: it proposes candidates, and float64 distances decide."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.gallery.distances import distances
from retrieval.gallery.filters import Filters
from retrieval.gallery.ranking import nearest_first
from retrieval.milvus.about import metric_of
from retrieval.milvus.camera_statistics import CameraStatistics, columns
from retrieval.milvus.connection import MAX_FETCH, Connection
from retrieval.milvus.filters import holds
from retrieval.milvus.parts import Part, parts_of
from retrieval.milvus.rows import INDEXES, as_known
from zoo.camera_means import CameraMeans
from zoo.card import Card

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is wanted of a search; see `Search.nearest`."""

    query: np.ndarray
    k: int
    filters: Filters
    fields: list[str]
    means: CameraMeans | None


@dataclass(frozen=True)
class Search:
    """How a collection is searched.

    Attributes:
        images: the collection's name.
        index: the kind of index that it has.
        is_nullable: whether its fields may lack a value, as in galleries of earlier releases.
    """

    connection: Connection
    images: str
    index: str
    is_nullable: bool
    card: Card

    def nearest(
        self,
        query: np.ndarray,
        k: int,
        filters: Filters,
        expression: str,
        fields: list[str],
        statistics: CameraStatistics | None = None,
    ) -> tuple[list[Row], np.ndarray]:
        """The k nearest of the rows that meet the filters.

        Args:
            query: float32 [D], centred where there are statistics.
            k: 0 for all.
            expression: of the filters.
            fields: wanted of each row; `name` among them.
            statistics: what camera centring goes by; None to compare embeddings as they are.

        Returns:
            rows and distances float64, in order; the rows have their embeddings, float32 [D], unless
            everything had to be compared one by one.
        """
        wanted = {*fields, "embedding"}
        if filters.near is not None:
            wanted |= {"latitude", "longitude"}
        means = None
        if statistics is not None:
            wanted.add("camera")
            means = statistics.means
        asked = Asked(query, k, filters, sorted(wanted), means)
        rows: list[Row] = []
        values = np.zeros(0)
        if k:
            for part in parts_of(query, expression, self.card.metric, statistics, self.is_nullable):
                found = self._proposed(asked, part, values) or self._scan(asked, part.expression)
                rows, values = rows + found[0], np.append(values, found[1])
        else:
            rows, values = self._scan(asked, expression)
        order, values = nearest_first(np.arange(len(rows)), values, lambda place: str(rows[place]["name"]), k)
        return [rows[place] for place in order.tolist()], values

    def count(self, expression: str) -> int:
        """How many rows meet an expression."""
        rows = self.connection.call("query", self.images, filter=expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def _count_recent(self, expression: str) -> int:
        rows = self.connection.recent("query", self.images, filter=expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def _proposed(self, asked: Asked, part: Part, known: np.ndarray) -> tuple[list[Row], np.ndarray] | None:
        """Rows of a part with all that are among the k nearest, in no order; None where Milvus finds too few.

        Args:
            asked: what is wanted.
            part: where to look.
            known: distances to rows of other parts, float64 [M].
        """
        k = asked.k
        fetch = min(k + 32, MAX_FETCH)
        lists = self._lists(part.expression)
        while True:
            found = self.connection.recent(
                "search",
                self.images,
                data=[part.point.tolist()],
                anns_field="embedding",
                limit=fetch,
                filter=part.expression,
                output_fields=asked.fields,
                search_params={
                    "metric_type": metric_of(self.card),
                    "params": self._effort(fetch) | lists,
                },
            )[0]
            rows = inside([as_known(hit["entity"]) for hit in found], asked.filters)
            values = self._distances(asked, rows)
            if len(found) < fetch and (len(rows) >= k or self._count_recent(part.expression) == len(found)):
                return rows, values
            together = np.append(known, values)
            if len(found) == fetch and len(together) >= k:
                kth = float(np.partition(together, k - 1)[k - 1])
                if part.is_settled(float(found[-1]["distance"]), kth):
                    return rows, values
            if fetch == MAX_FETCH or len(found) < fetch:
                return None
            fetch = min(4 * fetch, MAX_FETCH)

    def _scan(self, asked: Asked, expression: str) -> tuple[list[Row], np.ndarray]:
        """Compare everything that meets an expression and the filters, one by one."""
        k = asked.k
        rows: list[Row] = []
        values = np.zeros(0)
        for batch in self.connection.scan(self.images, expression, asked.fields):
            fresh = inside(batch, asked.filters)
            values = np.append(values, self._distances(asked, fresh))
            for row in fresh:
                # No longer needed, and the larger part of a row.
                del row["embedding"]
            rows += fresh
            if k and len(rows) > 4 * k + MAX_FETCH:
                near = np.flatnonzero(values <= np.partition(values, k - 1)[k - 1])
                rows, values = [rows[place] for place in near.tolist()], values[near]
        return rows, values

    def _distances(self, asked: Asked, rows: list[Row]) -> np.ndarray:
        vectors = [row["embedding"] for row in rows]
        stored = np.asarray(vectors, np.float32).reshape(len(rows), len(asked.query))
        for row, vector in zip(rows, stored, strict=True):
            row["embedding"] = vector
        if asked.means is not None and rows:
            stored = asked.means.centred(*columns(rows), self.card.metric)
        return distances(asked.query, stored, self.card.metric)

    def _effort(self, fetch: int) -> dict[str, int]:
        """Parameters of a search; a graph has to look at more than it returns."""
        effort = dict(INDEXES.get(self.index, ({}, {}))[1])
        for name in ("ef", "search_list"):
            if name in effort:
                effort[name] = max(effort[name], 2 * fetch)
        return effort

    def _lists(self, expression: str) -> dict[str, int]:
        """How many lists of an inverted index to look at: more where an expression leaves few rows in each.

        Empty for other kinds of index, and where all rows are meant.
        """
        built, effort = INDEXES.get(self.index, ({}, {}))
        if "nprobe" not in effort or not expression:
            return {}
        lists = effort["nprobe"] * self._count_recent("") // max(1, self._count_recent(expression))
        return {"nprobe": min(max(effort["nprobe"], lists), built["nlist"])}


def inside(rows: Iterable[Row], filters: Filters) -> list[Row]:
    """Those of the rows that met an expression that lie in the filters' circle itself."""
    return [row for row in rows if filters.near is None or holds(filters.near, row)]
