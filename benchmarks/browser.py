"""Debian's Chromium, for the page's tests and for tasks timed on it, and how they open the page."""

import ctypes
import shutil

from playwright.sync_api import Page

BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
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


def visit(page: Page, url: str) -> None:
    page.goto(url)
    listens(page)


def listens(page: Page) -> None:
    """Wait until an opened page listens: what it shows at first stands in it from the beginning."""
    page.wait_for_function("document.documentElement.classList.contains('vr-ready')", timeout=TIMEOUT)
