"""A vehicle's way on the page: a person cuts a link, takes that back, and confirms, and all of it is kept."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import TIMEOUT, listens, visit
from retrieval.journeys.store import LinkStore
from retrieval.keys import add_key
from retrieval.link import main as link
from tests.retrieval.conftest import name
from tests.retrieval.running_app import running_app


@pytest.fixture
def folder(placed_folder: Path) -> Path:
    assert link(["--gallery", str(placed_folder), "--fastest", "500"]) == 0
    return placed_folder


def choose_on_the_map(page: Page) -> None:
    """Cameras and circles, by mouse and by keyboard; what is chosen is a filter, and in the address."""
    page.locator(".vr-place-map summary").click()
    page.locator(".vr-pick").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**camera=3**")
    expect(page.locator(".vr-card")).to_have_count(6)
    expect(page.locator(".vr-pick").nth(2)).to_be_focused()
    expect(page.locator(".vr-pick").nth(2)).to_have_attribute("aria-pressed", "true")
    page.locator(".vr-ground").scroll_into_view_if_needed()
    area = page.locator(".vr-ground svg").bounding_box()
    assert area is not None
    dots = [page.locator(f".vr-pick >> nth={number} >> circle").first.bounding_box() for number in range(4)]
    middles = [dot["y"] + dot["height"] / 2 for dot in dots if dot is not None]
    # From between two cameras, half a kilometre apart each, to the third one: the fourth is outside.
    page.mouse.move(area["x"] + area["width"] / 2, (middles[0] + middles[1]) / 2)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, middles[2] - 4, steps=3)
    page.mouse.up()
    page.wait_for_url(lambda url: "near=48.006" in url and "camera=" not in url)
    expect(page.locator(".vr-card")).to_have_count(18)
    page.locator(".vr-ground").focus()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowDown")
    # Of 750 metres 310 are left, which reach two cameras.
    expect(page.locator(".vr-card")).to_have_count(12)
    page.wait_for_function("document.activeElement.classList.contains('vr-ground')")
    page.reload()
    listens(page)
    expect(page.locator(".vr-place-map > p").first).to_contain_text("m of 48.006")
    expect(page.locator(".vr-card")).to_have_count(12)
    page.locator(".vr-place-map summary").click()
    page.locator(".vr-ground").focus()
    page.keyboard.press("Escape")
    expect(page.locator(".vr-card")).to_have_count(20)
    page.wait_for_url(lambda url: "near=" not in url)


def see_the_scene(page: Page) -> None:
    """The file that a result was made of; it stays unfolded, and large, from one result to the next."""
    page.get_by_role("tab").nth(0).click()
    page.locator(".vr-card .vr-compare").nth(1).click()
    dialog = page.locator("dialog[open]")
    dialog.locator(".vr-scenes summary").click()
    dialog.get_by_role("button", name="Zoom").click()
    for place in (2, 3):
        expect(dialog.locator(".vr-heat")).to_have_count(2)
        expect(dialog.locator(".vr-scenes figcaption")).to_have_text(f"Result {place}")
        expect(page.locator("dialog.vr-zoomed .vr-scenes img")).to_be_visible()
        page.wait_for_function("document.querySelector('.vr-scenes img').naturalWidth === 96")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")


def test_a_person_has_the_last_word(browser: Browser, folder: Path, images: Path) -> None:
    keys = folder.parent / "keys.json"
    secrets = {scope: add_key(keys, scope, scope) for scope in ("read", "write")}
    store = LinkStore(folder)
    originals = images / "image_test"
    with running_app("--gallery", folder, "--writable", "--keys", keys, "--originals", originals) as url:
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
                choose_on_the_map(page)
                see_the_scene(page)
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
