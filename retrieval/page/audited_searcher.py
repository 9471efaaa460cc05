"""The page's searches, counted and logged as those over REST are."""

import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from retrieval.gallery.entries import Result
from retrieval.gallery.filters import Filters
from retrieval.query.sameness import verdict
from retrieval.query.searcher import Asked, Query, QueryImage, Searcher
from retrieval.service.answer_log import AnswerLog
from retrieval.service.audit import Audit
from retrieval.service.prometheus import Metrics
from serving.encoders.trace import Trace, current_trace, outgoing_headers, traced
from zoo.decoding_memory import DecoderBusyError
from zoo.errors import UserError
from zoo.preprocess import ImageError


class AuditedSearcher(Searcher):
    """A searcher whose searches leave a line in the audit log, and whose answers one in the log of answers.

    A line of the audit log tells whose key it was, and what was searched with: `told`.
    """

    def __init__(
        self, searcher: Searcher, metrics: Metrics, audit: Audit, log: AnswerLog | None = None
    ) -> None:
        super().__init__(searcher.gallery, searcher.encoder, searcher.false_match_rate)
        self._metrics = metrics
        self._audit = audit
        self._log = log or AnswerLog()

    def encode(self, image: QueryImage) -> Query:
        """Encode as `Searcher.encode` does."""
        with self._answer("encode"):
            return replace(super().encode(image), span=outgoing_headers())

    def search(
        self,
        query: Asked | Sequence[Asked],
        k: int = 10,
        filters: Filters | None = None,
        *,
        told: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[Result]:
        """Search as `Searcher.search` does; `told` goes into the audit log."""
        asked = [query] if isinstance(query, Asked) else query
        spans = [each.span for each in asked if isinstance(each, Query)]
        with self._answer("search", next(iter(spans), None)) as trace:
            found = super().search(query, k, filters, **options)
            said = verdict(self.gallery, found, self.false_match_rate)
            if said is not None:
                trace.verdicts.append(said)
            self._searched(filters or Filters(), found, told or {})
        return found

    def browse(
        self, filters: Filters, limit: int, without: Collection[str], told: Mapping[str, Any]
    ) -> list[Result]:
        """Search by attributes alone."""
        with self._answer("browse"):
            found = self.gallery.browse(filters, limit, without=without)
            self._searched(filters, found, told)
        return found

    def note(self, filters: Filters, keys: Sequence[str], caller: str | None, **did: Any) -> None:
        """Log what is done with results: found, compared, kept as a case, or taken along as a file."""
        self._audit.record(caller, "page", filters, keys, **did)

    def _searched(self, filters: Filters, found: Sequence[Result], told: Mapping[str, Any]) -> None:
        self.note(filters, [result.key for result in found], **{"caller": None, **told})
        self._metrics.searches.labels("page").inc()

    @contextmanager
    def _answer(self, route: str, span: Mapping[str, str] | None = None) -> Iterator[Trace]:
        """Let what is done inside be one answer, as a request's is; what is inside another is part of it.

        Args:
            route: what is done.
            span: of the encoding of what is searched with, whose trace it belongs to.
        """
        started, status = time.perf_counter(), 500
        if (running := current_trace()) is not None:
            yield running
            return
        with traced(Trace(uuid.uuid4().hex), f"page {route}", span) as trace:
            try:
                yield trace
                status = 200
            except (ImageError, UserError):
                status = 400
                raise
            except DecoderBusyError:
                status = 503
                raise
            finally:
                self._metrics.note(trace)
                self._log.answer("page search", status, trace, time.perf_counter() - started, route=route)
