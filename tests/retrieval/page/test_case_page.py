"""Cases on the page and over REST: kept, opened by address, changed, exported, and by whom."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import TIMEOUT, listens, visit
from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.keys import add_key
from tests.retrieval.conftest import name
from tests.retrieval.page.test_layout import CUT, SETTLED, SMALL, violations
from tests.retrieval.running_app import running_app

NOON = 1_714_564_800.0
"""2024-05-01 12:00 UTC, from which on the gallery's images are."""

RED = "0" * 31 + "1"


@dataclass(frozen=True)
class Service:
    url: str
    secrets: dict[str, str]
    audit: Path
    gallery: Path

    def client(self, scope: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.secrets[scope]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.audit.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def served(
    gallery_folder: Path, weighed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gallery that is only read, with cases beside it, behind keys."""
    root = tmp_path_factory.mktemp("cases")
    folder = shutil.copytree(gallery_folder, root / "gallery")
    with open_gallery(folder, writable=True) as gallery:
        dated = [
            replace(entry, time=NOON + (entry.time or 0)) for (*all,) in gallery.entries() for entry in all
        ]
        gallery.add(dated)
    secrets = {scope: add_key(root / "keys.json", f"{scope}er", scope) for scope in ("read", "write")}
    options = (
        "--encoder",
        weighed,
        "--keys",
        root / "keys.json",
        "--rate",
        0,
        "--audit",
        root / "audit.jsonl",
    )
    with running_app("--gallery", folder, *options) as url:
        yield Service(url, secrets, root / "audit.jsonl", folder)


def open_page(browser: Browser, served: Service, scope: str, **options: object) -> Page:
    credentials = {"username": "x", "password": served.secrets[scope]}
    page = browser.new_context(http_credentials=credentials, **options).new_page()
    page.set_default_timeout(TIMEOUT)
    visit(page, served.url)
    return page


def check(page: Page) -> None:
    """What `test_layout` holds the page to."""
    page.wait_for_function(SETTLED, polling=60)
    assert [*violations(page), *page.evaluate(CUT), *page.evaluate(SMALL)] == []


def test_over_rest(served: Service, query: bytes) -> None:
    with served.client("write") as writer, served.client("read") as reader:
        search = {"like": name(3, 2), "k": 5, "camera": [1, 2]}
        form = {"name": "Red", "notes": "note", **search}
        refused = reader.put(f"/api/cases/{RED}", files={"image": query}, data=form)
        assert (refused.status_code, reader.delete(f"/api/cases/{RED}").status_code) == (403, 403)
        made = writer.put(f"/api/cases/{RED}", files={"image": query}, data=form).json()
        assert (made["verdict"], made["created_by"], made["model"]) == ("match", "writeer", "grid.test")
        found = reader.post("/api/search", files={"image": query}, data=search).json()
        assert [each["key"] for each in made["results"]] == [each["key"] for each in found["results"]]
        assert made["results"][0]["probability"] == pytest.approx(found["results"][0]["probability"])
        changed = writer.patch(f"/api/cases/{RED}", json={"name": "Red car", "is_closed": True}).json()
        assert (changed["name"], changed["notes"], changed["is_closed"]) == ("Red car", "note", True)
        assert reader.get(f"/api/cases/{RED}").json() == changed
        assert [case["id"] for case in reader.get("/api/cases").json()["cases"]] == [RED]
        assert reader.get(f"/api/case-pictures/{RED}").headers["content-type"] == "image/jpeg"
        page = reader.get(f"/api/cases/{RED}/export")
        assert page.headers["content-disposition"] == 'attachment; filename="case-00000000.html"'
        for said in (
            "Red car",
            "note",
            "Verdict: match.",
            "by writeer",
            "camera</b> 1, 2",
            "marked as this vehicle",
        ):
            assert said in page.text, said
        bad = (
            writer.put("/api/cases/..%2Fx", data={"name": "x"}).status_code,
            writer.put("/api/cases/x", data=form),
        )
        assert (bad[0], bad[1].status_code) in ((404, 422), (405, 422), (422, 422))
        assert writer.patch(f"/api/cases/{'f' * 32}", json={"name": "x"}).status_code == 404
        assert writer.patch(f"/api/cases/{RED}", json={"name": "a\u0000"}).status_code == 422
        assert writer.patch(f"/api/cases/{RED}", json={"color": "red"}).status_code == 422
        assert writer.delete(f"/api/cases/{RED}").json() == {"deleted": True}
        assert reader.get(f"/api/cases/{RED}").status_code == 404
    assert {"endpoint": "case", "key_name": "writeer"}.items() <= served.lines()[0].items()


def weigh_and_hide(page: Page) -> None:
    """A click on a colour weighs and hides nothing; one more lets it hide the others."""
    white = page.locator("#prediction .vr-bar").first
    white.click()
    page.wait_for_url("**soft_color=white")
    expect(page.locator(".vr-card")).to_have_count(20)
    page.get_by_role("button", name="Hide the others").click()
    expect(page.locator(".vr-card")).to_have_count(4)
    expect(white).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Only weigh it").click()
    expect(page.locator(".vr-card")).to_have_count(20)
    # A filter says how many likely ones it hides; weighed instead, it puts its own first and hides none.
    page.locator("#filter-color input").click()
    page.get_by_role("option", name="red", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.locator(".vr-hidden")).to_contain_text("1 that probably show this vehicle")
    page.get_by_role("button", name="Weigh it instead").click()
    page.wait_for_url("**soft_color=red")
    expect(page.locator(".vr-card")).to_have_count(20)
    page.reload()
    listens(page)
    expect(page.locator(".vr-card").first).to_contain_text("red")
    expect(page.locator("#prediction .vr-weigh")).to_contain_text("hides nothing")


def test_a_person_keeps_opens_and_closes_a_case(browser: Browser, served: Service, images: Path) -> None:
    page = open_page(browser, served, "write", viewport={"width": 1440, "height": 900})
    tab = page.get_by_role("tab").nth(2)
    tab.click()
    expect(page.locator(".vr-case input[name=name]")).to_be_visible()
    page.locator(".vr-case input[name=name]").fill("Nothing")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".vr-said")).to_contain_text("search first")
    page.locator("#query input[type=file]").set_input_files(images / "image_query" / name(3, 1))
    page.get_by_role("tab").nth(0).click()
    expect(page.locator(".vr-card")).to_have_count(20)
    weigh_and_hide(page)
    page.locator(".vr-card .vr-yes").nth(1).click()
    page.locator(".vr-card .vr-no").nth(5).click()
    expect(page.locator(".vr-marks .vr-thumb-no")).to_have_count(1)
    found = [card.get_attribute("data-key") for card in page.locator(".vr-card").all()]
    tab.click()
    page.locator(".vr-case input[name=name]").fill("White <b>car</b>")
    page.locator(".vr-case textarea").fill("by the \u2018gate\u2019")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".vr-case h2")).to_have_text("White <b>car</b>")
    expect(tab).to_have_text(re.compile(r"Cases \([1-9]\)"))
    page.wait_for_url("**?case=**")
    case = page.url.split("case=")[1].split("&")[0]
    with served.client("read") as reader:
        kept = reader.get(f"/api/cases/{case}").json()
    assert (kept["notes"], kept["created_by"]) == ("by the \u2018gate\u2019", "writeer")
    assert [each["key"] for each in kept["results"]] == found
    assert (len(kept["like"]), len(kept["unlike"])) == (1, 1)
    assert (kept["soft"], kept["filters"]) == ({"color": ["red"], "type": []}, {})
    line = [each for each in served.lines() if each["endpoint"] == "page"][-1]
    assert (line["key_name"], len(line["query_sha256"])) == ("writeer", 64)
    page.context.close()


@pytest.fixture
def kept(served: Service, query: bytes) -> Iterator[dict]:
    """A case with marks, made over REST."""
    form = {"name": "White <b>car</b>", "like": name(3, 2), "unlike": name(1, 1), "k": 20}
    with served.client("write") as writer:
        for each in writer.get("/api/cases").json()["cases"]:
            writer.delete(f"/api/cases/{each['id']}")
        yield writer.put(f"/api/cases/{RED}", files={"image": query}, data=form).json()


def test_another_person_opens_a_case(browser: Browser, served: Service, kept: dict) -> None:
    """By the list and by address; the picture is in the case. A key that may only read changes nothing.

    Times are told, and meant, in the browser's zone.
    """
    found = [each["key"] for each in kept["results"]]
    page = open_page(browser, served, "read", reduced_motion="reduce", timezone_id="Asia/Shanghai")
    expect(page.locator("#title")).to_contain_text("times in Asia/Shanghai")
    page.get_by_role("tab").nth(2).click()
    page.locator(".vr-case-open").click()
    expect(page.locator(".vr-case h2")).to_have_text("White <b>car</b>")
    page.get_by_role("tab").nth(0).click()
    expect(page.locator(".vr-marks .vr-thumb-yes")).to_have_count(1)
    assert [card.get_attribute("data-key") for card in page.locator(".vr-card").all()] == found
    page.goto(f"{served.url}/?case={RED}")
    expect(page.locator(".vr-marks .vr-thumb-no")).to_have_count(1)
    expect(page.locator(".vr-card .vr-time").first).to_contain_text("2024-05-01 20:0")
    expect(page.get_by_role("button", name="From: choose in a calendar")).to_be_visible()
    # What the browser's calendar gives, once somebody has pressed a key or a button.
    page.keyboard.press("Shift")
    page.locator("#after .vr-picker").fill("2024-05-01T20:03:21")
    # The two last vehicles, at four cameras each.
    expect(page.locator(".vr-card")).to_have_count(8)
    page.wait_for_url("**after=1714565001**")
    page.go_back()
    expect(page.locator(".vr-card")).to_have_count(len(found))
    page.get_by_role("tab").nth(2).click()
    page.locator(".vr-case-row summary").click()
    check(page)
    page.get_by_role("button", name="Save again").click()
    expect(page.locator(".vr-said")).to_contain_text("may only read")
    with page.expect_download() as download:
        page.get_by_role("link", name="Print page").click()
    assert "White &lt;b&gt;car&lt;/b&gt;" in download.value.path().read_text(encoding="utf-8")
    page.goto(f"{served.url}/?case={'f' * 32}")
    expect(page.locator("#results [role=alert]")).to_contain_text("no case of this id")
    page.context.close()


PHONE = {
    "reduced_motion": "reduce",
    "locale": "zh-CN",
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
}


def test_a_watch_tells_of_what_another_process_adds(
    browser: Browser, served: Service, kept: dict, query: bytes, calibrated: Path, gallery_folder: Path
) -> None:
    """A picture of the vehicle that comes in is listed and counted, and no other's is."""
    with served.client("write") as writer:
        form = {"name": "Watched", "alarms_per_day": 0.001}
        writer.put(f"/api/cases/{kept['id']}", files={"image": query}, data=form)
        while writer.get(f"/api/cases/{RED}").json()["images_a_day"] is None:
            time.sleep(0.1)
        page = open_page(browser, served, "write", reduced_motion="reduce")
        page.goto(f"{served.url}/?case={RED}")
        tab = page.get_by_role("tab").nth(2)
        tab.click()
        expect(page.locator(".vr-case input[name=alarms]")).to_have_value("0.001")
        expect(page.locator(".vr-news")).to_contain_text("at most 0.001 false alarms a day", timeout=TIMEOUT)
        encoder, model = open_gallery_encoder(str(gallery_folder), str(calibrated))
        encoder.close()
        with open_gallery(served.gallery, model=model, writable=True) as gallery:
            for vehicle in (2, 3):
                key = name(vehicle, 1)
                entry = gallery.get(key)
                assert entry is not None
                gallery.add([replace(entry, key=f"new-{vehicle}.jpg")])
        expect(page.locator(".vr-news li")).to_have_count(1)
        expect(page.locator(".vr-news img")).to_have_attribute("alt", "new-3.jpg")
        expect(tab).to_contain_text("1 new")
        check(page)
        told = writer.get(f"/api/cases/{RED}").json()
        assert [alarm["key"] for alarm in told["alarms"]] == ["new-3.jpg"]
        assert writer.get("/api/case-news").json() == {"unseen": 1}
        page.get_by_role("button", name="I have seen these").click()
        expect(tab).not_to_contain_text("new")
        expect(page.locator(".vr-news li")).to_have_count(1)
        assert writer.get("/api/case-news").json() == {"unseen": 0}
    page.context.close()


def test_a_case_is_closed_and_deleted_on_a_phone(browser: Browser, served: Service, kept: dict) -> None:
    page = open_page(browser, served, "write", **PHONE)
    page.goto(f"{served.url}/?case={kept['id']}")
    expect(page.locator(".vr-marks .vr-thumb-yes")).to_have_count(1)
    page.get_by_role("tab").nth(2).click()
    expect(page.locator(".vr-case-row")).to_have_count(1)
    page.locator(".vr-case-row summary").click()
    check(page)
    page.locator(".vr-case-actions .vr-edit").click()
    expect(page.locator(".vr-case-row .vr-chip").first).to_have_text("已关闭")
    page.locator(".vr-case-row summary").click()
    page.locator(".vr-case-row .vr-delete").click()
    expect(page.locator(".vr-case-row")).to_have_count(0)
    page.context.close()
