"""The page in a real Chromium: upload, predictions, pictures, filters, bad files, phone width, no outside."""

import base64
import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.browser import TIMEOUT, listens, visit
from retrieval.keys import add_key
from tests.retrieval.conftest import VEHICLES, draw_vehicle
from tests.retrieval.running_app import running_app
from tests.retrieval.sources.detectors import CELLS, write_constant_detector


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all, so that its cache holds the page's scripts."""
    opened = browser.new_context(viewport={"width": 1440, "height": 900})
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, service_url: str) -> Iterator[Page]:
    """The open page; it fails the test when it asked anything of another host or had an error of its own."""
    opened = context.new_page()
    opened.set_default_timeout(TIMEOUT)
    foreign: list[str] = []
    errors: list[str] = []
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith((service_url, "data:", "blob:")) else foreign.append(request.url)
        ),
    )
    opened.on("pageerror", lambda error: errors.append(str(error)))
    visit(opened, service_url)
    expect(opened.locator("#results")).to_contain_text("No image yet", timeout=TIMEOUT)
    yield opened
    opened.close()
    assert foreign == []
    assert errors == []


def upload(page: Page, path: Path) -> None:
    page.locator("#query input[type=file]").set_input_files(path)


def choose(page: Page, name: str, option: str) -> None:
    page.locator(f"#filter-{name} input").click()
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def fill(page: Page, name: str, text: str) -> None:
    page.locator(f"#{name} input, #{name} textarea").fill(text)
    page.keyboard.press("Enter")


def results(page: Page, count: int) -> None:
    expect(page.locator(".vr-card")).to_have_count(count, timeout=TIMEOUT)


def vehicles(page: Page) -> list[str]:
    return page.locator(".vr-vehicle").all_inner_texts()


def keys(page: Page) -> list[str]:
    return [card.get_attribute("data-key") or "" for card in page.locator(".vr-card").all()]


def query_file(images: Path, vehicle: int) -> Path:
    return images / "image_query" / f"{vehicle:04}_c001_{vehicle * 1000 + 250:08}_0.jpg"


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


def open_more_filters(page: Page) -> None:
    """To be called before a search is waited for: what is typed in the first moments of an opened panel,
    Gradio sets back."""
    page.get_by_role("button", name="More filters and order").click()


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


def test_marks_refine_and_keys_work(page: Page, images: Path) -> None:
    upload(page, query_file(images, 3))
    results(page, 20)
    first, second = keys(page)[:2]
    page.locator(".vr-card").nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    expect(page.locator(".vr-marks .vr-thumb-no")).to_have_count(1, timeout=TIMEOUT)
    assert second not in keys(page)
    # The focus stays in its place although the cards were drawn anew.
    page.wait_for_function("document.activeElement.classList.contains('vr-card')")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("y")
    expect(page.locator(".vr-card.vr-is-marked")).to_have_count(1, timeout=TIMEOUT)
    assert page.locator(".vr-card.vr-is-marked").get_attribute("data-key") == first
    page.locator(".vr-marks .vr-thumb-no").click()
    expect(page.locator(".vr-marks .vr-thumb-no")).to_have_count(0, timeout=TIMEOUT)
    assert second in keys(page)
    page.get_by_role("button", name="Forget all marks").click()
    expect(page.locator(".vr-marks")).to_have_count(0, timeout=TIMEOUT)
    other = page.locator(".vr-card").filter(has_text="vehicle 5").first
    key = other.get_attribute("data-key") or ""
    other.focus()
    page.keyboard.press("s")
    expect(page.locator("#scene code")).to_have_text(key, timeout=TIMEOUT)
    expect(page.locator(".vr-vehicle").first).to_have_text("vehicle 5", timeout=TIMEOUT)
    assert key not in keys(page)
    page.get_by_role("button", name="Another picture").click()
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


