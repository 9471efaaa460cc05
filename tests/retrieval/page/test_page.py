"""The page in a real Chromium: upload, predictions, pictures, filters, bad files, phone width, no outside."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.browser import TIMEOUT, listens, visit
from retrieval.keys import add_key
from tests.retrieval.conftest import VEHICLES, draw_vehicle
from tests.retrieval.page.driving import (
    choose,
    fill,
    keys,
    open_more_filters,
    query_file,
    results,
    upload,
    vehicles,
)
from tests.retrieval.running_app import running_app


def test_upload_shows_predictions_and_pictures(page: Page, images: Path) -> None:
    expect(page.locator("#title")).to_contain_text("24 images · 4 cameras · model grid.test")
    upload(page, query_file(images, 3))
    results(page, 20)
    expect(page.locator("#prediction .vr-bar").first).to_contain_text("white")
    expect(page.locator("#prediction")).to_contain_text("%")
    expect(page.locator("#prediction")).to_contain_text("Type")
    first = page.locator(".vr-card").first
    # Without a sameness calibration there is a distance, and no percentage.
    expect(first.locator(".vr-score")).to_have_text("distance 0")
    expect(page.locator(".vr-verdict")).to_contain_text("No probability")
    expect(page.locator(".vr-summary")).to_contain_text("20 of 24 images, nearest first")
    page.get_by_role("button", name="Show more").click()
    results(page, 24)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    expect(first).to_contain_text("North gate")
    expect(first).to_contain_text("0:02:10")
    expect(first).to_contain_text("vehicle 3")
    page.wait_for_function(
        "[...document.querySelectorAll('.vr-card img')].slice(0, 5).every(i => i.naturalWidth > 0)"
    )
    assert vehicles(page)[:4] == ["vehicle 3"] * 4


def test_filters_change_the_results(page: Page, images: Path) -> None:
    open_more_filters(page)
    upload(page, query_file(images, 3))
    results(page, 20)
    choose(page, "color", "red")
    results(page, 4)
    assert set(vehicles(page)) == {"vehicle 1"}
    row = page.locator("#prediction .vr-bar").first
    row.click()
    results(page, 8)
    expect(row).to_have_attribute("aria-pressed", "true")
    row.click()
    results(page, 4)
    expect(row).not_to_have_attribute("aria-pressed", "true")
    choose(page, "camera", "桥 <b>")
    results(page, 1)
    expect(page.locator(".vr-camera")).to_have_text("桥 <b>")
    fill(page, "after", "9:00:00")
    expect(page.locator("#results")).to_contain_text("Nothing meets these filters", timeout=TIMEOUT)
    fill(page, "after", "noon")
    expect(page.locator("#results")).to_contain_text("'noon' is not a time", timeout=TIMEOUT)
    page.locator("#clear").click()
    results(page, 20)
    fill(page, "near", "48.1,11.5,50")
    expect(page.locator(".vr-camera").first).to_have_text("North gate")
    results(page, 6)
    page.locator("#near input, #near textarea").fill("")
    page.locator("#group input").click()
    page.get_by_role("option", name="one a vehicle").click()
    expect(page.locator(".vr-vehicle").nth(1)).not_to_have_text("vehicle 3", timeout=TIMEOUT)
    results(page, 6)


def test_the_camera_of_the_query_where_cameras_are_centred(
    context: BrowserContext, page: Page, gallery_folder: Path, images: Path, capfd
) -> None:
    """A picture of the gallery, of whose camera the page is told: then it is that very picture again."""
    expect(page.locator("#query-camera")).to_have_count(0)
    with running_app("--gallery", gallery_folder, "--camera-centring", "on") as url:
        centred = context.new_page()
        visit(centred, url)
        open_more_filters(centred)
        upload(centred, query_file(images, 3))
        results(centred, 20)
        first = centred.locator(".vr-card .vr-score").first
        expect(first).not_to_have_text("distance 0")
        centred.locator("#query-camera input").click()
        centred.get_by_role("option", name="North gate", exact=True).click()
        expect(first).to_have_text("distance 0", timeout=TIMEOUT)
        centred.locator("#query-camera input").click()
        centred.get_by_role("option", name="unknown", exact=True).click()
        expect(first).not_to_have_text("distance 0", timeout=TIMEOUT)
    # The service stopped under an open page.
    assert "Traceback" not in capfd.readouterr().err
    centred.close()


def test_plain_words_become_filters_without_any_image(page: Page) -> None:
    page.keyboard.press("/")
    # What Gradio's templates and HTML would take for theirs stays what was typed.
    unknown = "${7*7}{{#each}}<b>x</b>"
    page.keyboard.type(f"red or white, not camera 4, before 0:02:00, {unknown}")
    page.keyboard.press("Enter")
    results(page, 3)
    assert set(vehicles(page)) == {"vehicle 1"}
    expect(page.locator(".vr-summary")).to_contain_text("newest first")
    told = page.locator(".vr-understood")
    expect(told).to_contain_text("colour red, white")
    expect(told.locator(".vr-unknown")).to_have_text([unknown])
    page.locator(".vr-card").first.locator(".vr-no").click()
    results(page, 2)
    page.get_by_role("button", name="Forget all marks").click()
    results(page, 3)
    expect(page.locator("#before input, #before textarea")).to_have_value("0:02:00")
    fill(page, "words", "3号摄像头 的 蓝色 车")
    expect(page.locator(".vr-vehicle").first).to_have_text("vehicle 2", timeout=TIMEOUT)
    results(page, 1)
    expect(page.locator(".vr-camera")).to_have_text("camera 3")
    expect(page.locator("#before input, #before textarea")).to_have_value("")
    page.locator("#clear").click()
    expect(page.locator("#results")).to_contain_text("No image yet", timeout=TIMEOUT)


def test_an_address_brings_a_search_back(page: Page, context: BrowserContext, images: Path) -> None:
    """Marks outlive a box and a search with a result; undo, reload and a shared link work."""
    upload(page, query_file(images, 3))
    results(page, 20)
    liked = keys(page)[0]
    page.locator(".vr-card .vr-yes").first.click()
    expect(page.locator(".vr-marks .vr-thumb-yes")).to_have_count(1)
    page.locator(".vr-frame").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**box=**")
    expect(page.locator(".vr-marks .vr-thumb-yes")).to_have_count(1)
    page.locator(".vr-card .vr-no").nth(3).click()
    page.wait_for_url("**unlike=**")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".vr-marks .vr-thumb-no")).to_have_count(0)
    choose(page, "color", "white")
    page.wait_for_url("**color=white**")
    results(page, 4)
    address, found = page.url, keys(page)
    page.reload()
    expect(page.locator("#scene p")).to_contain_text("Box")
    results(page, 4)
    expect(page.locator(".vr-marks .vr-thumb-yes")).to_have_count(1)
    assert (page.url, keys(page)) == (address, found)
    shared = context.new_page()
    visit(shared, address)
    results(shared, 4)
    assert keys(shared) == found
    shared.close()
    page.locator(".vr-card .vr-similar").nth(1).click()
    page.wait_for_url("**?key=**")
    expect(page.locator(".vr-marks .vr-thumb-yes")).to_have_count(1)
    page.go_back()
    expect(page.locator("#scene p")).to_contain_text("Box")
    assert liked in page.url
    expect(page.locator("#scene")).to_contain_text("forgotten after 24 hours")
    page.goto(address.replace("upload=", "upload=0"))
    expect(page.locator("#results [role=alert]")).to_contain_text("upload it again")


def test_what_cannot_be_answered_says_why(page: Page) -> None:
    fill(page, "words", "flibber at camera 99")
    expect(page.locator(".vr-notice")).to_contain_text("Not understood: flibber, there is no camera 99 here")
    example = page.locator("#words textarea, #words input").get_attribute("placeholder") or ""
    fill(page, "words", example)
    expect(page.locator(".vr-card").first).to_be_visible()
    page.locator("#clear").click()
    choose(page, "color", "red")
    choose(page, "camera", "North gate")
    results(page, 1)
    fill(page, "after", "9:00:00")
    expect(page.locator(".vr-notice")).to_contain_text("Without one of them")
    page.get_by_role("button", name="Without From: 1").click()
    results(page, 1)


def test_chinese_for_a_chinese_browser_and_by_the_switch(
    browser: Browser, service_url: str, images: Path
) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    visit(page, service_url)
    expect(page.locator("#results")).to_contain_text("尚无图像", timeout=TIMEOUT)
    upload(page, query_file(images, 3))
    results(page, 20)
    expect(page.locator("#prediction .vr-bar").first).to_contain_text("白色")
    page.get_by_label("English").click()
    expect(page.locator("#results")).to_contain_text("20 of 24 images, nearest first", timeout=TIMEOUT)
    expect(page.locator("#scene")).to_contain_text("Another picture", timeout=TIMEOUT)
    expect(page.locator("#filter-color")).to_contain_text("Colour")
    results(page, 20)
    page.reload()
    expect(page.locator("#results")).to_contain_text("No image yet", timeout=TIMEOUT)
    context.close()


def test_example_and_number_of_results(page: Page) -> None:
    open_more_filters(page)
    page.get_by_role("button", name="Example 2", exact=True).click()
    results(page, 20)
    expect(page.locator("#prediction .vr-bar").first).to_contain_text(VEHICLES[2])
    number = page.locator("#k input[type=number]")
    number.fill("3")
    number.press("Enter")
    results(page, 3)


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


LATE_STREAM = """
const ask = window.fetch;
window.fetch = async (...asked) => {
  const answer = await ask(...asked);
  if (!answer.url.includes("/queue/data")) return answer;
  const late = new TransformStream({
    transform: async (part, stream) => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      stream.enqueue(part);
    },
  });
  return new Response(answer.body.pipeThrough(late), answer);
};
"""


def test_nothing_is_lost_when_the_stream_of_answers_comes_late(
    browser: Browser, service_url: str, images: Path
) -> None:
    """An image that is sent after the server has closed the stream, and before the page has read of it."""
    context = browser.new_context()
    context.add_init_script(LATE_STREAM)
    page = context.new_page()
    visit(page, service_url)
    upload(page, query_file(images, 1))
    results(page, 20)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_width_needs_no_sideways_scrolling(
    browser: Browser, service_url: str, images: Path, scheme
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    visit(page, service_url)
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
                listens(page)
                upload(page, next((images / "image_query").iterdir()))
                expect(page.locator(".vr-card")).to_have_count(20, timeout=TIMEOUT)
                expect(page.locator(".vr-card img").first).to_have_js_property("complete", True)
                assert page.locator(".vr-card img").first.evaluate("image => image.naturalWidth") > 0
            context.close()
