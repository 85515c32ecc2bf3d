"""A real Chromium, one for the session, a fresh profile and a fresh site for each test."""

import asyncio
import shutil
import threading

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.browser_site import Handler, Server, Site, page_html

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def site():
    """Serve an empty site on an address of its own; a test fills in pages and experiments."""
    site = Site(pages={"/": page_html("<h1>Original</h1>"), "/other": page_html("<h1>Other</h1>"), "/blank": ""})
    server = Server(("127.0.0.1", 0), type("Handler", (Handler,), {"site": site}))
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def chromium_path():
    """Where this machine has a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def _browser():
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Playwright's loop counts as running in this thread between calls; asyncio tests of the same process
        # must not see it, so it is set only while a browser test runs.
        loop = asyncio.get_running_loop()
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        asyncio._set_running_loop(None)  # noqa: SLF001 - made for those who implement loops
        yield browser, loop
        asyncio._set_running_loop(loop)  # noqa: SLF001
        browser.close()


@pytest.fixture
def context(_browser, site):
    """Open a fresh browser profile: a visitor who was never here."""
    browser, loop = _browser
    asyncio._set_running_loop(loop)  # noqa: SLF001
    context = browser.new_context(base_url=site.url)
    yield context
    context.close()
    asyncio._set_running_loop(None)  # noqa: SLF001


@pytest.fixture
def keeping_page(_browser, site):
    """Open a tab of a browser that keeps pages for the back button, as browsers of visitors do."""
    browser, loop = _browser
    asyncio._set_running_loop(loop)  # noqa: SLF001
    keeping = browser.browser_type.launch(
        executable_path=chromium_path(),
        args=CHROMIUM_ARGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield keeping.new_page(base_url=site.url)
    keeping.close()
    asyncio._set_running_loop(None)  # noqa: SLF001


@pytest.fixture
def page(context: BrowserContext):
    """Open a tab; an uncaught error on the page fails the test."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
