"""The browser that the page's tests share."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from benchmarks.browser import BROWSER_ARGUMENTS, TIMEOUT, find_chromium, missing_packages, visit
from retrieval.page.stubs import unwritten

with unwritten():
    import gradio  # noqa: F401 - as the service does, before a test's module imports it the slow way


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if (packages := missing_packages()) and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", *packages]):
            subprocess.run(command, env=environment, capture_output=True, timeout=400, check=False)
    if packages := missing_packages():
        pytest.skip(f"cannot be installed here: {', '.join(packages)}")
    chromium = find_chromium()
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(BROWSER_ARGUMENTS))
        yield opened
        opened.close()


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
