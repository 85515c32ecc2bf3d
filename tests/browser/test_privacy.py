"""Who is not counted: privacy signals, automated browsers and previews."""

import pytest

from tests.browser.browser_site import EXPERIMENT_ID, change, everybody_sees, experiment, variant

pytestmark = pytest.mark.browser

BLUE = variant("Blue", change("text", "h1", "Blue"))
KEPT = """() => [document.cookie, ...Object.keys(localStorage), ...Object.keys(sessionStorage)]
  .filter((name) => name.startsWith("gmp_"))"""


@pytest.mark.parametrize(
    "signal",
    [
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true })",
        "Object.defineProperty(Navigator.prototype, 'doNotTrack', { get: () => '1' })",
    ],
)
def test_a_privacy_signal_means_no_events_no_ids_and_no_assignment(site, context, signal):
    """What was kept before the signal is removed, and the page's calls are harmless."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    site.pages["/again"] = site.pages["/"]
    page = context.new_page()
    page.goto("/")
    page.goto("/blank")
    assert page.evaluate(KEPT) != []
    site.wait_for("engagement")
    context.add_init_script(signal)
    page.goto("/again")
    page.evaluate("() => { grademypage.trackConversion('purchase'); grademypage.q.push(['track', 'x']) }")
    assert page.inner_text("h1") == "Original"
    assert page.evaluate("grademypage.getExperimentAssignments()") == []
    assert page.evaluate(KEPT) == []
    site.settle(page)
    assert {event["pathname"] for event in site.accepted} == {"/"}


def test_automated_browsers_are_not_counted_unless_the_installation_says_so(site, page):
    """This very browser is one; with count_bots it is counted, which every other test here relies on."""
    site.count_bots = False
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto("/")
    page.evaluate("grademypage.trackConversion('purchase')")
    assert page.inner_text("h1") == "Original"
    assert page.evaluate(KEPT) == []
    site.settle(page)
    assert site.methods == []


def test_a_preview_shows_the_asked_variant_on_all_pages_of_the_tab_and_sends_nothing(site, page):
    """The parameter does not disturb an exact address, and no assignment can be forwarded or is kept."""
    url = f"{site.url}/"
    site.experiments = [
        experiment(variant("Control"), BLUE | {"weight": 0.0001}, urlMatchType="exact", targetUrl=url),
    ]
    page.goto(f"/?gmp_force={EXPERIMENT_ID}:blue")
    assert page.inner_text("h1") == "Blue"
    page.evaluate("grademypage.trackConversion('purchase')")
    page.goto("/other")
    page.goto("/")
    assert page.inner_text("h1") == "Blue"
    assert page.evaluate("grademypage.getExperimentAssignments()") == []
    assert page.evaluate(KEPT) == ["gmp_force"]
    site.settle(page)
    assert site.methods == []
    page.goto("/?gmp_force=")
    page.goto("/")
    assert page.inner_text("h1") == "Original"
    site.wait_for("experiment_impression")


def test_experiments_can_be_switched_off_for_a_tab(site, page):
    """gmp_force=off shows the page as it is and sends nothing."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    for path in ("/?gmp_force=off", "/"):
        page.goto(path)
        assert page.inner_text("h1") == "Original"
    site.settle(page)
    assert site.methods == []


@pytest.mark.parametrize(
    "asked",
    [
        "nobody:blue",
        f"{EXPERIMENT_ID}:nothing",
        "<img src=x onerror=alert(1)>",
        "__proto__:constructor",
        "%E0%A4%A",
    ],
)
def test_a_preview_of_an_unknown_variant_is_an_ordinary_visit(site, page, asked):
    """Only configured ids count; nothing of the parameter reaches the page."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto(f"/?gmp_force={asked}")
    assert page.inner_text("h1") == "Changed"
    assert page.locator("img").count() == 0
    site.wait_for("experiment_impression")
