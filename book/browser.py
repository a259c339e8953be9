"""The system's Chromium, driven by Playwright: it tests the pages and prints them.

Playwright's own browsers are not needed; a Chromium or Chrome on the path will do.
"""

import shutil
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find():
    """Path of the first of `BROWSERS` that is there; FileNotFoundError where none is."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(
        f"no browser (looked for {', '.join(BROWSERS)}): apt-get install chromium"
    )


@contextmanager
def launched():
    """The browser that `find` finds, closed in the end."""
    executable = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        yield browser
        browser.close()


def settle(page):
    """Wait until a page is complete: its formulas typeset and the explorer, if any, drawn."""
    page.evaluate("window.MathJax?.startup?.promise")
    if page.locator("#explorer-app").count():
        page.wait_for_selector("#explorer-app[data-sensitivities=done]")
