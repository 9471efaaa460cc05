"""Spans of a search: one trace from the caller to the gallery, with those of a real Triton server in it."""

import base64
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.prometheus import Metrics
from serving.bundle import Bundle
from serving.encoders.image import InputImage
from serving.server.server import ServerSettings, TritonServer
from serving.triton.repository import write_repository
from serving.triton.spans import start_tracing, trace_with
from tests.retrieval.running_app import running_app
from zoo.errors import UserError
from zoo.preprocess import ImageError

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


def _attributes(of: dict) -> dict:
    return {each["key"]: next(iter(each["value"].values())) for each in of.get("attributes", [])}


def _span(by: str, span: dict, is_hex: bool) -> SimpleNamespace:
    trace, own, above = (
        each if is_hex else base64.b64decode(each).hex()
        for each in (span["traceId"], span["spanId"], span.get("parentSpanId", ""))
    )
    return SimpleNamespace(
        by=by, name=span["name"], trace=trace, id=own, above=above, attributes=_attributes(span)
    )


@pytest.fixture
def collector() -> Iterator[SimpleNamespace]:
    """A receiver of OTLP over HTTP: its address, and the spans that came, with their services' names."""
    spans: list[SimpleNamespace] = []
    others = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            # Triton sends JSON, in which ids are hexadecimal; protobuf's own JSON has them in base64.
            is_hex = self.headers["content-type"] == "application/json"
            content = (
                json.loads(body) if is_hex else MessageToDict(ExportTraceServiceRequest.FromString(body))
            )
            for each in content["resourceSpans"]:
                by = _attributes(each["resource"])["service.name"]
                for part in each["scopeSpans"]:
                    spans.extend(_span(by, span, is_hex) for span in part["spans"])
            if any(span.by != "vehicle-reid-app" and span.trace == CALLER for span in spans):
                others.set()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", spans=spans, others=others)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_search_is_one_trace(
    gallery_folder: Path, bundle: Path, query: bytes, collector: SimpleNamespace, tmp_path: Path
) -> None:
    served = Bundle.open(shutil.copytree(bundle, tmp_path / "bundle"))
    write_repository(served.repository, served.card, served.onnx_file, served.model_hash)
    settings = ServerSettings(trace_rate=1, trace_otlp=f"{collector.url}/v1/traces")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with (
        TritonServer(served, log=tmp_path / "server.log", settings=settings) as server,
        running_app(
            *("--gallery", gallery_folder, "--encoder", f"triton:grpc://{server.grpc}"),
            environment=environment,
        ) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        headers = {"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01", "X-Request-ID": "case-7"}
        # The server sends its own a few seconds later, and may lose a batch of them.
        for _ in range(8):
            answer = client.post("/api/search", files={"image": query}, headers=headers)
            assert answer.status_code == 200
            if collector.others.wait(10):
                break
        assert collector.others.is_set()
        assert client.get("/health").status_code == 200
    mine = [span for span in collector.spans if span.trace == CALLER]
    names = {span.id: span.name for span in mine}
    above = {(span.by, span.name, names.get(span.above, "")) for span in mine}
    assert {each for each in above if each[0] == "vehicle-reid-app"} == {
        ("vehicle-reid-app", "POST search", ""),
        ("vehicle-reid-app", "decode", "POST search"),
        ("vehicle-reid-app", "encode", "POST search"),
        ("vehicle-reid-app", "infer vehicle_reid", "encode"),
        ("vehicle-reid-app", "search", "POST search"),
    }
    # The server's own, the models that it ran among them, hang below the request that it got.
    assert any(by != "vehicle-reid-app" and parent == "infer vehicle_reid" for by, _, parent in above)
    tops = [span for span in mine if span.name == "POST search"]
    assert {span.above for span in tops} == {"00f067aa0ba902b7"}
    assert {span.attributes["request_id"] for span in tops} == {"case-7"}
    assert {span.attributes["http.response.status_code"] for span in tops} == {"200"}
    assert not any("health" in span.name for span in collector.spans)


@pytest.fixture
def memory() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_with(provider)
    yield exporter
    trace_with(None)


@pytest.fixture
def searcher(gallery_folder: Path) -> Iterator[Searcher]:
    encoder, model = open_gallery_encoder(str(gallery_folder), None)
    with open_gallery(gallery_folder, model=model) as gallery:
        yield AuditedSearcher(Searcher(gallery, encoder), Metrics(gallery), Audit(None))
    encoder.close()


def test_a_picture_on_the_page_and_its_searches_are_one_trace(
    searcher: Searcher, query: bytes, memory: InMemorySpanExporter
) -> None:
    asked = searcher.encode(InputImage(query, "mine.jpg"))
    searcher.search(asked)
    searcher.search(asked, 3)
    spans = memory.get_finished_spans()
    assert {span.context.trace_id for span in spans} == {spans[0].context.trace_id}
    assert [span.name for span in spans].count("page search") == 2
    assert "page encode" in {span.name for span in spans}
    assert "mine.jpg" not in str([dict(span.attributes or {}) for span in spans])


def test_a_failure_is_marked_without_its_words(searcher: Searcher, memory: InMemorySpanExporter) -> None:
    with pytest.raises(ImageError):
        searcher.encode(InputImage(b"no picture", "mine.jpg"))
    (top,) = [span for span in memory.get_finished_spans() if span.name == "page encode"]
    assert top.status.status_code is StatusCode.ERROR
    assert (top.attributes or {})["error.type"] == "ImageError" and not top.events
    assert "mine.jpg" not in top.to_json()


def test_nothing_is_imported_where_nobody_asks(run_python: Callable[[str], CompletedProcess[str]]) -> None:
    code = (
        "import sys\n"
        "from serving.encoders.trace import Trace, outgoing_headers, stage, start_tracing, traced\n"
        "for environment in ({}, {'OTEL_TRACES_EXPORTER': 'none'},\n"
        "    {'OTEL_TRACES_EXPORTER': 'otlp', 'OTEL_SDK_DISABLED': 'true'}):\n"
        "    start_tracing('test', environment)\n"
        "    with traced(Trace('a'), 'name'), stage('search'):\n"
        "        assert outgoing_headers() is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_what_is_asked_for_and_not_installed_is_named() -> None:
    with pytest.raises(UserError, match=r"exporter jaeger, which is not installed: .*\[otel\]"):
        start_tracing("test", {"OTEL_TRACES_EXPORTER": "jaeger"})
