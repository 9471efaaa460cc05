"""The watch on cases: a simulated week keeps the promised false alarms, whoever adds, and after a restart."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.cases.case import Case, Findings, SavedSearch, new_id
from retrieval.cases.store import CaseStore
from retrieval.cases.watch import Watcher
from retrieval.cases.watch_state import DAY
from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.query.feedback import Feedback
from zoo.card import Card
from zoo.sameness import Sameness

DIMENSION = 6
TENTH, HALF = 0.1 ** (1 / DIMENSION), 0.5 ** (1 / DIMENSION)
"""The quantiles of the distance to the middle of a ball of radius 1."""

# Strangers are uniform in that ball: nearer than d are d^6 of them, 0.1 (d / q10)^6.
SAMENESS = Sameness(
    strangers=(math.log(0.1), float(DIMENSION), 0.0, 0.0, 0.0, 0.0),
    nearest=(2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    others=(1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2),
    near=(-3.0, 0.5),
    cohort=(math.log(TENTH), math.log(HALF)),
    weights_sha256="a" * 64,
)
CARD = Card(
    "ball.test", (8, 8), {"embedding": DIMENSION}, weights_sha256="a" * 64, sameness=SAMENESS.as_json()
)
MODEL = GalleryModel(CARD, "b" * 64)
START = 20_000 * DAY


def strangers(count: int, seed: int = 0) -> list[Entry]:
    """Images of vehicles that nobody watches for."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(count, DIMENSION))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = directions * random.random((count, 1)) ** (1 / DIMENSION)
    return [Entry(new_id(), row.astype(np.float32), camera=int(random.integers(1, 3))) for row in vectors]


def vehicle(key: str) -> Entry:
    """An image of the one that is watched for."""
    return Entry(key, np.full(DIMENSION, 0.01, np.float32), camera=1)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Gallery]:
    with open_gallery(tmp_path / "gallery", model=MODEL, writable=True) as gallery:
        gallery.add(strangers(1000))
        yield gallery


@pytest.fixture
def reader(writer: Gallery) -> Iterator[Gallery]:
    """The service's own: another process adds."""
    with open_gallery(writer.folder, model=MODEL) as gallery:
        yield gallery


def case(alarms: float, **changes: object) -> Case:
    made = Case(
        new_id(),
        "watched",
        embedding=np.zeros(DIMENSION, np.float32),
        findings=Findings(model_hash=MODEL.hash),
        alarms_per_day=alarms,
    )
    return replace(made, **changes)


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


def test_a_week_keeps_its_promise(writer: Gallery, reader: Gallery) -> None:
    """600 images a day, every six hours; at 10 and at 1 false alarms a day."""
    store, clock = CaseStore(reader.folder), Clock()
    often, seldom = (store.put(case(alarms), None) for alarms in (10.0, 1.0))
    marked = store.put(case(1.0, search=SavedSearch(feedback=Feedback(("it-3",)))), None)
    gate = store.put(case(10.0, search=SavedSearch(filters=Filters(cameras=(2,)))), None)
    watcher = Watcher(reader, store, clock)
    assert watcher.look() == 0
    for day in range(7):
        for hour in range(0, 24, 6):
            clock.now = START + day * DAY + hour * 3600
            writer.add(strangers(150, seed=1 + 24 * day + hour))
            if hour == 12:
                writer.add([vehicle(f"it-{day}")])
            if day == 3:
                # The service is started anew, again and again.
                watcher = Watcher(reader, store, clock)
            watcher.look()
    found = {each.id: store.watch_state(each.id) for each in (often, seldom, marked, gate)}
    keys = {id: [alarm.key for alarm in state.found] for id, state in found.items() if state is not None}
    its = {f"it-{day}" for day in range(7)}
    assert its <= {*keys[often.id]} and its <= {*keys[seldom.id]}
    assert {*keys[marked.id]} & its == its - {"it-3"}
    assert not its & {*keys[gate.id]}
    # At most 70 and 7 are promised, give or take 8 and 2.6; half comes, as each stranger has one image.
    assert 20 <= len(keys[often.id]) - 7 <= 80
    assert 0 <= len(keys[seldom.id]) - 7 <= 12
    assert 20 <= len(keys[gate.id]) <= 80
    assert {*keys[seldom.id]} <= {*keys[often.id]}
    assert len({*keys[often.id]}) == len(keys[often.id])
    state = found[often.id]
    assert state is not None
    assert state.images_a_day(clock.now) == pytest.approx(600, rel=0.15)
    assert all(alarm.expected <= 10 for alarm in state.found)
    assert (state.unseen, store.unseen()) == (len(state.found), sum(map(len, keys.values())))
    store.mark_seen(often.id)
    # Another one is found, and what was seen stays so.
    writer.add([vehicle("it-again")])
    assert watcher.look() == 3
    state = store.watch_state(often.id)
    assert state is not None
    assert (state.unseen, state.found[-1].key) == (1, "it-again")


def test_a_month_at_once_raises_no_months_alarms(writer: Gallery, reader: Gallery) -> None:
    store, clock = CaseStore(reader.folder), Clock()
    kept = store.put(case(1.0), None)
    watcher = Watcher(reader, store, clock)
    watcher.look()
    writer.add([*strangers(6000, seed=1), vehicle("it")])
    clock.now += 60
    watcher.look()
    state = store.watch_state(kept.id)
    assert state is not None
    assert "it" in [alarm.key for alarm in state.found]
    assert len(state.found) <= 6


def test_what_is_not_watched_raises_none(writer: Gallery, reader: Gallery, tmp_path: Path) -> None:
    store, clock = CaseStore(reader.folder), Clock()
    for made in (
        case(0.0),
        case(5.0, is_closed=True),
        case(5.0, embedding=np.zeros(0, np.float32)),
        case(5.0, findings=Findings(model_hash="c" * 64)),
    ):
        store.put(made, None)
    watcher = Watcher(reader, store, clock)
    plain = open_gallery(reader.folder, model=replace(MODEL, card=CARD.replace(sameness={})))
    store.put(case(5.0, is_closed=True), None)
    writer.add([vehicle("it")])
    with plain:
        assert watcher.look() + Watcher(plain, store, clock).look() == 0
    assert not list(tmp_path.glob("gallery/cases/*.watch.json"))


def test_a_damaged_state_begins_anew(writer: Gallery, reader: Gallery) -> None:
    store, clock = CaseStore(reader.folder), Clock()
    kept = store.put(case(1.0), None)
    Watcher(reader, store, clock).look()
    path = reader.folder / "cases" / f"{kept.id}.watch.json"
    path.write_text(path.read_text(encoding="utf-8").replace("since", "hence"), encoding="utf-8")
    assert store.watch_state(kept.id) is None
    watcher = Watcher(reader, store, clock)
    watcher.look()
    writer.add([vehicle("it")])
    assert watcher.look() == 1
    store.delete(kept.id)
    assert not path.exists()
