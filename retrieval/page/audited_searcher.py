"""The page's searches, counted and logged as those over REST are."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from retrieval.gallery.entries import Result
from retrieval.gallery.filters import Filters
from retrieval.query.searcher import Asked, Searcher
from retrieval.service.audit import Audit
from retrieval.service.prometheus import Metrics
from serving.encoders.trace import Trace, traced


class AuditedSearcher(Searcher):
    """A searcher whose searches leave a line in the audit log.

    The page's events run apart from the requests that sent them, so that the line does not tell whose key it
    was.
    """

    def __init__(self, searcher: Searcher, metrics: Metrics, audit: Audit) -> None:
        super().__init__(searcher.gallery, searcher.encoder, searcher.false_match_rate)
        self._metrics = metrics
        self._audit = audit

    def search(
        self, query: Asked | Sequence[Asked], k: int = 10, filters: Filters | None = None, **options: Any
    ) -> list[Result]:
        """Search as `Searcher.search` does."""
        with traced(Trace(uuid.uuid4().hex)) as trace:
            found = super().search(query, k, filters, **options)
            self._searched(filters or Filters(), found)
        self._metrics.note(trace)
        return found

    def browse(self, filters: Filters, limit: int, without: Collection[str]) -> list[Result]:
        """Search by attributes alone."""
        found = self.gallery.browse(filters, limit, without=without)
        self._searched(filters, found)
        return found

    def note(self, filters: Filters, keys: Sequence[str], **did: str) -> None:
        """Log what else is done with results: compared, or taken along as a file."""
        self._audit.record(None, "page", filters, keys, **did)

    def _searched(self, filters: Filters, found: Sequence[Result]) -> None:
        self.note(filters, [result.key for result in found])
        self._metrics.searches.labels("page").inc()