def test_several_pictures_are_one_query(
    page: Page, context: BrowserContext, images: Path, service_url: str, tmp_path: Path
) -> None:
    """As over REST; in the address, with a box of its own, and one that is no picture is named."""
    files = [query_file(images, vehicle) for vehicle in (1, 2, 3)]
    upload(page, files[0])
    results(page, 20)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a picture").click()
    chooser.value.set_files([*files[1:], tmp_path / "broken.jpg"])
    expect(page.locator(".vr-others li")).to_have_count(2)
    expect(page.get_by_text("broken.jpg: not a JPEG")).to_be_visible()

    def over_rest(*asked: Path) -> list[str]:
        form = [("image", file.read_bytes()) for file in asked]
        answer = httpx.post(f"{service_url}/api/search", files=form, data={"k": "20"}, trust_env=False)
        return [result["key"] for result in answer.json()["results"]]

    page.wait_for_url("**also=**")
    assert keys(page) == over_rest(*files)
    assert keys(page) != over_rest(files[0])
    page.get_by_role("button", name="Show picture 3 of the vehicle").click()
    page.locator(".vr-frame").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#scene p")).to_contain_text("Box")
    expect(page.locator(".vr-others li")).to_have_count(2)
    page.wait_for_url("**box=**")
    found = keys(page)
    shared = context.new_page()
    visit(shared, page.url)
    results(shared, 20)
    expect(shared.locator(".vr-others li")).to_have_count(2)
    expect(shared.locator("#scene p")).to_contain_text("Box")
    assert keys(shared) == found
    shared.close()
    page.get_by_role("button", name="Whole picture").click()
    for _ in range(2):
        page.locator(".vr-others .vr-drop").first.click()
    expect(page.locator(".vr-others li")).to_have_count(0)
    page.wait_for_url(lambda url: "also=" not in url and "box=" not in url)
    assert keys(page) == over_rest(files[2])


def test_marks_in_quick_succession_all_count(page: Page, images: Path) -> None:
    upload(page, query_file(images, 3))
    results(page, 20)
    unwanted = keys(page)[:4]
    page.evaluate(
        """() => [...document.querySelectorAll(".vr-card .vr-no")].slice(0, 4).forEach(
             (button, place) => setTimeout(() => button.click(), 10 * place))"""
    )
    expect(page.locator(".vr-marks .vr-thumb-no")).to_have_count(4, timeout=TIMEOUT)
    assert not set(unwanted) & set(keys(page))


