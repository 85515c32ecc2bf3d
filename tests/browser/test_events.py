"""What is reported by itself and through track, and that it is reported once."""

import uuid

import pytest

from tests.browser.browser_site import EXPERIMENT_ID, change, everybody_sees, page_html

pytestmark = pytest.mark.browser

TALL = page_html("<h1>Original</h1><div style='height: 4000px'></div>")


def names(events):
    """List the paths of events in their order."""
    return [event["pathname"] for event in events]


def test_a_page_view_tells_where_it_was_and_where_it_came_from(site, page):
    """The documented fields stand in the event itself."""
    site.pages["/from"] = page_html("<a href='/?utm_source=mail&amp;utm_campaign=May%20%26%20June#top'>go</a>", "")
    page.goto("/from")
    page.click("a")
    (view,) = site.wait_for("pageview")
    assert view.pop("visitorId") == page.evaluate("localStorage.gmp_vid")
    assert str(uuid.UUID(view.pop("sessionId")))
    assert abs(view.pop("timestamp") - page.evaluate("Date.now()")) < 5_000
    assert view == {
        "eventType": "pageview",
        "pathname": "/",
        "fullUrl": f"{site.url}/?utm_source=mail&utm_campaign=May%20%26%20June#top",
        "referrer": f"{site.url}/from",
        "utm": {"source": "mail", "campaign": "May & June"},
    }


