"""One browser for the dashboard tests, and a tab per test that records every console error: no test may cause one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support.system import Jobyard

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--headless=new",
)  # fmt: skip
WAIT_MS = 15_000
expect.set_options(timeout=WAIT_MS)
TOKEN = "a-token-of-thirty-two-characters"


class Tab:
    """A page on the dashboard of one Jobyard."""

    def __init__(self, context: BrowserContext, jobyard: Jobyard) -> None:
        self.jobyard = jobyard
        self.base = f"http://127.0.0.1:{jobyard.port()}"
        self.expected: list[str] = []
        """Parts of console errors that this test expects: a browser also logs every refused request."""
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, address: str = "#/") -> Page:
        """Open an address, and wait for its heading."""
        self.page.goto(f"{self.base}/{address}")
        self.page.locator("h1").wait_for()
        return self.page

    def check(self) -> None:
        """There were no console errors, and no requests to other hosts."""
        left = [words for words in self.complaints if not any(expected in words for expected in self.expected)]
        assert left == []
        assert {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")} <= {urlsplit(self.base).netloc}

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's own Chromium, for this folder only: while it runs, no other test could run an event loop."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is on PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"])
    yield context
    context.close()


@pytest.fixture
def tab(context: BrowserContext, one_slot: Jobyard) -> Iterator[Tab]:
    """A tab on a small system that other tests share."""
    tab = Tab(context, one_slot)
    yield tab
    tab.check()


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """A system that requires a token, and may be stopped and started."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1, "API_TOKEN": TOKEN}
    with Jobyard(folder, **settings) as jobyard:
        yield jobyard


@pytest.fixture
def guarded_tab(context: BrowserContext, guarded: Jobyard) -> Iterator[Tab]:
    """A tab on the guarded system; requests that are refused without the token are expected."""
    tab = Tab(context, guarded)
    tab.expected.append("401")
    yield tab
    tab.check()
