"""The page as it is seen and reached: axe-core's rules, no cut label, large targets, few Tabs."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from benchmarks.browser import TIMEOUT, visit

DESKTOP, PHONE = (1440, 900), (390, 844)
LOOKS = list(itertools.product((DESKTOP, PHONE), ("light", "dark"), ("en-GB", "zh-CN")))
QUICK = [(DESKTOP, "light", "en-GB"), (PHONE, "dark", "zh-CN")]
WIDTHS = (360, 390, 600, 721, 1024, 1440, 1920, 2560)

# What a reader cannot read: text wider than a box that hides the rest. A file's name has a tooltip instead,
# and what is for screen readers alone is a pixel wide.
CUT = """() => [...document.querySelectorAll("body *")].filter((each) => {
    if (!(each instanceof HTMLElement)) return false;
    const style = getComputedStyle(each);
    const says = [...each.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    const isHiding = style.overflowX !== "visible" || style.textOverflow === "ellipsis";
    const isSeen = each.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const isCut = each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1;
    return isSeen && isCut && (isHiding ? each.innerText : says) &&
      !each.closest("[title]") && !each.matches("input, textarea, dialog, .vr-legend");
  }).map((each) => `${each.tagName}.${each.className}: ${each.innerText.slice(0, 60)}`)"""

SMALL = """() => [...document.querySelectorAll(
    "button, summary, select, textarea, input, [role=tab], [role=button]:not(.vr-dot)")].filter((each) => {
    if (!each.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    if (each.closest("#query-column:has(.vr-scene) #query")) return false;
    // What is clicked is the label, or the field around it.
    const field = each.matches(".border-none") && each.closest(".wrap");
    const target = each.closest("label:has(input)") || field || each;
    const { width, height } = target.getBoundingClientRect();
    return each.type !== "range" && width > 1 && height > 1 && (width < 39.5 || height < 39.5);
  }).map((each) => `${each.tagName}.${each.className} ${each.ariaLabel || each.innerText} ` +
    `${each.getBoundingClientRect().width}x${each.getBoundingClientRect().height}`)"""


# What waits for an answer is pale, and one answer may ask for the next.
SETTLED = """() => {
    let pale = false;
    for (let each = document.querySelector(".vr-found, .vr-notice"); each; each = each.parentElement)
      pale ||= getComputedStyle(each).opacity !== "1";
    window.calm = pale ? 0 : (window.calm || 0) + 1;
    return !pale && window.calm % 5 === 0;
  }"""


@pytest.fixture(
    params=[pytest.param(look, marks=[] if look in QUICK else pytest.mark.slow) for look in LOOKS]
)
def seen(request: pytest.FixtureRequest, browser: Browser, service_url: str) -> Iterator[Page]:
    """The page on a screen, in a scheme, in a language."""
    (width, height), scheme, locale = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        locale=locale,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    visit(page, service_url)
    expect(page.locator("html")).to_have_attribute("lang", re.compile(locale[:2]))
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}" for each in found]


def upload(page: Page, images: Path) -> None:
    page.locator("#query input[type=file]").set_input_files(
        images / "image_query" / "0003_c001_00003250_0.jpg"
    )
    expect(page.locator(".vr-card").nth(19)).to_be_visible()


def test_eight_states_break_no_rule(seen: Page, images: Path, tmp_path: Path) -> None:
    states, faults = [], []

    def note(name: str) -> None:
        seen.wait_for_function(SETTLED, polling=60)
        states.append(name)
        faults.extend(
            f"{name}: {fault}" for fault in (*violations(seen), *seen.evaluate(CUT), *seen.evaluate(SMALL))
        )

    note("start")
    seen.get_by_role("textbox").first.press("/")
    seen.locator("#words textarea, #words input").fill("@@@")
    seen.keyboard.press("Enter")
    expect(seen.locator(".vr-unknown")).to_be_visible()
    note("nothing")
    seen.locator("#words textarea, #words input").fill("")
    seen.keyboard.press("Enter")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    seen.locator("#query input[type=file]").set_input_files(tmp_path / "broken.jpg")
    expect(seen.locator("#results [role=alert]")).to_be_visible()
    note("error")
    upload(seen, images)
    note("results")
    seen.locator(".vr-frame").focus()
    seen.keyboard.press("ArrowLeft")
    expect(seen.locator(".vr-scene .vr-edit")).to_be_visible()
    note("box")
    if seen.locator("#filters > button.open").count() == 0:
        seen.locator("#filters > button").click()
    seen.locator(".vr-place-map summary").click()
    seen.locator("#more > button").click()
    expect(seen.locator("#rerank")).to_be_visible()
    note("filters")
    seen.locator(".vr-card .vr-yes").first.click()
    expect(seen.locator(".vr-marks")).to_be_visible()
    seen.locator(".vr-card .vr-compare").nth(1).click()
    expect(seen.locator("dialog[open] .vr-heat")).to_have_count(2)
    note("comparison")
    seen.keyboard.press("Escape")
    seen.get_by_role("tab").nth(1).click()
    expect(seen.locator(".vr-drawing").first).to_be_visible()
    note("map")
    assert len(states) == 8
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_no_label_is_cut_at_any_width(browser: Browser, service_url: str, images: Path, locale: str) -> None:
    context = browser.new_context(locale=locale)
    page = context.new_page()
    visit(page, service_url)
    upload(page, images)
    page.locator(".vr-place-map summary").click()
    page.locator("#more > button").click()
    expect(page.locator("#rerank")).to_be_visible()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(CUT) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_phone_shows_results_at_once_and_keys_reach_them_soon(
    browser: Browser, service_url: str, images: Path
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    visit(page, service_url)
    upload(page, images)
    area = page.locator(".vr-card .vr-picture").first.bounding_box()
    assert area is not None
    assert area["y"] + area["height"] < 760
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_role("button", name="Larger").click()
    # The picture has 96 pixels a side; its frame takes the page's width.
    column = page.locator("#query-column").bounding_box()
    assert column is not None
    assert column["width"] > 1000
    page.get_by_role("button", name="Larger").click()
    for viewport in (PHONE, DESKTOP):
        page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        page.locator(".vr-frame").focus()
        tabs = 0
        while not page.evaluate("document.activeElement.classList.contains('vr-card')"):
            page.keyboard.press("Tab")
            tabs += 1
            # Whoever goes by keyboard sees where they are.
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
            assert outline not in ("", "0px"), tabs
        assert tabs <= 5
    context.close()
