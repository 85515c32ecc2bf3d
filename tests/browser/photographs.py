"""Photographs of the dashboard for the documentation (`make screenshots`): the demo's data, from one seed."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.app.http_project import API, experiment_body
from tests.browser.conftest import CHROMIUM_ARGS, chromium_path
from tests.running_server import RunningServer, running_server

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
TOKEN = "letters-and-numbers"
SEED, VISITORS = "11", "9000"
BYTES_MAX = 150_000
# From here on a visitor is looked for who bought something.
POSITION = 1_234
PHONE = {"width": 390, "height": 844}
SCREEN = {"width": 1180, "height": 900}


def main() -> None:
    """Make the demo, let its visitors come, and take every picture anew."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prooflog-pictures-") as name:
        directory = Path(name)
        _run("demo", data_dir=directory)
        with (
            running_server(None, directory, "--no-demo", PROOFLOG_ADMIN_TOKEN=TOKEN) as server,
            sync_playwright() as playwright,
        ):
            _run(
                "simulate",
                "--url",
                server.url,
                "--seed",
                SEED,
                "--visitors",
                VISITORS,
                "--quiet",
                data_dir=directory,
            )
            _more_experiments(server)
            _until_counted(server)
            browser = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_ARGS)
            _take_all(server, browser)
            browser.close()


def _take_all(server: RunningServer, browser: Browser) -> None:
    demo = server.demo
    results = f"/dashboard/experiments/{demo['experimentId']}"
    project = f"/dashboard/projects/{demo['projectId']}"
    _take(server, browser, "results", results, height=1200)
    _take(server, browser, "results-dark", results, color_scheme="dark")
    _take(
        server, browser, "results-over-time", results, act=lambda page: _scroll_to(page, "#over-time"), height=1000
    )
    _take(server, browser, "results-phone", results, viewport=PHONE)
    _take(
        server,
        browser,
        "segments",
        f"{results}?by=device",
        act=lambda page: _scroll_to(page, "#breakdown"),
        height=900,
    )
    _take(server, browser, "why", f"{results}/why", act=_ask_why, height=900)
    _take(server, browser, "projects", "/dashboard", height=480)
    _take(server, browser, "list", project, height=620)
    _take(server, browser, "settings", f"{project}/settings")
    _take(server, browser, "power", f"{project}/power", height=900)
    _take(server, browser, "stop", f"{results}/stop", height=560)
    _take(server, browser, "login", "/dashboard/login", logs_in=False, height=620)
    _take(
        server, browser, "form", f"{results}/edit", act=lambda page: _look(page, f"{server.url}/demo"), height=1000
    )


def _take(
    server: RunningServer,
    browser: Browser,
    name: str,
    path: str,
    *,
    act: Callable[[Page], None] = lambda _page: None,
    viewport: dict[str, int] | None = None,
    height: int = SCREEN["height"],
    logs_in: bool = True,
    **looks: Any,
) -> None:
    size = viewport or {**SCREEN, "height": height}
    context = browser.new_context(
        viewport=size, base_url=server.url, device_scale_factor=1 if viewport is None else 1.5, **looks
    )
    page = context.new_page()
    if logs_in:
        page.goto("/dashboard/login")
        page.get_by_label("Admin token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
    page.goto(path)
    act(page)
    page.mouse.move(0, 0)
    file = PICTURES / f"{name}.png"
    page.screenshot(path=file, animations="disabled")
    context.close()
    assert file.stat().st_size <= BYTES_MAX, f"{name}: {file.stat().st_size} bytes"


def _scroll_to(page: Page, selector: str) -> None:
    page.locator(selector).evaluate(
        "(node) => window.scrollTo(0, node.getBoundingClientRect().top + scrollY - 24)"
    )


def _ask_why(page: Page) -> None:
    asked = page.url
    for position in range(POSITION, POSITION + 500):
        page.goto(f"{asked}?q={position}")
        if page.locator("table.why th", has_text="order_paid").count():
            _scroll_to(page, "#exposure")
            return
    raise AssertionError("nobody bought anything")


def _look(page: Page, address: str) -> None:
    page.get_by_label("Page to look at").fill(address)
    page.locator("#look-here").click()
    page.get_by_text("Finds 1 element.").first.wait_for()


def _more_experiments(server: RunningServer) -> None:
    """A list has more than one line."""
    for name, steps in (
        ("Free delivery from 40", ["start", "pause"]),
        ("Two columns of mugs", []),
        ("Reviews first", ["start"]),
    ):
        made = _post(server, f"{API}/experiments", experiment_body(name=name, targetUrl="/shop"))
        for step in steps:
            _post(server, f"{API}/experiments/{made['id']}/{step}", {})


def _post(server: RunningServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.url}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {server.demo['secretKey']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _until_counted(server: RunningServer) -> None:
    deadline = time.monotonic() + 120
    while server.results()["lag"]["events"]:
        assert time.monotonic() < deadline, "projections stand still"
        time.sleep(0.2)


def _run(*arguments: str, data_dir: Path) -> None:
    environment = {**os.environ, "PROOFLOG_DATA_DIR": str(data_dir)}
    subprocess.run([sys.executable, "-m", "app", *arguments], env=environment, check=True)


if __name__ == "__main__":
    main()
