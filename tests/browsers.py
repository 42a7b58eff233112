"""A real browser, and pages that keep every complaint: Debian's chromium, driven by Playwright."""

import os
import re
import shutil
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def browsing():
    """Run a browser; without one tests are left out, or fail where REQUIRE_BROWSER is set."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _leave_out("the Python package playwright is not installed")
    if CHROMIUM is None:
        _leave_out("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def _leave_out(why):
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(f"REQUIRE_BROWSER is set, but {why}")
    pytest.skip(why)


class Page:
    """A page that keeps every complaint of the browser and every foreign request."""

    def __init__(self, browser, url, **options):
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **options}
        )
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.url = url
        self.complaints = []
        self.requests = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, **fragment):
        """Go to the page with what its address says, until all of it is there."""
        while True:
            self.page.goto("about:blank")
            self.page.goto(f"{self.url}#{urlencode(fragment)}")
            try:
                self.page.wait_for_selector("html[data-ready]")
                return self.settle()
            except Exception:
                text = self.page.locator("body").inner_text()
                if not self._was_interrupted():
                    pytest.fail(f"Not ready: {text} {self.complaints}")

    def _was_interrupted(self):
        """Forget what the browser gave up since a network came or went, as Docker's do."""
        others = [one for one in self.complaints if "ERR_NETWORK_CHANGED" not in one]
        was_interrupted = len(others) < len(self.complaints)
        self.complaints[:] = others
        return was_interrupted

    def settle(self):
        """Wait for all panels."""
        for _ in range(2):  # what one panel answers may open another
            self.page.wait_for_timeout(60)
            self.page.wait_for_selector("[aria-busy=true]", state="detached")
        return self.page

    def close(self):
        """Close it; nobody complained, and nobody else was asked."""
        self.context.close()
        origin = re.match(r"https?://[^/]+", self.url)[0]
        foreign = [url for url in self.requests if not url.startswith((origin, "about:", "data:"))]
        assert foreign == []
        assert self.complaints == []
