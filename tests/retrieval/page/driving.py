"""A page in a real browser, driven as a user does: by its fields, filters, cards and keys."""

from pathlib import Path

from playwright.sync_api import Page, expect

from benchmarks.browser import TIMEOUT


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


def open_more_filters(page: Page) -> None:
    """To be called before a search is waited for: what is typed in the first moments of an opened panel,
    Gradio sets back."""
    page.get_by_role("button", name="More filters and order").click()
