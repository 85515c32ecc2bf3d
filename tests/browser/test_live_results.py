"""A page of results that follows the log while somebody reads it."""

import re
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from tests.app.http_project import API, conversion, impression
from tests.browser.test_dashboard import TOKEN, sold  # noqa: F401
from tests.running_server import running_server

pytestmark = pytest.mark.browser

SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""

# Every stream that the page has opened, whether one has said how far it is, and a network that swallows all.
STREAMS = """
window.streams = [];
window.EventSource = class extends EventSource {
  constructor(...given) { super(...given); window.streams.push(this); }
  addEventListener(name, listener) {
    super.addEventListener(name, (event) => {
      if (window.isSwallowed) return;
      if (name === "lag") window.heard = true;
      listener(event);
    });
  }
};
"""
OPEN_STREAMS = "window.streams.filter((stream) => stream.readyState !== EventSource.CLOSED).length"
COUNTED = "Everything that has arrived is counted."
LOST = re.compile(
    r"^Nothing was heard from the server since \d{4}-\d\d-\d\d \d\d:\d\d UTC: these numbers are those of then\.$"
)


@pytest.fixture
def server(database_url, tmp_path):
    """Two processes that answer and one that counts: none of them knows what the others do."""
    settings = {"PROOFLOG_ADMIN_TOKEN": TOKEN, "PROOFLOG_WORKERS": "2"}
    with running_server(database_url, tmp_path, "--no-demo", **settings) as server:
        yield server


