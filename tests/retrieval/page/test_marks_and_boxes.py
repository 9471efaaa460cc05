"""What a user does with pictures and results: marks, boxes, several pictures, comparison, exports."""

import base64
import csv
import zipfile
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.browser import TIMEOUT, visit
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.page.driving import keys, query_file, results, upload
from tests.retrieval.running_app import running_app
from tests.retrieval.sources.detectors import CELLS, write_constant_detector


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
