"""Pages learn what runs: with the answer to an event, or within a minute of silence."""

import pytest

from tests.browser.browser_site import (
    ACTIVE_PATH,
    TRACK_PATH,
    change,
    everybody_sees,
    experiment,
    page_html,
    variant,
)

pytestmark = pytest.mark.browser

GET_ACTIVE = f"GET {ACTIVE_PATH}"
SHOWN = [change("text", "h1", "Changed")]


@pytest.fixture
def clock(page):
    """Let a test say when a minute has passed."""
    page.clock.install()
    return page.clock


def arrive(page):
    """Open the page and let its first report be answered: putting the clock forward ends questions under way."""
    with page.expect_response(f"**{TRACK_PATH}"):
        page.goto("/")


def navigate(page, path):
    """Go on as a single-page application does."""
    page.evaluate("(path) => { history.pushState({}, '', path) }", path)


def test_a_page_asks_again_when_it_goes_on_after_a_minute(site, page, clock):
    """Not within the minute, nor while nobody looks; once after it, by whichever way the page goes on."""
    site.experiments = [everybody_sees(*SHOWN)]
    arrive(page)
    navigate(page, "/soon")
    site.wait_for("pageview", 2)
    page.evaluate("() => Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
    clock.fast_forward(120_000)
    site.settle(page, 0.3)
    assert GET_ACTIVE not in site.asked
    with page.expect_response(f"**{ACTIVE_PATH}*"):
        navigate(page, "/late")
    site.settle(page, 0.3)  # the page takes the answer in
    clock.fast_forward(61_000)
    with page.expect_response(f"**{ACTIVE_PATH}*"):
        page.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')) }")
    site.settle(page, 0.3)
    navigate(page, "/soon-again")
    site.wait_for("experiment_impression", 4)
    assert site.asked.count(GET_ACTIVE) == 2


def test_the_answer_to_an_event_says_that_something_else_runs(site, page):
    """The kill switch reaches a page that does anything at all at once; what still runs is asked for once."""
    site.experiments = [everybody_sees(*SHOWN)]
    page.goto("/")
    site.wait_for("pageview")
    assert page.inner_text("h1") == "Changed"
    site.experiments = []
    page.evaluate("grademypage.trackConversion('signup')")
    page.wait_for_function("document.querySelector('h1').textContent === 'Original'")
    page.evaluate("grademypage.trackConversion('purchase')")
    site.wait_for("conversion", 2)
    site.settle(page, 0.3)
    assert site.asked.count(GET_ACTIVE) == 1


def test_a_script_from_the_cache_hears_of_a_stop_with_its_first_event(site, page):
    """However old it is, the page need not be open for a minute more."""
    site.cached_experiments = [everybody_sees(*SHOWN)]
    page.goto("/")
    page.wait_for_function("document.querySelector('h1').textContent === 'Original'")
    assert page.evaluate("grademypage.getExperimentAssignments()") == []


def test_answers_without_a_version_are_no_news(site, page):
    """A proxy that takes the header away makes no page ask."""
    site.experiments = [everybody_sees(*SHOWN)]
    site.answer = lambda: (202, {"Access-Control-Expose-Headers": "Retry-After"})
    page.goto("/")
    site.wait_for("pageview")
    site.settle(page, 0.3)
    assert GET_ACTIVE not in site.asked
    assert page.inner_text("h1") == "Changed"


def test_a_page_that_is_only_looked_at_learns_within_a_minute(site, page, clock):
    """The kill switch reaches a page that stays as it is."""
    site.experiments = [everybody_sees(*SHOWN)]
    arrive(page)
    assert page.inner_text("h1") == "Changed"
    site.experiments = []
    clock.run_for(61_000)
    page.wait_for_function("document.querySelector('h1').textContent === 'Original'")


def test_a_stopped_experiment_leaves_the_page_and_takes_nobody_in(site, page, clock):
    """Its change goes, and a visitor who meets its address only now is not given a variant."""
    elsewhere = everybody_sees(change("text", "h1", "Elsewhere"), id="b", urlMatchType="exact", targetUrl="/late")
    site.experiments = [everybody_sees(*SHOWN), elsewhere]
    arrive(page)
    assert page.inner_text("h1") == "Changed"
    site.experiments = []
    clock.fast_forward(61_000)
    navigate(page, "/late")
    page.wait_for_function("document.querySelector('h1').textContent === 'Original'")
    assert page.evaluate("grademypage.getExperimentAssignments()") == []
    site.wait_for("pageview", 2)
    assert "b" not in {event["eventData"]["experimentId"] for event in site.stored("experiment_impression")}


def test_a_visitor_keeps_the_variant_and_what_shows_is_not_drawn_again(site, page, clock):
    """New weights move nobody, the very nodes stay, and no impression is reported twice for one view."""
    site.experiments = [experiment(variant("Only", *SHOWN), variant("Other", weight=0))]
    arrive(page)
    page.evaluate("() => { window.node = document.querySelector('h1').firstChild }")
    site.experiments = [experiment(variant("Only", *SHOWN, weight=0), variant("Other", weight=1))]
    clock.fast_forward(61_000)
    navigate(page, "/next")
    site.wait_until(lambda: GET_ACTIVE in site.asked, "question what runs")
    site.settle(page, 0.3)
    assert page.evaluate("window.node === document.querySelector('h1').firstChild")
    assert [event["eventData"]["variantId"] for event in site.wait_for("experiment_impression", 2)] == ["only"] * 2


def test_an_experiment_that_was_started_meanwhile_begins(site, page, clock):
    """Its change shows and its impression is reported, without a reload."""
    started = everybody_sees(change("text", "h1", "Started"), id="new")
    site.experiments = [everybody_sees(change("class", "h1", "here"))]
    arrive(page)
    site.experiments = [*site.experiments, started]
    clock.fast_forward(61_000)
    page.wait_for_function("document.querySelector('h1').textContent === 'Started'")
    impressions = site.wait_for("experiment_impression", 2)
    assert [event["eventData"]["experimentId"] for event in impressions].count("new") == 1


def test_a_server_that_does_not_answer_changes_nothing(site, page, clock):
    """What is known stays shown; the next step of the page asks again."""
    site.experiments = [everybody_sees(*SHOWN)]
    arrive(page)
    page.route(f"**{ACTIVE_PATH}*", lambda route: route.abort())
    clock.fast_forward(61_000)
    navigate(page, "/next")
    site.wait_for("experiment_impression", 2)
    assert page.inner_text("h1") == "Changed"
    page.unroute(f"**{ACTIVE_PATH}*")
    navigate(page, "/third")
    site.wait_until(lambda: GET_ACTIVE in site.asked, "question what runs")


def test_a_question_that_fails_is_no_error_of_the_page(site, page):
    """Whoever collects the errors of a page, rejected promises too, finds none of ours."""
    site.cached_experiments = [everybody_sees(*SHOWN)]
    page.route(f"**{ACTIVE_PATH}*", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        page.goto("/")
    site.settle(page, 0.3)
    assert page.inner_text("h1") == "Changed"


def test_a_question_that_nobody_answers_is_given_up(site, page, clock):
    """The next minute asks again; a connection that hangs does not keep the kill switch from the page."""
    page.add_init_script("""(() => {
      const timeout = AbortSignal.timeout.bind(AbortSignal);
      AbortSignal.timeout = (milliseconds) => timeout(hung ? milliseconds : 300);
      const ordinary = fetch;
      const hang = ({ signal }) => new Promise((_, reject) => signal?.addEventListener("abort", reject));
      window.hung = 0;
      window.fetch = (url, options) =>
        url.includes("/experiments/active") && !window.hung++ ? hang(options) : ordinary(url, options);
    })()""")
    site.experiments = [everybody_sees(*SHOWN)]
    page.goto("/")
    site.wait_for("pageview")
    clock.run_for(61_000)
    site.settle(page, 0.5)
    assert page.evaluate("hung") == 1
    site.experiments = []
    clock.run_for(61_000)
    page.wait_for_function("document.querySelector('h1').textContent === 'Original'")


def test_an_answer_that_lost_its_version_is_asked_for_once(site, page):
    """Where a proxy takes the header from one of the two answers, not every event asks what runs."""
    site.cached_experiments = [everybody_sees(*SHOWN)]
    site.experiments = [everybody_sees(*SHOWN, name="Renamed")]

    def without_version(route):
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name != "experiments-version"}
        route.fulfill(response=answer, headers=headers)

    page.route(f"**{ACTIVE_PATH}*", without_version)
    page.goto("/")
    for count in range(1, 4):
        page.evaluate("grademypage.trackConversion('signup')")
        site.wait_for("conversion", count)
        site.settle(page, 0.3)
    assert site.asked.count(GET_ACTIVE) == 1


def test_a_second_copy_of_the_script_shows_nothing_later_either(site, page, clock):
    """Only one copy asks what runs; another would put back what the first has undone."""
    site.experiments = [everybody_sees(*SHOWN)]
    site.pages["/"] = page_html("<h1>Original</h1>", "<script src='/script.js'></script>" * 2)
    page.goto("/")
    clock.run_for(61_000)
    site.settle(page, 0.3)
    assert site.asked.count(GET_ACTIVE) == 1
    site.experiments = []
    clock.run_for(61_000)
    site.settle(page, 0.3)
    assert page.inner_text("h1") == "Original"
