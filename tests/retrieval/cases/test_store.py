"""Cases in a gallery's folder: kept whole, read back, damaged, and changed by several at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.cases.case import Case, CaseImage, Findings, SavedSearch, UnfitCaseError, new_id
from retrieval.cases.store import CaseStore, UnknownCaseError
from retrieval.gallery.base import CASES_FOLDER
from retrieval.gallery.entries import Camera, Result
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.query.feedback import Feedback
from retrieval.query.looks import Looks
from zoo.errors import UserError

RESULT = Result(
    "a/b.jpg",
    1,
    0.9,
    0.1,
    "red",
    0.8,
    "van",
    0.7,
    Camera(3, "Gate", 48.0, 11.5),
    0.95,
    0.001,
    box=(1, 2, 3, 4),
)
CASE = Case(
    new_id(),
    "  Red van  \N{CJK UNIFIED IDEOGRAPH-6848} ../../etc/passwd",
    (CaseImage("", b"\xff\xd8picture", (1, 2.5, 3, 4), b"small"), CaseImage("key")),
    np.arange(4, dtype=np.float32) / 3,
    SavedSearch(
        "red van",
        Filters(("red",), after=60.0, near=Near(48.1, 11.5, 300)),
        Feedback(("a",), ("b",)),
        40,
        "track",
        looks=Looks(("red",)),
    ),
    Findings((RESULT,), "match", 0.01, 1000, 900, "grid.test", "ab" * 32),
    notes="seen\ntwice",
    alarms_per_day=0.5,
)


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return CaseStore(tmp_path)


def test_a_case_is_read_back_as_it_was_written(store: CaseStore, tmp_path: Path) -> None:
    made = store.put(CASE, "ann")
    assert made.name == "Red van \N{CJK UNIFIED IDEOGRAPH-6848} ../../etc/passwd"
    found = store.get(CASE.id)
    assert found.as_json() == made.as_json()
    assert (found.search, found.findings, found.images) == (CASE.search, CASE.findings, CASE.images)
    assert (found.created_by, found.changed_by, found.created) == ("ann", "ann", found.changed)
    changed = store.change(CASE.id, "bob", notes="once", is_closed=True)
    assert (changed.created, changed.created_by, changed.changed_by) == (made.created, "ann", "bob")
    (listed,), damaged = store.list()
    assert (listed.notes, listed.is_closed, listed.images[0].data, damaged) == ("once", True, b"", [])
    # A name from a user is never a file's.
    assert sorted(path.name for path in (tmp_path / CASES_FOLDER).iterdir()) == [".lock", f"{CASE.id}.json"]
    assert store.delete(CASE.id)
    assert not store.delete(CASE.id)
    assert store.list() == ([], [])


@pytest.mark.parametrize("id", ["", "../x", "AB" * 16, "a" * 31, "a" * 33, "a" * 32 + "/../b"])
def test_nothing_but_an_id_is_made_a_path(store: CaseStore, id: str) -> None:
    for act in (store.get, store.delete, lambda each: store.put(replace(CASE, id=each), None)):
        with pytest.raises(UnknownCaseError):
            act(id)


def test_a_case_from_before_looks_were_kept_is_read() -> None:
    content = json.loads(json.dumps(CASE.as_json()))
    del content["search"]["looks"]
    assert Case.from_json(content).search == replace(CASE.search, looks=None)


def test_what_cannot_be_kept_is_refused_and_nothing_is_written(store: CaseStore) -> None:
    for change in (
        {"name": " "},
        {"name": "x" * 121},
        {"name": "a\0b"},
        {"notes": "x" * 20_001},
        {"alarms_per_day": -1},
    ):
        with pytest.raises(UnfitCaseError):
            store.put(replace(CASE, **change), None)
    assert store.list() == ([], [])


def test_a_damaged_case_is_told_and_harms_no_other(store: CaseStore, tmp_path: Path) -> None:
    other = store.put(replace(CASE, id=new_id()), None)
    store.put(CASE, None)
    path = tmp_path / CASES_FOLDER / f"{CASE.id}.json"
    whole = path.read_text(encoding="utf-8")
    for text in (
        whole[:-9],
        whole.replace("seen", "sawn"),
        "[]",
        "{}",
        json.dumps({"sha256": "", "case": {}}),
    ):
        path.write_text(text, encoding="utf-8")
        found, damaged = store.list()
        assert ([case.id for case in found], damaged) == ([other.id], [CASE.id])
        with pytest.raises(UserError, match="restore it from a backup, or delete it"):
            store.get(CASE.id)
    assert store.delete(CASE.id)


def test_changes_at_once_all_count(tmp_path: Path) -> None:
    CaseStore(tmp_path).put(CASE, None)
    changes = [{"notes": "n"}, {"name": "m"}, {"is_closed": True}, {"alarms_per_day": 3.0}]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda change: CaseStore(tmp_path).change(CASE.id, None, **change), changes))
    found = CaseStore(tmp_path).get(CASE.id)
    assert (found.notes, found.name, found.is_closed, found.alarms_per_day) == ("n", "m", True, 3.0)
