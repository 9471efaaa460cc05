"""The browser that the page's tests share."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from benchmarks.browser import BROWSER_ARGUMENTS, TIMEOUT, find_chromium, missing_packages
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
