"""What Prometheus is told: requests by kind and end, and labels that a caller cannot multiply."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from retrieval.galleries import open_gallery
from retrieval.service.prometheus import Measured, Metrics, endpoint_of


@pytest.fixture
def metrics(gallery_folder: Path) -> Iterator[Metrics]:
    with open_gallery(gallery_folder) as gallery:
        yield Metrics(gallery)


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(metrics.exposition().decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/api/search", "search"),
        ("/api/images/a/b.jpg", "images"),
        ("/api/x1", "other"),
        ("/health", "health"),
        ("/gradio_api/queue/data", "page"),
        ("/", "page"),
        ("", "page"),
    ],
)
def test_endpoints_are_few(path: str, endpoint: str) -> None:
    assert endpoint_of(path) == endpoint


def test_requests_count_however_they_end(metrics: Metrics) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/api/images/x":
            raise RuntimeError
        await PlainTextResponse("", 418)(scope, receive, send)

    async def receive() -> dict:
        return {"type": "http.request"}

    async def send(message: object) -> None:
        pass

    async def ask(path: str, method: str) -> None:
        scope = {"type": "http", "path": path, "method": method, "headers": []}
        await Measured(app, metrics)(scope, receive, send)

    asyncio.run(ask("/api/search", "POST"))
    asyncio.run(ask("/api/search", "POST"))
    asyncio.run(ask("/", "MADE-UP"))
    with pytest.raises(RuntimeError):
        asyncio.run(ask("/api/images/x", "GET"))
    found = values(metrics)
    assert found["vehicle_search_requests_total", "search", "POST", "418"] == 2
    assert found["vehicle_search_requests_total", "page", "other", "418"] == 1
    assert found["vehicle_search_requests_total", "images", "GET", "500"] == 1
    assert found["vehicle_search_request_seconds_count", "search", "POST"] == 2
    assert ("vehicle_search_request_seconds_count", "page", "other") not in found
    assert found["vehicle_search_images",] == 24
