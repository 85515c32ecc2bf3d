"""No flicker: changes before the first contentful paint, or elements that are hidden until then, and only these.

PROOFLOG_BROWSER_LOADS=50 loads as often as is promised; a few loads show that the test itself works.
"""

import os

import pytest

from app.script import render_async_snippet
from tests.browser.browser_site import PROJECT_ID, change, everybody_sees, page_html

pytestmark = pytest.mark.browser

LOADS = int(os.environ.get("PROOFLOG_BROWSER_LOADS", "6"))
HEADLINE = "<h1>Original</h1><p id='other'>Other</p>" + "<p>more</p>" * 50
# When the headline was changed, by the paint's own clock; this observer is called behind the script's.
WATCH = """<script>
  new MutationObserver(() => {
    if (document.querySelector("h1")?.textContent === "Changed") window.changedAt ??= performance.now();
  }).observe(document, { subtree: true, childList: true, characterData: true });
</script>"""
PAINTED_AT = """() => new Promise((resolve) => new PerformanceObserver((list) =>
  list.getEntriesByName("first-contentful-paint").forEach(({ startTime }) => resolve(startTime))
).observe({ type: "paint", buffered: true }))"""
# What each frame is about to show: the moment, the headline's text and opacity, the other element's opacity.
# A timer before the snippet and one behind it take as long as its own: on a busy machine timers are late.
LOOK = """<script>
  window.shown = [];
  setTimeout(() => { window.half = performance.now() }, 500);
  (function look() {
    const [title, other] = ["h1", "#other"].map((selector) => document.querySelector(selector));
    const opacity = (element) => Number(getComputedStyle(element).opacity);
    if (other) shown.push([performance.now(), title.textContent, opacity(title), opacity(other)]);
    requestAnimationFrame(look);
  })();
</script>"""
BEHIND = "<script>setTimeout(() => { window.overHalf = performance.now() }, 500)</script>"
REVEALED = "shown.length && shown.at(-1)[2] === 1 && shown.at(-1)[3] === 1"


def frames(page, until=REVEALED):
    """Wait until a frame is as wanted and return all until then."""
    page.wait_for_function(until)
    return page.evaluate("shown")


@pytest.mark.parametrize("latency_ms", [50, 150])
def test_changes_are_in_place_before_the_first_contentful_paint(site, context, latency_ms):
    """First visits and later ones: one request, and the original is never painted."""
    site.pages["/"] = page_html(HEADLINE, "<script src='/script.js'></script>" + WATCH)
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    site.script_delay_seconds = latency_ms / 1000
    late = []
    for number in range(LOADS // 2):
        if number % 2 == 0:
            context.clear_cookies()
        page = context.new_page()
        page.goto("/")
        painted_at = page.evaluate(PAINTED_AT)
        changed_at = page.evaluate("window.changedAt")
        if changed_at is None or changed_at > painted_at:
            late.append((number, changed_at, painted_at))
        page.close()
    assert late == []
    gets = [asked for asked in site.asked if asked.startswith("GET")]
    assert gets == ["GET /script.js"] * (LOADS // 2)


@pytest.fixture
def async_page(site):
    """Serve a page with the async snippet, copied when the experiment ran."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"), urlMatchType="exact", targetUrl="/")]
    snippet = render_async_snippet(PROJECT_ID, "", site.experiments)
    site.pages["/"] = site.pages["/elsewhere"] = page_html(HEADLINE, LOOK + snippet + BEHIND)
    return site


def test_the_async_snippet_hides_what_will_change_and_nothing_else(async_page, page):
    """The page is drawn without waiting; the headline shows with its change, and never before it."""
    async_page.script_delay_seconds = 0.25
    page.goto("/", wait_until="commit")
    seen = frames(page, f"shown.at(-1)?.[1] === 'Changed' && {REVEALED}")
    half = page.evaluate("window.half ?? Infinity")
    assert seen[0][1:3] == ["Original", 0]
    assert all(opacity == 0 for at, text, opacity, _ in seen if text == "Original" and at < half)
    assert all(other == 1 for *_, other in seen)


def test_the_async_snippet_hides_nothing_where_no_experiment_runs(async_page, page):
    """On another address, and on the next page once the experiment was stopped."""
    async_page.script_delay_seconds = 0.25
    page.goto("/elsewhere")
    assert all(opacity == 1 for _, _, opacity, _ in frames(page))
    async_page.experiments = []
    page.goto("/")
    page.wait_for_function("window.grademypage.ready")
    page.goto("/")
    assert all(opacity == 1 for _, _, opacity, _ in frames(page))


@pytest.mark.parametrize("trouble", ["slow", "gone", "silent"])
def test_the_async_snippet_gives_up_after_half_a_second(async_page, page, trouble):
    """A script that is late, is not there or does nothing leaves no blank page."""
    async_page.script_delay_seconds = 3
    if trouble == "gone":
        page.route("**/script.js*", lambda route: route.abort())
    if trouble == "silent":
        page.route("**/script.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto("/", wait_until="commit")
    seen = frames(page)
    assert seen[-1][1] == "Original"
    over_half = page.evaluate("window.overHalf ?? Infinity")
    assert all(opacity == 1 for at, _, opacity, _ in seen if at > over_half)


def test_a_known_visitor_s_browser_knows_what_runs_now(async_page, page):
    """What the script left on the page before counts, not what ran when the snippet was copied."""
    later = everybody_sees(change("text", "#other", "Later"), urlMatchType="starts_with", targetUrl="/else")
    async_page.experiments = [later]
    page.goto("/")
    page.wait_for_function("window.grademypage.ready")
    async_page.script_delay_seconds = 0.25
    page.goto("/elsewhere", wait_until="commit")
    page.wait_for_function(f"document.querySelector('#other')?.textContent === 'Later' && {REVEALED}")
    seen = page.evaluate("shown")
    assert seen[0][3] == 0
    assert all(opacity == 1 for _, _, opacity, _ in seen)


@pytest.mark.parametrize("left", ["nonsense", "{}", '[{"urlMatchType": 1}]', "null"])
@pytest.mark.usefixtures("async_page")
def test_a_spoiled_note_in_storage_is_not_believed(page, left):
    """The snippet falls back on what was copied, and the script comes in any case."""
    page.goto("/blank")
    page.evaluate("(left) => { localStorage.gmp_hide = left }", left)
    page.goto("/")
    seen = frames(page, f"shown.at(-1)?.[1] === 'Changed' && {REVEALED}")
    assert [seen[0][2], seen[-1][2]] == [0, 1] or seen[0][1] == "Changed"


def test_the_async_snippet_passes_its_attributes_on(async_page, page):
    """With data-consent on it, nothing is sent, stored or hidden for longer than the script takes."""
    snippet = render_async_snippet(PROJECT_ID, "", async_page.experiments)
    tagged = snippet.replace("<script>", "<script data-consent>", 1)
    async_page.pages["/"] = page_html(HEADLINE, LOOK + tagged)
    page.goto("/")
    page.wait_for_function("window.grademypage.ready")
    frames(page)
    assert page.inner_text("h1") == "Original"
    assert page.evaluate("localStorage.length") == 0
    assert async_page.methods == []
