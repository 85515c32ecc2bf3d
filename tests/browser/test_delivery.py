"""Events arrive: batched, without preflight, when a page is left, and after an outage."""

import json
import time

import pytest

from tests.browser.browser_site import TRACK_PATH, everybody_sees, page_html

pytestmark = pytest.mark.browser

OUTBOX = """Object.keys(localStorage).filter((key) => key.startsWith("gmp_out:"))
  .flatMap((key) => localStorage[key].split("\\n").map((text) => JSON.parse(text).eventType))"""


def refuse(status, **headers):
    """Answer every track request with a status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: (status, named)


def test_ordinary_events_travel_together(site, page):
    """A view and three small events go as one request, in the documented shape."""
    page.goto("/")
    page.evaluate("() => { for (const name of ['a', 'b', 'c']) grademypage.track(name) }")
    site.wait_for("c")
    assert len(site.requests) == 1
    body = json.loads(site.requests[0].body)
    assert set(body) == {"projectId", "events"}
    assert [event["eventType"] for event in body["events"]] == ["pageview", "a", "b", "c"]


def test_a_conversion_does_not_wait(site, page):
    """It is sent with what lies in the outbox, well before the delay of ordinary events."""
    page.goto("/")
    site.wait_for("pageview")
    started = time.monotonic()
    page.evaluate("grademypage.trackConversion('purchase')")
    site.wait_for("conversion")
    assert site.requests[-1].seconds - started < 0.7


def test_a_collector_on_another_origin_gets_no_preflight(site, page):
    """Bodies go as text/plain without cookies."""
    site.base_url = f"http://localhost:{site.port}/"
    page.goto("/")
    site.wait_for("pageview")
    page.wait_for_function("Object.keys(localStorage).every((key) => !key.startsWith('gmp_out:'))")
    assert site.methods == [f"POST {TRACK_PATH}"]
    assert site.requests[0].headers["Content-Type"].startswith("text/plain")
    assert "Cookie" not in site.requests[0].headers


def test_bodies_keep_to_their_limits(site, page):
    """At most 50 events and 60,000 bytes a body, counted in bytes and not in characters."""
    page.goto("/")
    page.evaluate("""() => {
      for (let i = 0; i < 70; i++) grademypage.track("small");
      for (let i = 0; i < 12; i++) grademypage.track("large", { eventData: { text: "\\u20ac".repeat(3000) } });
      grademypage.track("too_large", { eventData: { text: "\\u20ac".repeat(3e4) } });
    }""")
    site.wait_for("small", 70)
    site.wait_for("large", 12)
    assert all(len(request.events) <= 50 for request in site.requests)
    assert all(len(request.body.encode()) <= 60_000 for request in site.requests)
    assert site.stored("too_large") == []


@pytest.mark.parametrize("leaving", ["location.href = '/blank'", "location.reload()", "window.close()"])
def test_a_conversion_arrives_when_the_page_is_left_at_once(site, page, leaving):
    """Sending starts before the navigation and outlives the page."""
    page.goto("/")
    tab = page.context.new_page()
    tab.goto("/")
    site.wait_for("pageview", 2)
    # Later than the answer to evaluate, which would wait for ever for a tab that is gone.
    tab.evaluate(f"void setTimeout(() => {{ grademypage.trackConversion('purchase'); {leaving} }}, 150)")
    site.wait_for("conversion")
    # A profile that is closed in the middle of a navigation may never say that it is closed.
    site.settle(page, 0.3)


def test_an_event_tracked_while_the_page_ends_arrives(site, page):
    """A handler of the page that runs after ours is not too late."""
    page.goto("/")
    site.wait_for("pageview")
    page.evaluate("addEventListener('pagehide', () => grademypage.track('goodbye'))")
    page.goto("/blank")
    site.wait_for("goodbye")


def test_a_beacon_takes_over_when_fetch_fails_at_the_end(site, page):
    """Without fetch the events of the last moment are handed to sendBeacon, and stay until answered for."""
    site.pages["/"] = page_html("<script>window.fetch = () => Promise.reject(new TypeError())</script>")
    page.goto("/")
    page.evaluate("grademypage.track('last')")
    page.goto("/blank")
    site.wait_for("last")
    assert "last" in page.evaluate(OUTBOX)


def test_an_outage_across_a_reload_loses_and_doubles_nothing(site, page):
    """Events of two pages that met 503 all arrive once the server is back; dedupe finds each once."""
    site.experiments = [everybody_sees()]
    site.answer = refuse(503, Retry_After="0")
    page.goto("/")
    page.evaluate("() => { for (let i = 0; i < 60; i++) grademypage.track('numbered', { eventData: { i } }) }")
    page.evaluate("grademypage.trackConversion('before')")
    site.wait_until(lambda: len(site.requests) >= 2, "refused requests")
    page.goto("/other")
    page.evaluate("grademypage.trackConversion('after')")
    assert site.accepted == []
    assert page.evaluate(OUTBOX).count("numbered") == 60
    site.answer = refuse(202)
    site.wait_for("numbered", 60)
    site.wait_for("conversion", 2)
    site.wait_for("experiment_impression", 2)
    page.wait_for_function("Object.keys(localStorage).every((key) => !key.startsWith('gmp_out:'))")
    assert sorted(event["eventData"]["i"] for event in site.stored("numbered")) == list(range(60))
    assert [event["eventName"] for event in site.stored("conversion")] == ["before", "after"]
    assert len(site.stored("pageview")) == 2


def test_a_server_that_cannot_be_reached_is_tried_again(site, page):
    """A network error keeps the events, also at the end of the page; the next page delivers them."""
    page.context.route("**" + TRACK_PATH, lambda route: route.abort())
    page.goto("/")
    page.evaluate("grademypage.trackConversion('purchase')")
    page.wait_for_timeout(200)
    assert "conversion" in page.evaluate(OUTBOX)
    page.context.unroute("**" + TRACK_PATH)
    site.wait_for("conversion")


def test_the_server_decides_when_it_is_tried_again(site, page):
    """Retry-After is kept to, by conversions and by the end of the page too."""
    site.answer = refuse(429, Retry_After="1")
    page.goto("/")
    page.evaluate("grademypage.trackConversion('one')")
    site.wait_until(lambda: len(site.requests) == 1, "refused request")
    page.wait_for_timeout(100)
    site.answer = refuse(202)
    page.evaluate("() => { grademypage.trackConversion('two'); dispatchEvent(new Event('pagehide')) }")
    site.wait_for("conversion", 2)
    assert 1 <= site.requests[1].seconds - site.requests[0].seconds < 3.5


def test_what_the_server_refuses_for_good_is_not_sent_again(site, page):
    """A 400 empties the outbox of those events, and later ones go through."""
    site.answer = refuse(400)
    page.goto("/")
    page.evaluate("grademypage.trackConversion('bad')")
    site.wait_until(lambda: len(site.requests) == 1, "refused request")
    page.wait_for_function("Object.keys(localStorage).every((key) => !key.startsWith('gmp_out:'))")
    site.answer = refuse(202)
    page.evaluate("grademypage.trackConversion('good')")
    assert [event["eventName"] for event in site.wait_for("conversion")] == ["good"]


def test_a_long_outage_keeps_the_newest_events(site, page):
    """The outbox holds 500 events and 250,000 characters at most; the oldest go first."""
    site.answer = refuse(503, Retry_After="60")
    page.goto("/")
    page.evaluate("() => { for (let i = 0; i < 600; i++) grademypage.track('event_' + i) }")
    kept = page.evaluate(OUTBOX)
    assert kept[-1] == "event_599"
    assert "pageview" not in kept
    assert len(kept) == 500
    page.evaluate("""() => {
      for (let i = 0; i < 60; i++) grademypage.track("large", { eventData: { text: "x".repeat(8e3) } });
    }""")
    assert 20 <= page.evaluate(OUTBOX).count("large") < 40
    assert page.evaluate("Object.values(localStorage).join('').length") < 251_000


def test_two_tabs_do_not_lose_each_other_s_events(site, page):
    """Each page keeps an outbox of its own; one that opens meanwhile takes over what is left."""
    site.answer = refuse(503, Retry_After="0")
    page.goto("/")
    tab = page.context.new_page()
    tab.goto("/other")
    for _ in range(5):
        page.evaluate("grademypage.track('from_first')")
        tab.evaluate("grademypage.track('from_second')")
    third = page.context.new_page()
    third.goto("/other")
    page.close(run_before_unload=False)
    tab.close(run_before_unload=False)
    site.answer = refuse(202)
    site.wait_for("from_first", 5)
    site.wait_for("from_second", 5)
    assert (len(site.stored("from_first")), len(site.stored("from_second"))) == (5, 5)


def test_a_burst_loses_nothing_where_the_server_answers(site, page):
    """More than the outbox holds, in one task: full bodies go at once."""
    page.goto("/")
    page.evaluate("""() => {
      for (let number = 0; number < 700; number++) grademypage.track("small");
      const text = "x".repeat(3e4);
      for (let number = 0; number < 5; number++) grademypage.track("large", { eventData: { text } });
    }""")
    site.wait_for("small", 700)
    site.wait_for("large", 5)
    assert len(site.requests) < 40


def test_a_full_storage_keeps_what_earlier_pages_left(site, page):
    """There is no room for two copies, so the next page's takes the place of the first one."""
    site.answer = refuse(503, Retry_After="60")
    page.goto("/blank")
    page.evaluate(
        """(projectId) => {
          const event = (number) => JSON.stringify({ eventType: "left", number, text: "x".repeat(500) });
          const left = [...Array(100).keys()].map(event).join("\\n");
          localStorage[`gmp_out:${projectId}:${crypto.randomUUID()}`] = left;
          for (let size = 1 << 22; size >= 1; size /= 2) {
            try { localStorage.full = (localStorage.full ?? "") + "x".repeat(size) } catch {}
          }
        }""",
        site.project_id,
    )
    page.goto("/")
    assert page.evaluate(OUTBOX).count("left") == 100


def test_a_full_storage_sends_what_is_left_once(site, page):
    """What has arrived leaves a storage without room as well, and no later page sends it again."""
    page.goto("/blank")
    page.evaluate(
        """(projectId) => {
          const event = (number) => JSON.stringify({ eventType: "left", number, text: "x".repeat(500) });
          const left = [...Array(20).keys()].map(event).join("\\n");
          localStorage[`gmp_out:${projectId}:${crypto.randomUUID()}`] = left;
          for (let size = 1 << 22; size >= 1; size /= 2) {
            try { localStorage.full = (localStorage.full ?? "") + "x".repeat(size) } catch {}
          }
        }""",
        site.project_id,
    )
    for _ in range(2):
        page.goto("/")
        site.settle(page, 1.5)
    assert [event["eventType"] for event in site.accepted].count("left") == 20
