"""`vehicle-reid link`: what it writes beside a real gallery, and who may overrule it over REST."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from retrieval.galleries import open_gallery
from retrieval.journeys.journey import journey
from retrieval.journeys.store import LinkStore, journeys_of
from retrieval.keys import add_key
from retrieval.link import main
from retrieval.page import journey as journey_page
from retrieval.page.texts import Say
from tests.retrieval.conftest import name
from tests.retrieval.running_app import running_app


def run(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    capsys.readouterr()
    assert main(["--gallery", str(folder), "--json", "--fastest", "500", *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_journeys_are_proposed_and_taken_back(
    placed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (placed_folder / "gallery.sqlite").read_bytes()
    found = run(placed_folder, capsys)
    ways = [[step["key"] for step in way] for way in found["journeys"]]
    assert found["passes"] == 24
    assert all(len({key[:4] for key in way}) == 1 for way in ways)
    assert sum(len(way) == 4 for way in ways) >= 4
    step = found["journeys"][0][0]
    assert step["next"]["gap_seconds"] == 10
    assert step["next"]["metres"] == pytest.approx(500, abs=2)
    assert step["next"]["kilometres_an_hour"] == pytest.approx(180, abs=1)
    store = LinkStore(placed_folder)
    assert [keys for (keys,) in store.way(ways[0][2])] == ways[0]
    assert run(placed_folder, capsys, "--undo") == {"undone": found["run"]}
    assert store.way(ways[0][0]) == [(ways[0][0],)]
    assert main(["--gallery", str(placed_folder), "--undo"]) == 2
    assert (placed_folder / "gallery.sqlite").read_bytes() == before


def test_marks_outlive_runs(placed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(placed_folder, capsys)
    store = LinkStore(placed_folder)
    store.mark(name(1, 1), name(1, 2), "cut", "somebody")
    store.mark(name(1, 1), name(2, 2), "confirmed")
    for again in range(2):
        assert store.way(name(1, 1))[1] == (name(2, 2),)
        assert (name(1, 1),) not in store.way(name(1, 2))
        assert (name(2, 1),) not in store.way(name(2, 2))
        if not again:
            run(placed_folder, capsys)
    assert store.link(name(1, 1), name(2, 2)).mark == "confirmed"
    run(placed_folder, capsys, "--undo")
    assert store.marked("cut") == [(name(1, 1), name(1, 2))]
    store.mark(name(1, 1), name(2, 2), None)
    assert store.marked("confirmed") == []


def test_only_the_last_runs_are_kept(placed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(12):
        last = run(placed_folder, capsys)["run"]
    with sqlite3.connect(placed_folder / "journeys.sqlite") as database:
        for table, column in (("runs", "id"), ("links", "run")):
            kept = {number for (number,) in database.execute(f"SELECT {column} FROM {table}")}
            assert kept == set(range(last - 9, last + 1))


def test_images_of_a_track_are_one_pass(placed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_gallery(placed_folder, writable=True) as gallery:
        entries = [entry for batch in gallery.entries() for entry in batch]
        tracks = [replace(entry, track_id=entry.vehicle_id) for entry in entries]
        later = [replace(entry, key=f"later/{entry.key}", time=entry.time + 1) for entry in tracks]
        gallery.add([*tracks, *later])
    found = run(placed_folder, capsys)
    assert found["passes"] == 24
    step = next(step for way in found["journeys"] for step in way if step["next"])
    assert len(step["images"]) == 2
    assert step["next"]["gap_seconds"] == 9
    assert LinkStore(placed_folder).pass_of(f"later/{name(1, 1)}") == name(1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--within", "0"], "--within 0"),
        (["--within", "nan"], "--within nan"),
        (["--certainty", "1"], "--certainty 1"),
        (["--fastest", "nan"], "--fastest nan"),
        (["--gallery", "none"], "no such folder"),
        (["--gallery", "milvus:x.db"], "retrieval.transfer"),
    ],
)
def test_faults_are_told(
    placed_folder: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--gallery", str(placed_folder), *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (placed_folder / "journeys.sqlite").exists()


def test_the_page_tells_the_way(placed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = run(placed_folder, capsys)["journeys"][0][0]["key"]
    with open_gallery(placed_folder) as gallery:
        steps = journey(gallery, LinkStore(placed_folder), key)
        journeys = journeys_of(gallery, [key, name(6, 1)])
    assert steps
    assert journeys[steps[1].images[0].key] == journeys[key] == key
    html = journey_page.way(steps, [], False, Say("zh"))
    others = sum(len(step.candidates) for step in steps)
    assert html.count("<li>") == len(steps) + others
    assert 'data-event="link"' not in html
    assert "10 秒后" in html
    assert "500 m, 180 km/h" in html
    assert journey_page.way([], [], True, Say()) == ""


def test_a_damaged_file_is_told_and_the_gallery_is_whole(
    placed_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (placed_folder / "journeys.sqlite").write_bytes(b"no database at all, but some text" * 100)
    assert main(["--gallery", str(placed_folder)]) == 2
    assert "delete it and link again" in capsys.readouterr().err
    (placed_folder / "journeys.sqlite").unlink()
    run(placed_folder, capsys)


def test_rest_shows_a_way_and_takes_marks(placed_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(placed_folder, capsys)
    keys = placed_folder.parent / "keys.json"
    read, write = (add_key(keys, scope, scope) for scope in ("read", "write"))
    audit = placed_folder.parent / "audit.jsonl"
    with running_app("--gallery", placed_folder, "--keys", keys, "--writable", "--audit", audit) as url:

        def ask(key: str, method: str, path: str, **form: str) -> httpx.Response:
            bearer = {"Authorization": f"Bearer {key}"}
            return httpx.request(method, url + path, headers=bearer, data=form or None, trust_env=False)

        steps = ask(read, "GET", f"/api/journey/{name(3, 2)}").json()["steps"]
        assert [step["key"] for step in steps] == [name(3, camera) for camera in (1, 2, 3, 4)]
        assert [step["camera_name"] for step in steps] == ["Gate 1", "Gate 2", "Gate 3", "Gate 4"]
        assert steps[0]["next"]["certainty"] >= 0.5
        assert all(each["key"] != steps[0]["next"]["key"] for each in steps[0]["candidates"])
        assert name(3, 4) in audit.read_text()
        link = {"earlier": name(3, 1), "later": name(3, 2)}
        assert ask(read, "PUT", "/api/links", **link, verdict="cut").status_code == 403
        cut = ask(write, "PUT", "/api/links", **link, verdict="cut").json()["steps"]
        assert [step["key"] for step in cut] == [name(3, 1)]
        kept = ask(write, "PUT", "/api/links", **link, verdict="confirmed").json()["steps"]
        assert kept[0]["next"]["mark"] == "confirmed"
        assert len(kept) == 4
        assert ask(read, "GET", "/api/journey/none").status_code == 404
        wrong = {"earlier": name(3, 2), "later": name(3, 1), "verdict": "confirmed"}
        for form, status in (
            (wrong, 422),
            (wrong | {"later": "none"}, 404),
            (wrong | {"later": name(3, 2)}, 422),
            (wrong | {"verdict": "perhaps"}, 422),
        ):
            assert ask(write, "PUT", "/api/links", **form).status_code == status
