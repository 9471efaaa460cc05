"""Prometheus metrics of the service: how many requests of each kind, how they ended, how long they took."""

import re
import time
import uuid

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrieval.gallery.base import Gallery
from retrieval.service.answer_log import SUPERVISED, AnswerLog
from serving.encoders.trace import Trace, traced

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ENDPOINTS = (
    "search",
    "similar",
    "entries",
    "images",
    "cameras",
    "words",
    "compare",
    "export",
    "openapi.json",
)
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
"""Of a caller: short, and nothing that breaks a line or a header."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


def endpoint_of(path: str) -> str:
    """The label of a path: one of a few, whatever is asked for."""
    first, _, rest = path.lstrip("/").partition("/")
    if first == "api":
        name = rest.partition("/")[0]
        return name if name in _ENDPOINTS else "other"
    return first if first in ("health", "ready", "metrics") else "page"


class Metrics:
    """The counters of one service."""

    def __init__(self, gallery: Gallery) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "vehicle_search_requests",
            "Requests answered, refused ones too",
            ("endpoint", "method", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "vehicle_search_request_seconds",
            "Time from a request of the REST interface to the end of its answer",
            ("endpoint", "method"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.stages = Histogram(
            "vehicle_search_stage_seconds",
            "Time of a search's stages: decode and encode of its images, search in the gallery",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.verdicts = Counter(
            "vehicle_search_verdicts", "Verdicts of searches", ("verdict",), registry=self._registry
        )
        self.searches = Counter(
            "vehicle_search_searches", "Searches that gave an answer", ("source",), registry=self._registry
        )
        self.added = Counter(
            "vehicle_search_images_added", "Images added or replaced", registry=self._registry
        )
        self.removed = Counter("vehicle_search_images_removed", "Images removed", registry=self._registry)
        size = Gauge("vehicle_search_images", "Images in the gallery", registry=self._registry)
        size.set_function(lambda: len(gallery))

    def note(self, trace: Trace) -> None:
        """Count what a request took and said."""
        for stage, seconds in trace.seconds.items():
            self.stages.labels(stage).observe(seconds)
        for verdict in trace.verdicts:
            self.verdicts.labels(verdict).inc()

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware that counts and logs every request; outermost, so that refusals count as well.

    A request has an id, its own `X-Request-ID` or a new one, which its answer and all that is logged of it
    tell.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log: AnswerLog | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log or AnswerLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it ended; one that raises ends as a 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        given = Headers(scope=scope).get("x-request-id", "")
        trace = Trace(given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", trace.id.encode())]
            await send(message)

        endpoint = endpoint_of(scope["path"])
        method = scope["method"] if scope["method"] in _METHODS else "other"
        try:
            # Supervisors ask all the time, and the page's events have spans of their own.
            name = "" if endpoint in SUPERVISED else f"{method} {endpoint}"
            with traced(trace, name, Headers(scope=scope)):
                try:
                    await self._app(scope, receive, noted)
                finally:
                    trace.attributes |= {"http.request.method": method, "http.response.status_code": status}
                    if status >= 500:
                        trace.attributes["error.type"] = str(status)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.requests.labels(endpoint, method, str(status)).inc()
            # The page's event streams last as long as the page is open.
            if endpoint != "page":
                self._metrics.seconds.labels(endpoint, method).observe(seconds)
            self._metrics.note(trace)
            caller = scope.get("state", {}).get("caller")
            self._log.answer(
                endpoint,
                status,
                trace,
                seconds,
                method=method,
                route=getattr(scope.get("route"), "path", None),
                caller=None if caller is None else caller.name,
            )
