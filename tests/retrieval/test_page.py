"""The page in a real Chromium: upload, predictions, pictures, filters, bad files, phone width, no outside."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from retrieval.keys import add_key
from tests.retrieval.conftest import VEHICLES, draw_vehicle
from tests.retrieval.service import running_app

BROWSER_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
TIMEOUT = 30_000


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def missing_packages() -> list[str]:
    """Debian's packages that are wanted: the browser, and a library of Playwright's own node."""
    packages = [] if find_chromium() else ["chromium"]
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        packages.append("libatomic1")
    return packages


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if (packages := missing_packages()) and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", *packages]):
            subprocess.run(command, env=environment, capture_output=True, timeout=400, check=False)
    if packages := missing_packages():
        pytest.skip(f"cannot be installed here: {', '.join(packages)}")
    chromium = find_chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(BROWSER_ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def url(gallery_folder: Path, images: Path) -> Iterator[str]:
    with running_app("--gallery", gallery_folder, "--examples", images / "image_query") as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The open page; it fails the test when it asked anything of another host or had an error of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(TIMEOUT)
    foreign: list[str] = []
    errors: list[str] = []
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith((url, "data:", "blob:")) else foreign.append(request.url)
        ),
    )
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(url)
    expect(opened.locator("#results")).to_contain_text("No image yet", timeout=TIMEOUT)
    yield opened
    context.close()
    assert foreign == []
    assert errors == []


def upload(page: Page, path: Path) -> None:
    page.locator("#query input[type=file]").set_input_files(path)


def choose(page: Page, name: str, option: str) -> None:
    page.locator(f"#filter-{name} input").click()
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def vehicles(page: Page) -> list[str]:
    return page.locator(".vr-vehicle").all_inner_texts()


def test_upload_shows_predictions_and_pictures(page: Page, images: Path) -> None:
    expect(page.locator("#title")).to_contain_text("24 images · 4 cameras · model grid.test")
    upload(page, images / "image_query" / "0003_c001_00003250_0.jpg")
    expect(page.locator(".vr-card")).to_have_count(20, timeout=TIMEOUT)
    expect(page.locator("#prediction .vr-bar").first).to_contain_text("white")
    expect(page.locator("#prediction")).to_contain_text("%")
    expect(page.locator("#prediction")).to_contain_text("Type")
    first = page.locator(".vr-card").first
    expect(first).to_contain_text("100%")
    expect(first).to_contain_text("North gate")
    expect(first).to_contain_text("0:02:10")
    expect(first).to_contain_text("vehicle 3")
    page.wait_for_function(
        "[...document.querySelectorAll('.vr-card img')].slice(0, 5).every(i => i.naturalWidth > 0)"
    )
    assert vehicles(page)[:4] == ["vehicle 3"] * 4


def test_filters_change_the_results(page: Page, images: Path) -> None:
    upload(page, images / "image_query" / "0003_c001_00003250_0.jpg")
    expect(page.locator(".vr-card")).to_have_count(20, timeout=TIMEOUT)
    choose(page, "colour", "red")
    expect(page.locator(".vr-card")).to_have_count(4, timeout=TIMEOUT)
    assert set(vehicles(page)) == {"vehicle 1"}
    page.get_by_role("button", name="Only white").click()
    expect(page.locator(".vr-vehicle").first).to_have_text("vehicle 3", timeout=TIMEOUT)
    assert set(vehicles(page)) == {"vehicle 3"}
    choose(page, "camera", "桥 <b>")
    expect(page.locator(".vr-card")).to_have_count(1, timeout=TIMEOUT)
    expect(page.locator(".vr-camera")).to_have_text("桥 <b>")
    page.locator("#after input, #after textarea").fill("9:00:00")
    expect(page.locator("#results")).to_contain_text("Nothing meets these filters", timeout=TIMEOUT)
    page.locator("#after input, #after textarea").fill("noon")
    expect(page.locator("#results")).to_contain_text("'noon' is not a time", timeout=TIMEOUT)
    page.locator("#after input, #after textarea").fill("")
    expect(page.locator(".vr-card")).to_have_count(1, timeout=TIMEOUT)


def test_example_and_number_of_results(page: Page) -> None:
    page.locator("#examples button.gallery-item").nth(1).click()
    expect(page.locator(".vr-card")).to_have_count(20, timeout=TIMEOUT)
    expect(page.locator("#prediction .vr-bar").first).to_contain_text(VEHICLES[2])
    number = page.locator("#k input[type=number]")
    number.fill("3")
    number.press("Enter")
    expect(page.locator(".vr-card")).to_have_count(3, timeout=TIMEOUT)


def test_bad_file_gives_a_sentence_and_the_page_goes_on(page: Page, images: Path, tmp_path: Path) -> None:
    good = images / "image_query" / "0003_c001_00003250_0.jpg"
    cut = tmp_path / "half <b>copied.jpg"
    cut.write_bytes(good.read_bytes()[:800])
    upload(page, cut)
    error = page.locator("#results [role=alert]")
    expect(error).to_contain_text("truncated", timeout=TIMEOUT)
    expect(error).to_contain_text("copy it again")
    expect(page.locator(".vr-card")).to_have_count(0)
    expect(page.locator("#prediction")).to_be_hidden()
    assert "Traceback" not in page.content()
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    expect(page.locator("#results")).to_contain_text("No image yet", timeout=TIMEOUT)
    mended = tmp_path / "mended.png"
    draw_vehicle(1, 1).save(mended)
    upload(page, mended)
    expect(page.locator(".vr-vehicle").first).to_have_text("vehicle 1", timeout=TIMEOUT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_needs_no_sideways_scrolling(browser: Browser, url: str, images: Path, scheme) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#results")).to_contain_text("No image yet", timeout=TIMEOUT)
    upload(page, images / "image_query" / "0001_c001_00001250_0.jpg")
    expect(page.locator(".vr-card").first).to_be_visible(timeout=TIMEOUT)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    dark = (
        page.evaluate("getComputedStyle(document.querySelector('.vr-card')).backgroundColor")
        != "rgb(255, 255, 255)"
    )
    assert dark == (scheme == "dark")
    context.close()


def test_a_browser_asks_for_the_key_and_the_page_works(
    browser: Browser, gallery_folder: Path, images: Path, tmp_path: Path
) -> None:
    """Pictures, uploads and event streams all carry the key that was entered once."""
    secret = add_key(tmp_path / "keys.json", "desk", "read")
    with running_app("--gallery", gallery_folder, "--keys", tmp_path / "keys.json") as url:
        for password, status in (("wrong", 401), (secret, 200)):
            context = browser.new_context(http_credentials={"username": "desk", "password": password})
            page = context.new_page()
            answer = page.goto(url)
            assert answer is not None
            assert answer.status == status
            if status == 200:
                upload(page, next((images / "image_query").iterdir()))
                expect(page.locator(".vr-card")).to_have_count(20, timeout=TIMEOUT)
                expect(page.locator(".vr-card img").first).to_have_js_property("complete", True)
                assert page.locator(".vr-card img").first.evaluate("image => image.naturalWidth") > 0
            context.close()
