"""What is written of answers, and what a dashboard asks of their times."""

import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from retrieval.app import build_app
from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.filters import Filters
from retrieval.keys import KeyRing, add_key
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.query.searcher import Searcher
from retrieval.service.answer_log import AnswerLog
from retrieval.service.audit import Audit
from retrieval.service.prometheus import Metrics
from tests.retrieval.service.serving_thread import served
from zoo.preprocess import ImageError

DASHBOARD = Path(__file__).resolve().parents[3] / "deploy" / "grafana" / "vehicle-search.json"


@dataclass(frozen=True)
class Logged:
    """A service, what it has written, and its audit log."""

    client: httpx.Client
    written: io.StringIO
    audit: Path

    def lines(self, count: int) -> list[dict]:
        """So many lines as soon as they are there: one is written a moment after its answer."""
        deadline = time.monotonic() + 10
        while self.written.getvalue().count("\n") < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


@pytest.fixture
def logged(gallery_folder: Path, calibrated: Path, tmp_path: Path) -> Iterator[Logged]:
    keys, audit, written = tmp_path / "keys.json", tmp_path / "audit.jsonl", io.StringIO()
    secret = add_key(keys, "desk", "read")
    encoder, model = open_gallery_encoder(str(gallery_folder), str(calibrated))
    with open_gallery(gallery_folder, model=model) as gallery:
        log = AnswerLog("info", "json", written)
        app = build_app(Searcher(gallery, encoder), [], KeyRing(keys), None, Audit(audit), log=log)
        headers = {"authorization": f"Bearer {secret}"}
        with served(app) as url, httpx.Client(base_url=url, trust_env=False, headers=headers) as client:
            yield Logged(client, written, audit)
    encoder.close()


def test_a_line_tells_of_an_answer(logged: Logged, query: bytes) -> None:
    mine = {"X-Request-ID": "case-7:a"}
    box = {"box": "0,0,90,90"}
    answer = logged.client.post("/api/search", files={"image": query}, data=box, headers=mine)
    assert answer.headers["x-request-id"] == "case-7:a"
    (line,) = logged.lines(1)
    assert (line["request_id"], line["caller"], line["route"]) == ("case-7:a", "desk", "/api/search")
    assert (line["status"], line["level"], line["method"]) == (200, "info", "POST")
    assert line["verdicts"] == {answer.json()["verdict"]: 1}
    assert set(line["stages"]) == {"decode", "encode", "search"}
    assert 0 < sum(line["stages"].values()) <= line["seconds"]
    assert answer.json()["results"][0]["key"] not in logged.written.getvalue()
    assert json.loads(logged.audit.read_text())["request_id"] == "case-7:a"


def test_an_id_is_made_where_none_can_be_used(logged: Logged) -> None:
    made = set()
    for given in ("", "a b", "x" * 129, 'a"\x7f'):
        answer = logged.client.get("/api/cameras", headers={"X-Request-ID": given})
        made.add(answer.headers["x-request-id"])
    assert len(made) == 4
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in made)
    key = logged.client.get("/api/entries", params={"limit": 1}).json()["entries"][0]["key"]
    logged.client.get(f"/api/similar/{key}")
    assert logged.lines(6)[-1]["stages"].keys() == {"search"}
    assert key not in logged.written.getvalue()
    logged.client.get("/health")
    logged.client.get("/api/cameras", headers={"authorization": "Bearer wrong"})
    refused = logged.lines(7)[-1]
    assert (refused["status"], "caller" in refused) == (401, False)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("off", []), ("error", ["search"]), ("info", ["search", "cameras"]),
     ("debug", ["search", "cameras", "ready", "page"])],
)  # fmt: skip
def test_levels(level: str, expected: list[str]) -> None:
    written = io.StringIO()
    log = AnswerLog(level, "text", written)  # type: ignore[arg-type]
    for endpoint, status in (("search", 503), ("cameras", 404), ("ready", 200), ("page", 200)):
        log.write(endpoint, status, caller="a b\n", stages={"decode": 0.5})
    lines = written.getvalue().splitlines()
    assert [re.findall("endpoint=(\\w+)", line)[0] for line in lines] == expected
    assert all(line.endswith(" caller=a_b? stages=decode:0.5") for line in lines)


def test_page_searches_have_lines_ids_and_stages(
    gallery_folder: Path,
    calibrated: Path,
    tmp_path: Path,
    query: bytes,
) -> None:
    encoder, model = open_gallery_encoder(str(gallery_folder), str(calibrated))
    with open_gallery(gallery_folder, model=model) as gallery:
        metrics, audit, written = Metrics(gallery), Audit(tmp_path / "audit.jsonl"), io.StringIO()
        log = AnswerLog("info", "json", written)
        searcher = AuditedSearcher(Searcher(gallery, encoder), metrics, audit, log)
        found = searcher.search(query)
        exported = metrics.exposition().decode()
        with pytest.raises(ImageError):
            searcher.encode(b"none")
        searcher.browse(Filters(), 3, (), {})
        search, encode, browse = map(json.loads, written.getvalue().splitlines())
        assert [line["route"] for line in (search, encode, browse)] == ["search", "encode", "browse"]
        assert [line["status"] for line in (search, encode, browse)] == [200, 400, 200]
        assert set(search["stages"]) == {"decode", "encode", "search"}
        assert sum(search["verdicts"].values()) == 1 and "verdicts" not in browse
        assert found[0].key not in written.getvalue()
        first, last = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
        assert re.fullmatch(r"[0-9a-f]{32}", first["request_id"])
        assert (first["request_id"], last["request_id"]) == (search["request_id"], browse["request_id"])
        for stage in ("decode", "encode", "search"):
            assert f'vehicle_search_stage_seconds_count{{stage="{stage}"}} 1.0' in exported
    encoder.close()


def test_the_dashboard_asks_for_what_there_is(logged: Logged, query: bytes) -> None:
    logged.client.post("/api/search", files={"image": query})
    logged.client.put("/api/entries/x", files={"image": query})
    exported: dict[str, set[str]] = {}
    for family in parse(logged.client.get("/metrics").text):
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
    queries = [
        target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]
    ]
    assert len(queries) >= 10
    for expression in queries:
        selectors: list[promql_parser.VectorSelector] = []

        def visit(node: object, selectors: list = selectors) -> None:
            if isinstance(node, promql_parser.VectorSelector):
                selectors.append(node)
            elif isinstance(node, promql_parser.MatrixSelector):
                selectors.append(node.vector_selector)

        promql_parser.walk(promql_parser.parse(expression), visit)
        assert selectors, expression
        by = {name for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.split(", ")}
        for selector in selectors:
            assert selector.name in exported, expression
            named = {name for name, _ in re.findall(r'(\w+)=~?("[^"]*")', expression)}
            assert named <= exported[selector.name], expression
        assert any(by <= exported[selector.name] for selector in selectors), expression
