"""Who is not counted: privacy signals, automated browsers and previews."""

import uuid
from collections import Counter

import pytest

from app.script import render_async_snippet, render_script
from tests.browser.browser_site import (
    EXPERIMENT_ID,
    PROJECT_ID,
    change,
    everybody_sees,
    experiment,
    page_html,
    variant,
)

pytestmark = pytest.mark.browser

BLUE = variant("Blue", change("text", "h1", "Blue"))
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true })"
KEPT = """() => [document.cookie, ...Object.keys(localStorage), ...Object.keys(sessionStorage)]
  .filter((name) => name.startsWith("gmp_"))"""


@pytest.mark.parametrize(
    "signal",
    [
        GPC,
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


def test_a_preview_holds_beside_another_projects_script(site, page):
    """Which knows nothing of the ids that were asked for, and so leaves them alone."""
    other = render_script(project_id=str(uuid.uuid4()), base_url=site.url, experiments=[], count_bots=True)
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    both = f"<script src='/script.js'></script><script>{other.decode()}</script>"
    site.pages["/"] = site.pages["/other"] = page_html("<h1>Original</h1>", both)
    page.goto(f"/?gmp_force={EXPERIMENT_ID}:only")
    page.goto("/other")
    assert page.inner_text("h1") == "Changed"
    site.settle(page)
    assert PROJECT_ID not in "".join(request.body for request in site.requests)


CONSENT_PAGE = page_html("<h1>Original</h1>", "<script src='/script.js' data-consent></script>")


def test_before_consent_nothing_is_stored_sent_or_changed(site, page):
    """With data-consent on the script's tag, silence is a no; calls of the page wait in memory."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    site.pages["/asks"] = CONSENT_PAGE
    page.goto("/asks")
    page.evaluate("grademypage.trackConversion('signup')")
    assert page.inner_text("h1") == "Original"
    assert page.evaluate("grademypage.getExperimentAssignments()") == []
    assert page.evaluate(KEPT) == []
    site.settle(page)
    assert site.methods == []


def test_a_module_waits_for_consent_too(site, page):
    """A module does not know its own tag; data-consent on it holds all the same."""
    site.pages["/asks"] = CONSENT_PAGE.replace("<script", "<script type='module'")
    page.goto("/asks")
    page.evaluate("grademypage.trackConversion('signup')")
    site.settle(page)
    assert page.evaluate(KEPT) == []
    assert site.methods == []
    page.evaluate("grademypage.optIn()")
    site.wait_for("conversion")


def test_consent_begins_the_count_and_lasts(site, page):
    """The page's view, its impression and what waited count once, and the next page need not ask."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    site.pages["/asks"] = CONSENT_PAGE
    page.goto("/asks")
    page.evaluate("grademypage.trackConversion('signup'); grademypage.optIn(); grademypage.optIn()")
    assert page.inner_text("h1") == "Changed"
    page.goto("/asks")
    assert page.inner_text("h1") == "Changed"
    site.settle(page)
    # A page that is left in the middle of an answer sends again: the server takes what came twice once.
    counts = Counter(event["eventType"] for event in site.stored())
    assert (counts["pageview"], counts["experiment_impression"], counts["conversion"]) == (2, 2, 1)
    assert len({event["visitorId"] for event in site.accepted}) == 1


def test_who_opts_out_is_forgotten_until_opting_in(site, page):
    """Only the refusal itself is kept; nothing is sent after it, on this page or the next, nor anything shown."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto("/")
    site.wait_for("pageview")
    page.evaluate("grademypage.optOut()")
    sent = len(site.accepted)
    page.evaluate("grademypage.trackConversion('purchase'); history.pushState({}, '', '/other')")
    assert page.evaluate(KEPT) == ["gmp_consent"]
    page.goto("/")
    assert page.inner_text("h1") == "Original"
    page.evaluate("grademypage.trackConversion('purchase')")
    assert page.evaluate(KEPT) == ["gmp_consent"]
    site.settle(page)
    assert len(site.accepted) == sent
    page.evaluate("grademypage.optIn()")
    assert page.inner_text("h1") == "Changed"
    site.wait_for("experiment_impression")


def test_a_privacy_signal_outweighs_consent(site, context):
    """Nothing is stored or sent, whatever the page's banner calls."""
    context.add_init_script(GPC)
    page = context.new_page()
    page.goto("/")
    page.evaluate("grademypage.optIn(); grademypage.trackConversion('purchase'); grademypage.optOut()")
    assert page.evaluate(KEPT) == []
    site.settle(page)
    assert site.methods == []


def test_opting_out_holds_in_other_tabs_too(site, page):
    """A tab that was open already reports and stores nothing more."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto("/")
    tab = page.context.new_page()
    tab.goto("/other")
    site.wait_for("pageview", 2)
    tab.evaluate("grademypage.optOut()")
    # Chromium carries storage from one tab to another in its own time.
    page.wait_for_function("localStorage.gmp_consent === 'no'")
    page.evaluate("() => { history.pushState({}, '', '/next'); grademypage.trackConversion('purchase') }")
    site.settle(page)
    assert {event["pathname"] for event in site.accepted} == {"/", "/other"}
    assert "conversion" not in {event["eventType"] for event in site.accepted}
    assert page.evaluate(KEPT) == ["gmp_consent"]


def test_opting_out_holds_on_a_page_that_the_browser_kept(site, keeping_page):
    """The back button brings back a page that still knows the visitor; it forgets there and then."""
    page = keeping_page
    page.goto("/")
    page.evaluate("window.kept = true")
    page.goto("/other")
    site.wait_for("pageview", 2)
    page.evaluate("grademypage.optOut()")
    page.go_back(wait_until="commit")
    page.wait_for_function("window.kept === true")
    site.settle(page)
    assert len(site.stored("pageview")) == 2
    assert page.evaluate(KEPT) == ["gmp_consent"]


def test_who_opts_in_after_opting_out_is_somebody_new(site, page):
    """A new id with a variant of its own: nothing links it to the one before."""
    page.goto("/blank")
    site.experiments = [experiment(variant("Control", weight=1e-6), BLUE)]
    old = {"visitorId": "before", "variants": [[EXPERIMENT_ID, "control"]]}
    page.evaluate("(old) => { localStorage.gmp_vid = 'before'; localStorage.gmp_asg = JSON.stringify(old) }", old)
    page.goto("/")
    assert page.inner_text("h1") == "Original"
    page.evaluate("() => { grademypage.optOut(); grademypage.optIn() }")
    assert page.inner_text("h1") == "Blue"
    [assignment] = page.evaluate("grademypage.getExperimentAssignments()")
    assert assignment["variantId"] == "blue"


@pytest.mark.parametrize("attribute", ["data-consent", ""])
def test_a_link_to_a_preview_stores_nothing_without_consent(site, context, attribute):
    """Neither before opting in nor under a privacy signal: the variant shows on this page, and that is all."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    snippet = render_async_snippet(PROJECT_ID, "", site.experiments)
    site.pages["/"] = page_html("<h1>Original</h1>", snippet.replace("<script>", f"<script {attribute}>", 1))
    if not attribute:
        context.add_init_script(GPC)
    page = context.new_page()
    page.goto(f"/?gmp_force={EXPERIMENT_ID}:only")
    page.wait_for_function("document.querySelector('h1').textContent === 'Changed'")
    assert page.evaluate(KEPT) == []


def test_a_preview_outlasts_its_experiment(site, page):
    """Stopped meanwhile, it shows nothing any more, and the rest of the tab's session is still not counted."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed")), everybody_sees(id="other")]
    page.goto(f"/?gmp_force={EXPERIMENT_ID}:only")
    for running in (site.experiments[1:], []):
        site.experiments = running
        page.goto("/")
        assert page.inner_text("h1") == "Original"
    site.settle(page)
    assert site.methods == []
