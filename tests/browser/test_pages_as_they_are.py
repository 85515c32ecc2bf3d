"""Pages in frames, pages kept for the back button, calls that come before the script."""

import pytest

from app.script import render_async_snippet
from tests.browser.browser_site import PROJECT_ID, change, everybody_sees, page_html

pytestmark = pytest.mark.browser

CHANGED = everybody_sees(change("text", "h1", "Changed"))


@pytest.mark.parametrize("sandbox", ["", "sandbox='allow-scripts'"])
def test_a_page_in_a_frame_is_a_page(site, page, sandbox):
    """It shows its variant and counts its view, without storage too, and the page around it is left alone."""
    site.experiments = [CHANGED]
    site.pages["/around"] = page_html(f"<h1>Around</h1><iframe src='/' {sandbox}></iframe>", "")
    page.goto("/around")
    [frame] = page.frames[1:]
    frame.wait_for_function("document.querySelector('h1').textContent === 'Changed'")
    assert page.inner_text("h1") == "Around"
    assert [event["pathname"] for event in site.wait_for("experiment_impression")] == ["/"]
    assert [event["pathname"] for event in site.wait_for("pageview")] == ["/"]


def test_a_kept_page_counts_again_when_the_visitor_comes_back(site, keeping_page):
    """The browser's own back/forward cache: the very page returns, with a new view and a new impression."""
    page = keeping_page
    site.experiments = [CHANGED]
    page.goto("/")
    page.evaluate("window.kept = true")
    page.goto("/other")
    page.go_back(wait_until="commit")
    page.wait_for_function("window.kept === true")
    assert page.inner_text("h1") == "Changed"
    assert [event["pathname"] for event in site.wait_for("pageview", 3)] == ["/", "/other", "/"]
    assert len(site.wait_for("experiment_impression", 3)) == 3


@pytest.mark.parametrize("call", ["optIn", "optOut"])
def test_consent_may_be_given_or_refused_before_the_script_comes(site, page, call):
    """A banner that answers for the visitor need not wait for the script; what it refuses is never counted."""
    attribute = "data-consent" if call == "optIn" else ""
    queue = f"<script>window.grademypage = {{ q: [['track', 'early'], ['{call}']] }}</script>"
    site.pages["/"] = page_html("<h1>Original</h1>", f"{queue}<script src='/script.js' {attribute}></script>")
    site.experiments = [CHANGED]
    page.goto("/")
    if call == "optIn":
        assert page.inner_text("h1") == "Changed"
        site.wait_for("early")
        assert len(site.stored("pageview")) == 1
    else:
        assert page.inner_text("h1") == "Original"
        site.settle(page)
        assert site.methods == []


def test_the_async_snippet_takes_calls_at_once(site, page):
    """Buttons of the page work before the script has come."""
    site.pages["/"] = page_html("<h1>Original</h1>", render_async_snippet(PROJECT_ID, "", []))
    site.script_delay_seconds = 0.3
    page.goto("/", wait_until="commit")
    page.wait_for_selector("h1")
    assert page.evaluate("grademypage.getExperimentAssignments()") == []
    page.evaluate("() => { grademypage.trackConversion('quick'); grademypage.track('click', { eventName: 'x' }) }")
    assert site.wait_for("conversion")[0]["eventName"] == "quick"
    assert site.wait_for("click")[0]["eventName"] == "x"


def test_a_page_may_keep_what_the_snippet_gave_it(site, page):
    """Calls through a variable of the page arrive, before the script has come and after."""
    keep = "<script>window.mine = window.grademypage</script>"
    site.pages["/"] = page_html("<h1>Original</h1>", render_async_snippet(PROJECT_ID, "", []) + keep)
    page.goto("/")
    page.wait_for_function("window.grademypage.ready")
    page.evaluate("() => { mine.trackConversion('kept'); mine.q.push(['track', 'queued']) }")
    assert site.wait_for("conversion")[0]["eventName"] == "kept"
    site.wait_for("queued")


@pytest.mark.parametrize("policy", ["", "; trusted-types gmp-async"])
def test_the_async_snippet_loads_the_script_under_trusted_types(site, page, policy):
    """An address of a script is among what they hold back."""
    site.page_headers = {"Content-Security-Policy": f"require-trusted-types-for 'script'{policy}"}
    site.experiments = [CHANGED]
    site.pages["/"] = page_html("<h1>Original</h1>", render_async_snippet(PROJECT_ID, "", site.experiments))
    page.goto("/")
    page.wait_for_selector("h1:text-is('Changed')")


def test_where_trusted_types_are_forbidden_the_async_snippet_does_nothing(site, page):
    """No error reaches the page, and nothing waits hidden for a script that cannot come."""
    site.page_headers = {"Content-Security-Policy": "require-trusted-types-for 'script'; trusted-types 'none'"}
    site.experiments = [CHANGED]
    site.pages["/"] = page_html("<h1>Original</h1>", render_async_snippet(PROJECT_ID, "", site.experiments))
    page.goto("/")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).opacity") == "1"
    assert site.asked == []


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_page_may_have_a_variable_named_url(site, page, order):
    """It takes the place of what browsers call so; everything goes on, whichever of the two came first."""
    site.experiments = [CHANGED]
    head = ["<script>var URL = '/api'</script>", "<script src='/script.js'></script>"]
    site.pages["/"] = page_html("<h1>Original</h1>", "".join(head if order == "before" else head[::-1]))
    page.goto("/")
    site.wait_for("experiment_impression")
    page.evaluate("() => { sessionStorage.clear(); history.pushState({}, '', '/next') }")
    site.wait_for("experiment_impression", 2)
    site.experiments = []
    page.evaluate("grademypage.trackConversion('signup')")
    page.wait_for_function("document.querySelector('h1').textContent === 'Original'")