def test_numbers_renew_themselves_and_leave_the_reader_alone(server, sold, page) -> None:  # noqa: F811
    """What is counted meanwhile appears; focus, selection, what is open or typed stay, and nothing moves."""
    page.add_init_script(SHIFTS)
    page.add_init_script(STREAMS)
    page.goto(f"{server.url}/dashboard/experiments/{sold['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    visitors = page.locator(".traffic tbody tr").first.locator("td[data-label=Visitors] .explained")
    impressions = page.locator(".traffic tbody tr").first.locator("td[data-label=Impressions] .explained")
    page.get_by_text("The same as numbers").click()
    page.get_by_label("A time or a position").fill("12")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
    impressions.focus()
    expect(impressions.locator(".hint")).to_have_count(1)
    page.evaluate("window.marked = document.activeElement; document.querySelector('.sentence').marked = true")
    page.wait_for_timeout(600)

    # The server says how many events of the project the page does not show yet; whatever process counted them.
    seen = [impression(sold, 0, f"late-{number}") for number in range(5)] + [conversion("late-1")]
    project_id = project_of(server, sold)
    answer = httpx.post(f"{server.url}{API}/track", json={"projectId": project_id, "events": seen})
    assert answer.json()["accepted"] == len(seen)
    page.wait_for_function(
        "() => document.querySelector('.traffic td[data-label=Visitors] .explained').firstChild.data === '105'"
    )
    assert visitors.evaluate("(node) => node.firstChild.data") == "105"
    assert page.evaluate("document.activeElement === window.marked && document.activeElement.isConnected")
    expect(impressions.locator(".hint")).to_have_count(1)
    assert page.evaluate("document.querySelector('.sentence').marked")
    assert page.evaluate("getSelection().toString()") == sold["name"]
    assert page.locator("details[open]").count() == 1
    assert page.get_by_label("A time or a position").input_value() == "12"
    assert page.locator("#lag").inner_text() == "Everything that has arrived is counted."
    assert page.evaluate("window.shifted") < 0.01
    assert [place.get_attribute("class") for place in page.locator("[aria-live]").all()] == ["sentence"]

    # A tab in the background and a past moment cost nothing; whoever comes back has a stream again.
    assert page.evaluate(OPEN_STREAMS) == 1
    for hidden, streams in ((True, 0), (False, 1)):
        turn(page, hidden=hidden)
        assert page.evaluate(OPEN_STREAMS) == streams
    page.get_by_role("button", name="Show").click()
    page.get_by_text("What was known at position 12").wait_for()
    page.wait_for_function(f"() => {OPEN_STREAMS} === 0")


def test_a_page_that_lost_its_server_says_so_until_it_is_back(
    database_url,
    tmp_path,
    server,
    sold,  # noqa: F811
    page,
) -> None:
    """Since when, and not at once: a browser that comes back within seconds tells nobody."""
    page.clock.install()
    lag = open_results(server, sold, page)
    server.process.terminate()
    server.process.wait(timeout=30)
    page.clock.run_for(8_000)
    expect(lag).to_have_text(COUNTED)
    page.clock.run_for(8_000)
    expect(lag).to_have_text(LOST)
    page.clock.run_for(60_000)
    expect(lag).to_have_text(LOST)
    settings = {"PROOFLOG_ADMIN_TOKEN": TOKEN, "PROOFLOG_PORT": str(urlsplit(server.url).port)}
    with running_server(database_url, tmp_path, "--no-demo", **settings):
        expect(lag).to_have_text(COUNTED, timeout=30_000)
        page.close()


def test_numbers_that_could_not_be_fetched_are_not_said_to_be_all(server, sold, page) -> None:  # noqa: F811
    """Where the page is refused while its stream goes on, it says why, until it has the newer numbers."""
    lag = open_results(server, sold, page)
    problem = {"type": "urn:prooflog:problem:overloaded", "status": 503, "detail": "the server is busy"}
    view = re.compile(rf"/dashboard/experiments/{sold['id']}(\?.*)?$")
    page.route(view, lambda route: route.fulfill(status=503, json=problem))
    seen = {"projectId": project_of(server, sold), "events": [impression(sold, 0, "refused")]}
    assert httpx.post(f"{server.url}{API}/track", json=seen).json()["accepted"] == 1
    expect(lag).to_have_text("Newer numbers could not be fetched: the server is busy.", timeout=15_000)
    page.wait_for_timeout(6_000)  # the stream says every five seconds that all is counted
    expect(lag).to_have_text("Newer numbers could not be fetched: the server is busy.")
    page.unroute(view)
    expect(lag).to_have_text(COUNTED, timeout=30_000)


def test_a_network_that_swallows_everything_is_noticed_too(server, sold, page) -> None:  # noqa: F811
    """A stream that is open and says nothing is as good as none; another one is tried."""
    page.clock.install()
    lag = open_results(server, sold, page)
    page.evaluate("window.isSwallowed = true")
    page.clock.run_for(16_000)
    expect(lag).to_have_text(LOST)
    assert page.evaluate(OPEN_STREAMS) == 1
    assert page.evaluate("window.streams.length") > 1
    page.evaluate("window.isSwallowed = false")
    expect(lag).to_have_text(COUNTED, timeout=15_000)


def test_a_session_that_ended_while_the_page_lay_in_the_background_is_no_lost_server(
    server,
    sold,  # noqa: F811
    page,
) -> None:
    """Its stream is refused, and the page says why, for good."""
    page.clock.install()
    lag = open_results(server, sold, page)
    turn(page, hidden=True)
    page.context.clear_cookies()
    turn(page, hidden=False)
    expect(lag).to_have_text("These numbers stand still: you were logged out.")
    page.clock.run_for(60_000)
    expect(lag).to_have_text("These numbers stand still: you were logged out.")


def open_results(server, experiment, page):
    """The page, once its stream has said something; the place where it says how far it is."""
    page.add_init_script(STREAMS)
    page.goto(f"{server.url}/dashboard/experiments/{experiment['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#lag")).to_have_text(COUNTED)
    page.wait_for_function("() => window.heard", timeout=30_000)
    return page.locator("#lag")


def turn(page, *, hidden: bool) -> None:
    """Put the tab into the background, or back."""
    page.evaluate(
        f"Object.defineProperty(document, 'hidden', {{ value: {str(hidden).lower()}, configurable: true }});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


def project_of(server, experiment) -> str:
    """The public key of the experiment's project."""
    with httpx.Client(base_url=server.url) as client:
        client.post("/dashboard/login", data={"token": TOKEN})
        page = client.get(f"/dashboard/experiments/{experiment['id']}").text
    return page.partition("/dashboard/projects/")[2][:36]