def test_an_impression_is_sent_at_once_and_once_per_page_view(site, page):
    """It does not wait for the batch of ordinary events, and a second view reports again."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    site.pages["/"] = page_html("<script>window.done = Date.now()</script><h1>Original</h1>")
    page.goto("/")
    (impression,) = site.wait_for("experiment_impression")
    assert impression["eventData"] == {
        "experimentId": EXPERIMENT_ID,
        "variantId": "only",
        "variantName": "Only",
    }
    # The page's view may have taken this moment's millisecond: the next one of this tab is 16 later.
    assert impression["timestamp"] <= page.evaluate("window.done") + 16
    sent = [event["eventType"] for event in site.requests[0].events]
    assert sent == ["pageview", "experiment_impression"]
    page.evaluate("() => document.body.append(document.createElement('h1'))")
    site.settle(page, 0.3)
    assert len(site.stored("experiment_impression")) == 1
    page.goto("/other")
    assert names(site.wait_for("experiment_impression", 2)) == ["/", "/other"]


def test_scroll_depths_are_reported_once_each(site, page):
    """25, 50, 75 and 100 as they are passed, not again on the way back; nothing without scrolling."""
    site.pages["/"] = TALL
    page.goto("/")
    site.wait_for("pageview")
    assert site.stored("scroll") == []
    for share in (0.3, 0.55, 1, 0, 1):
        page.evaluate("(share) => scrollTo(0, document.documentElement.scrollHeight * share)", share)
        page.wait_for_timeout(60)
    page.goto("/blank")
    site.wait_for("engagement")
    assert [event["eventData"] for event in site.stored("scroll")] == [
        {"depth": 25},
        {"depth": 50},
        {"depth": 75},
        {"depth": 100},
    ]


def test_visible_time_is_reported_when_a_page_is_left(site, page):
    """The engagement event carries the seconds in view and the path that was left."""
    page.goto("/")
    page.wait_for_timeout(400)
    page.goto("/blank")
    (engagement,) = site.wait_for("engagement")
    assert engagement["pathname"] == "/"
    assert 0.3 <= engagement["eventData"]["engagementSeconds"] <= 3


def test_hidden_time_is_not_engagement(site, page):
    """Each spell in view is reported by itself, so that the sum is the visible time."""
    page.clock.install()
    page.goto("/")
    show = """(state) => {
      Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.clock.fast_forward(2_000)
    page.evaluate(show, "hidden")
    page.clock.fast_forward(600_000)
    page.evaluate(show, "visible")
    page.clock.fast_forward(3_000)
    page.evaluate(show, "hidden")
    page.evaluate(show, "hidden")
    spells = site.wait_for("engagement", 2)
    assert 5 <= sum(event["eventData"]["engagementSeconds"] for event in spells) < 60
    site.settle(page, 0.3)
    assert len(site.stored("engagement")) == 2


def test_track_and_track_conversion_carry_what_they_are_given(site, page):
    """trackConversion(name) is track("conversion", {eventName: name}); nothing given makes them throw."""
    page.goto("/")
    page.evaluate("""() => {
      const loop = {}; loop.loop = loop;
      grademypage.track("video_play", { eventName: "intro", eventData: { seconds: 3, tags: ["a"] } });
      grademypage.trackConversion("signup");
      grademypage.track("conversion", { eventName: "signup" });
      grademypage.track("odd", { eventData: loop });
      grademypage.track("odd", null);
      grademypage.track("odd", { eventName: null });
      grademypage.track();
      grademypage.track({ toString: null });
      grademypage.trackConversion(Symbol("x"));
    }""")
    (play,) = site.wait_for("video_play")
    assert (play["eventName"], play["eventData"]) == ("intro", {"seconds": 3, "tags": ["a"]})
    first, second, third = site.wait_for("conversion", 3)
    differing = {"timestamp"}
    assert {key for key in first if first[key] != second[key]} == differing
    assert (first["eventName"], third["eventName"], "eventData" in first) == ("signup", "Symbol(x)", False)
    assert ["eventName" in odd for odd in site.wait_for("odd", 3)] == [False] * 3


def test_calls_made_before_the_script_came_are_sent(site, page):
    """The stub's queue is drained, and pushing to it later works too."""
    stub = """<script>window.grademypage = { q: [["track", "early", { eventName: "one" }]] };
      grademypage.track = function () { grademypage.q.push(["track", ...arguments]) };
      grademypage.track("early", { eventName: "two" }); grademypage.q.push(["nonsense"], null);</script>"""
    site.pages["/"] = page_html("<script src='/script.js'></script>", stub)
    page.goto("/")
    page.evaluate("grademypage.q.push(['trackConversion', 'late'])")
    assert [event["eventName"] for event in site.wait_for("early", 2)] == ["one", "two"]
    assert site.wait_for("conversion")[0]["eventName"] == "late"


def test_a_second_copy_of_the_script_stays_silent(site, page):
    """Two installations on one page count one visit."""
    site.pages["/"] = page_html("<script src='/script.js'></script><h1>Original</h1>")
    page.goto("/")
    site.wait_for("pageview")
    site.settle(page, 0.3)
    assert len(site.stored("pageview")) == 1


def test_every_event_of_a_visitor_has_its_own_millisecond(site, page):
    """Bursts in two tabs, in turns, have distinct, growing, whole timestamps."""
    page.goto("/")
    tab = page.context.new_page()
    tab.goto("/other")
    for _ in range(3):
        for one, other in ((page, tab), (tab, page)):
            one.evaluate("() => { for (let i = 0; i < 20; i++) grademypage.track('burst') }")
            # Chromium carries storage from one tab to another in its own time.
            other.wait_for_function("mark => Number(localStorage.gmp_ts) >= mark", arg=_mark(one))
    burst = site.wait_for("burst", 120)
    stamps = [event["timestamp"] for event in site.stored()]
    assert len(burst) == 120
    assert len({event["visitorId"] for event in burst}) == 1
    assert len(set(stamps)) == len(stamps)
    assert all(isinstance(stamp, int) for stamp in stamps)


def test_tabs_that_count_at_the_same_time_share_no_millisecond(site, page):
    """Each tab has milliseconds of its own, whatever it has not yet seen of the other's."""
    tab = page.context.new_page()
    for one in (page, tab):
        one.goto("/")
        site.wait_for("pageview", 1 if one is page else 2)
    at = page.evaluate("Date.now() + 300")
    burst = """at => new Promise(done => setTimeout(() => {
        for (let i = 0; i < 100; i++) grademypage.track('burst');
        done();
    }, at - Date.now()))"""
    for one in (page, tab):
        one.evaluate(f"at => void ({burst})(at)", at)
    stamps = [event["timestamp"] for event in site.wait_for("burst", 200)]
    assert len(set(stamps)) == 200


def test_a_tab_that_meets_its_own_milliseconds_takes_others(site, page):
    """Whichever of the 16 it drew, another tab's mark in the same place moves it."""
    page.goto("/")
    (view,) = site.wait_for("pageview")
    page.evaluate("mark => { localStorage.gmp_ts = String(mark) }", view["timestamp"] + 3200)
    page.evaluate("grademypage.track('next')")
    (event,) = site.wait_for("next")
    assert event["timestamp"] > view["timestamp"] + 3200
    assert event["timestamp"] % 16 != view["timestamp"] % 16


@pytest.mark.thorough
def test_a_page_that_runs_ahead_of_the_clock_doubles_no_millisecond(site, page):
    """Thousands of events in seconds: what would be too far ahead goes between those already taken."""
    page.add_init_script("(() => { const now = Date.now(); Date.now = () => now })()")
    page.goto("/")
    site.wait_for("pageview")
    # Two bursts at once fit into the 64 KB that a browser keeps alive: what does not waits for a clock at rest.
    for count in range(50, 4501, 50):
        page.evaluate("() => { for (let i = 0; i < 50; i++) grademypage.trackConversion('burst') }")
        site.wait_until(lambda count=count: _count(site, "conversion") >= count, f"{count} events")
    assert len(site.stored("conversion")) == 4500


def _count(site, event_type):
    return sum(event["eventType"] == event_type for event in site.accepted)


def _mark(page):
    return page.evaluate("Number(localStorage.gmp_ts)")


def test_a_clock_that_was_wrong_once_is_not_followed(site, page):
    """A mark far in the future in storage does not push new events out of the accepted horizon."""
    page.goto("/")
    page.evaluate("() => { localStorage.gmp_ts = String(Date.now() + 86400e3) }")
    page.goto("/other")
    view = site.wait_for("pageview", 2)[-1]
    assert abs(view["timestamp"] - page.evaluate("Date.now()")) < 5_000


def test_a_session_ends_after_half_an_hour_without_events(site, page):
    """The id holds across pages of a tab and is new after 30 idle minutes."""
    page.goto("/")
    page.goto("/other")
    page.evaluate("""() => {
      const session = JSON.parse(sessionStorage.gmp_sid);
      sessionStorage.gmp_sid = JSON.stringify({ ...session, at: session.at - 31 * 60e3 });
      grademypage.trackConversion("late");
    }""")
    (late,) = site.wait_for("conversion")
    first, second = site.wait_for("pageview", 2)
    assert first["sessionId"] == second["sessionId"] != late["sessionId"]
    assert first["visitorId"] == late["visitorId"]


def test_navigation_inside_a_page_counts_one_view_per_address(site, page):
    """Push, replace, back and hash routes count; the same address, an anchor and a redirect do not."""
    page.goto("/")
    page.evaluate("""async () => {
      const pause = () => new Promise((done) => setTimeout(done, 30));
      history.pushState({}, "", "/a"); history.replaceState({}, "", "/a"); await pause();
      history.replaceState({}, "", "/a#anchor"); await pause();
      location.hash = "other-anchor"; await pause();
      history.pushState({}, "", "/login"); history.replaceState({}, "", "/b?tab=1"); await pause();
      history.replaceState({}, "", "/b?tab=2"); await pause();
      location.hash = "#/cart"; await pause();
      // The browser goes back when it has the time.
      const went = new Promise((done) => addEventListener("popstate", done, { once: true }));
      history.back(); await went; await pause();
      grademypage.trackConversion("here");
    }""")
    views = site.wait_for("pageview", 6)
    site.settle(page, 0.3)
    assert [event["fullUrl"].removeprefix(site.url) for event in site.stored("pageview")] == [
        "/",
        "/a",
        "/b?tab=1",
        "/b?tab=2",
        "/b?tab=2#/cart",
        "/b?tab=2",
    ]
    assert views[1]["referrer"] == f"{site.url}/"
    assert site.stored("conversion")[0]["fullUrl"] == f"{site.url}/b?tab=2"
    assert names(site.stored("engagement"))[:2] == ["/", "/a"]


def test_an_experiment_starts_with_the_address_that_it_targets(site, page):
    """A single-page application that reaches the address reports the impression there and then."""
    site.experiments = [
        everybody_sees(change("text", "h1", "Changed"), urlMatchType="starts_with", targetUrl="/pricing")
    ]
    page.goto("/")
    assert page.inner_text("h1") == "Original"
    page.evaluate("() => history.pushState({}, '', '/pricing?plan=team')")
    assert page.inner_text("h1") == "Changed"
    assert names(site.wait_for("experiment_impression")) == ["/pricing"]


def test_a_page_rendered_ahead_counts_when_it_is_activated(site, context):
    """Before activation nothing is sent or stored; calls made meanwhile are kept for it."""
    context.add_init_script("""(() => {
      let ahead = true;
      Object.defineProperty(Document.prototype, "prerendering", { get: () => ahead });
      window.activate = () => { ahead = false; document.dispatchEvent(new Event("prerenderingchange")) };
    })()""")
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page = context.new_page()
    page.goto("/")
    page.evaluate("grademypage.trackConversion('meanwhile')")
    site.settle(page)
    assert site.methods == []
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.evaluate("activate()")
    assert len(site.wait_for("experiment_impression")) == 1
    assert len(site.wait_for("conversion")) == 1
    assert page.inner_text("h1") == "Changed"
    page.goto("/other")
    assert page.inner_text("h1") == "Changed", "a known visitor's variant shows before activation"
    assert len(site.stored("experiment_impression")) == 1


def test_a_page_that_comes_back_from_the_cache_is_a_new_view(site, page):
    """The back button on a kept page counts a view and an impression."""
    site.experiments = [everybody_sees()]
    page.goto("/")
    site.wait_for("experiment_impression")
    page.evaluate("""() => {
      dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
      dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    }""")
    assert len(site.wait_for("pageview", 2)) == 2
    assert len(site.wait_for("experiment_impression", 2)) == 2
