"""A vehicle's way on the page: a person cuts a link, takes that back, and confirms, and all of it is kept."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from retrieval.journeys.store import LinkStore
from retrieval.keys import add_key
from retrieval.link import main as link
from tests.retrieval.conftest import name
from tests.retrieval.page.browser import TIMEOUT, visit
from tests.retrieval.running_app import running_app


@pytest.fixture
def folder(placed_folder: Path) -> Path:
    assert link(["--gallery", str(placed_folder), "--fastest", "500"]) == 0
    return placed_folder


def test_a_person_has_the_last_word(browser: Browser, folder: Path, images: Path) -> None:
    keys = folder.parent / "keys.json"
    secrets = {scope: add_key(keys, scope, scope) for scope in ("read", "write")}
    store = LinkStore(folder)
    with running_app("--gallery", folder, "--writable", "--keys", keys) as url:
        for scope in ("read", "write"):
            context = browser.new_context(http_credentials={"username": "x", "password": secrets[scope]})
            page = context.new_page()
            page.set_default_timeout(TIMEOUT)
            visit(page, url)
            page.set_input_files("#query input[type=file]", images / "image_query" / name(3, 1))
            expect(page.locator(".vr-card").first).to_be_visible(timeout=TIMEOUT)
            page.get_by_role("tab").nth(1).click()
            steps = page.locator(".vr-journey > ol > li")
            expect(steps).to_have_count(4, timeout=TIMEOUT)
            cut = steps.nth(1).locator(".vr-link-marks button").nth(1)
            cut.click()
            if scope == "read":
                expect(page.locator(".vr-said")).to_contain_text("write", timeout=TIMEOUT)
                assert store.marked("cut") == []
                context.close()
                continue
            expect(steps).to_have_count(2, timeout=TIMEOUT)
            assert store.marked("cut") == [(name(3, 2), name(3, 3))]
            page.locator(".vr-undo button").click()
            expect(steps).to_have_count(4, timeout=TIMEOUT)
            assert store.marked("cut") == []
            steps.first.locator(".vr-link-marks button").first.click()
            expect(steps.first.locator("[aria-pressed=true]")).to_be_visible(timeout=TIMEOUT)
            assert store.marked("confirmed") == [(name(3, 1), name(3, 2))]
            assert page.locator(".vr-journey figure svg").count() == 1
            context.close()
