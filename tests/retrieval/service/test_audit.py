"""The audit log: one line a search, whatever happens to the file."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.state import QueryState, asked_with
from retrieval.query.searcher import Searcher
from retrieval.service.access import Caller
from retrieval.service.audit import Audit
from retrieval.service.prometheus import Metrics
from serving.encoders.encoder import Encoder
from zoo.errors import UserError


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_tells_who_asked_what_and_what_was_shown(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    filters = Filters(colors=("white",), after=0.0, near=Near(1, 2, 3), type_confidence=0.5)
    audit.record("desk", "similar", filters, ["新.jpg", "b"], key="a\nb", like=None)
    (line,) = lines(path)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "key_name": "desk",
        "endpoint": "similar",
        "key": "a\nb",
        "filters": {
            "colors": ["white"],
            "after": 0.0,
            "near": {"latitude": 1, "longitude": 2, "radius": 3},
            "type_confidence": 0.5,
        },
        "results": ["新.jpg", "b"],
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_lines_stay_whole_and_the_file_may_be_moved(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: audit.record(None, "search", Filters(), [str(n)] * 2000), range(100)))
    assert sorted(int(line["results"][0]) for line in lines(path)) == list(range(100))
    path.rename(tmp_path / "old")
    audit.record(None, "search", Filters(), [])
    assert len(lines(path)) == 1


def test_what_cannot_be_logged_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no search is answered without"):
        Audit(tmp_path / "none" / "audit.jsonl")
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(UserError, match="no space left"):
        audit.record(None, "search", Filters(), [])
    Audit(None).record(None, "search", Filters(), [])


def test_searches_of_the_page_leave_a_line(tmp_path: Path, gallery_folder: Path, encoder: Encoder) -> None:
    path = tmp_path / "audit.jsonl"
    with open_gallery(gallery_folder) as gallery:
        metrics = Metrics(gallery)
        searcher = AuditedSearcher(Searcher(gallery, encoder), metrics, Audit(path))
        query = searcher.recall(gallery.sample_keys(1)[0])
        assert query is not None
        state = QueryState(query, upload="ab" * 32, box=(1, 2, 30, 40))
        told = asked_with(state, " red car ", Caller("desk", "read"))
        hits = searcher.search(query, 2, Filters(cameras=(3,)), told=told)
        assert metrics.exposition().count(b'searches_total{source="page"} 1.0') == 1
    (line,) = lines(path)
    assert (line["endpoint"], line["filters"]) == ("page", {"cameras": [3]})
    asked = {name: line[name] for name in ("key_name", "query_sha256", "box", "words")}
    assert asked == {"key_name": "desk", "query_sha256": "ab" * 32, "box": [1, 2, 30, 40], "words": "red car"}
    assert line["results"] == [hit.key for hit in hits]


def test_what_a_full_disk_has_cut_short_stays_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Audit(path).record("desk", "similar", Filters(), ["a"])
    path.write_bytes(path.read_bytes()[:-7])
    Audit(path).record("desk", "similar", Filters(), ["b"])
    cut, whole = path.read_text().splitlines()
    with pytest.raises(ValueError, match=r"delimiter|Expecting|Unterminated"):
        json.loads(cut)
    assert json.loads(whole)["results"] == ["b"]