def test_a_detector_s_vehicles_are_chosen_by_a_click_or_a_key(
    browser: Browser, gallery_folder: Path, tmp_path: Path
) -> None:
    """Two are found, one beside the other; a picture of one vehicle alone offers none."""
    output = np.zeros((1, 6, CELLS))
    output[0, :, :2] = np.array([[80, 80, 96, 96, 0, 0.9], [240, 80, 96, 96, 0, 0.8]]).T
    detector = write_constant_detector(tmp_path / "detector.onnx", output, metadata={"names": "['x', 'car']"})
    Image.new("RGB", (320, 160), "gray").save(tmp_path / "scene.png")
    draw_vehicle(1, 1).save(tmp_path / "one.png")
    with running_app("--gallery", gallery_folder, "--detector", detector) as url:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT)
        visit(page, url)
        upload(page, tmp_path / "scene.png")
        found = page.locator(".vr-target")
        expect(found).to_have_count(2, timeout=TIMEOUT)
        expect(page.locator("#scene p")).to_contain_text("2 vehicles found")
        at, was = found.first.bounding_box(), None
        # What comes in beside it moves it.
        while at != was:
            page.wait_for_timeout(300)
            at, was = found.first.bounding_box(), at
        assert at is not None
        page.mouse.click(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
        expect(page.locator("#scene p")).to_have_text("Box 32,32,128,128", timeout=TIMEOUT)
        found.nth(1).press("Enter")
        expect(page.locator("#scene p")).to_have_text("Box 192,32,288,128", timeout=TIMEOUT)
        upload(page, tmp_path / "one.png")
        expect(found).to_have_count(0, timeout=TIMEOUT)
        page.close()


def test_box_by_pointer_and_by_keyboard(page: Page, service_url: str, tmp_path: Path) -> None:
    """What is searched for is the box, as over REST, whoever draws it."""
    scene = Image.new("RGB", (400, 300), "gray")
    scene.paste(draw_vehicle(1, 1), (20, 40))
    scene.paste(draw_vehicle(2, 1), (250, 100))
    scene.save(tmp_path / "scene.png")
    upload(page, tmp_path / "scene.png")
    results(page, 20)
    frame = page.locator(".vr-frame")
    area = frame.bounding_box()
    assert area is not None

    def drag(left: float, top: float, right: float, bottom: float) -> None:
        page.mouse.move(area["x"] + left / 400 * area["width"], area["y"] + top / 300 * area["height"])
        page.mouse.down()
        page.mouse.move(area["x"] + right / 400 * area["width"], area["y"] + bottom / 300 * area["height"])
        page.mouse.up()

    def agrees_with_rest(vehicle: str) -> None:
        expect(page.locator(".vr-vehicle").first).to_have_text(vehicle, timeout=TIMEOUT)
        box = page.locator("#scene p").inner_text().removeprefix("Box ")
        found = httpx.post(
            f"{service_url}/api/search",
            files={"image": (tmp_path / "scene.png").read_bytes()},
            data={"box": box, "k": "20"},
            trust_env=False,
        ).json()["results"]
        assert keys(page) == [result["key"] for result in found]

    drag(250, 100, 346, 196)
    expect(page.locator("#scene p")).to_contain_text("Box ", timeout=TIMEOUT)
    agrees_with_rest("vehicle 2")
    page.get_by_role("button", name="Whole picture").click()
    expect(page.locator("#scene p")).to_contain_text("Drag a box", timeout=TIMEOUT)
    # From the middle half of the picture to the left, where the red one is.
    frame.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    for _ in range(9):
        page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#scene p")).to_contain_text("Box ", timeout=TIMEOUT)
    agrees_with_rest("vehicle 1")
    page.wait_for_function("document.activeElement.classList.contains('vr-frame')")
    page.keyboard.press("Escape")
    expect(page.locator("#scene p")).to_contain_text("Drag a box", timeout=TIMEOUT)


def test_comparison_track_and_exports(page: Page, images: Path, tmp_path: Path) -> None:
    upload(page, query_file(images, 3))
    results(page, 20)
    page.locator(".vr-card").nth(1).focus()
    page.keyboard.press("c")
    dialog = page.locator("dialog[open]")
    expect(dialog.locator(".vr-heat")).to_have_count(2, timeout=TIMEOUT)
    expect(dialog).to_contain_text("Result 2")
    assert dialog.locator("img").evaluate_all("images => images.every(image => image.naturalWidth > 0)")
    dialog.get_by_text("Regions", exact=True).click()
    expect(dialog.locator(".vr-heat").first).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text("Result 3", timeout=TIMEOUT)
    expect(dialog.locator(".vr-heat")).to_have_count(2, timeout=TIMEOUT)
    expect(dialog).to_contain_text("Result 3")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(".vr-card").nth(2)).to_be_focused()
    for name, suffix in (("CSV", "csv"), ("ZIP", "zip"), ("Print page", "html")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Export: {name}").click()
        assert download.value.suggested_filename == f"results.{suffix}"
        download.value.save_as(tmp_path / f"results.{suffix}")
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text("utf-8-sig").splitlines()))
    assert [row["key"] for row in rows] == keys(page)
    assert len(zipfile.ZipFile(tmp_path / "results.zip").namelist()) == 22
    assert (tmp_path / "results.html").read_text().count("data:image/jpeg") == 21
    page.get_by_role("tab", name="Map and times").click()
    # One camera of four has a place; all have times.
    expect(page.get_by_role("group", name="Map of the cameras").locator(".vr-dot")).to_have_count(1)
    chart = page.get_by_role("group", name="Cameras and times")
    expect(chart.locator(".vr-dot")).to_have_count(20)
    chart.locator(".vr-dot").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_contain_text("Result 1", timeout=TIMEOUT)


def test_pasted_picture_replaces_the_one_that_is_there(page: Page, images: Path) -> None:
    paste = """data => {
      const files = new DataTransfer();
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      files.items.add(new File([bytes], "x.jpg", {type: "image/jpeg"}));
      document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: files, bubbles: true}));
    }"""
    for vehicle in (1, 2):
        page.evaluate(paste, base64.b64encode(query_file(images, vehicle).read_bytes()).decode())
        expect(page.locator(".vr-vehicle").first).to_have_text(f"vehicle {vehicle}", timeout=TIMEOUT)


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
