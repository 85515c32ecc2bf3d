"""Who sees which variant: the same in the browser as in domain/assignment.py, and lasting."""

import json
import pathlib
import random
import uuid

import growthbook
import pytest

import app.script
from domain.assignment import assign, matches_url
from tests.browser.browser_site import EXPERIMENT_ID, change, everybody_sees, experiment, variant

pytestmark = pytest.mark.browser

URL_CASES = pathlib.Path(__file__).parent.parent / "domain" / "url_cases.json"
ASSIGNMENTS = "grademypage.getExperimentAssignments()"


@pytest.fixture
def pure(page):
    """Define the script's functions that need no page, in the page."""
    functions = (pathlib.Path(app.script.__file__).parent / "source" / "assignment.js").read_text()
    functions = functions.replace("export ", "")
    page.evaluate(f"() => {{ {functions}; window.pure = {{ assign, matchesUrl, hash }}; }}")
    return page


@pytest.mark.thorough
def test_20000_visitors_get_the_variant_that_the_server_and_growthbook_compute(pure):
    """No visitor differs between script, server and GrowthBook's SDK: arms, weights, traffic, ids beyond ASCII."""
    rng = random.Random(5)
    plans = [([1, 1], 100), ([50, 30, 20], 80), ([1, 1, 1], 33.3), ([0.1, 0.9], 5), ([1, 2], 0)]
    cases = []
    for number in range(20_000):
        weights, traffic = plans[number % len(plans)]
        visitor_id = str(uuid.UUID(int=rng.getrandbits(128))) if number % 10 else f"josé \U0001f600 {number}"
        cases.append((f"experiment-{number % 7}", visitor_id, weights, traffic))
    chosen = pure.evaluate("cases => cases.map((one) => pure.assign(...one))", cases)
    expected = [
        assign(experiment_id=seed, visitor_id=visitor_id, weights=weights, traffic_percentage=traffic)
        for seed, visitor_id, weights, traffic in cases
    ]
    assert [None if index < 0 else index for index in chosen] == expected
    assert set(expected) == {None, 0, 1, 2}
    assert [growthbook_chooses(*case) for case in cases] == expected


def growthbook_chooses(seed, visitor_id, weights, traffic):
    """The index that GrowthBook's own SDK gives, None outside of the traffic."""
    ran = growthbook.GrowthBook(attributes={"id": visitor_id}).run(
        growthbook.Experiment(
            key=seed,
            variations=list(range(len(weights))),
            hashVersion=2,
            coverage=traffic / 100,
            weights=[weight / sum(weights) for weight in weights],
        )
    )
    return ran.variationId if ran.inExperiment else None


def test_the_script_matches_addresses_as_the_server_does(pure):
    """Every case of the shared table has the same outcome in the browser."""
    cases = json.loads(URL_CASES.read_text())
    matched = pure.evaluate(
        "cases => cases.map((one) => pure.matchesUrl(one.matchType, one.targetUrl, new URL(one.url)))", cases
    )
    wrong = [case for case, outcome in zip(cases, matched, strict=True) if outcome != case["expected"]]
    assert wrong == []
    assert all(matches_url(one["matchType"], one["targetUrl"], one["url"]) == one["expected"] for one in cases)


def test_a_new_visitor_gets_a_cookie_and_the_hashed_variant(site, page):
    """The cookie lasts 400 days, is first-party and Lax, and its value decides the variant."""
    site.experiments = [experiment(variant("Control"), variant("Blue"), variant("Red", weight=2))]
    page.goto("/")
    cookie = next(one for one in page.context.cookies() if one["name"] == "gmp_vid")
    assert str(uuid.UUID(cookie["value"])) == cookie["value"]
    assert (cookie["sameSite"], cookie["path"], cookie["secure"]) == ("Lax", "/", False)
    assert 399 < (cookie["expires"] - page.evaluate("Date.now() / 1000")) / 86_400 <= 400
    index = assign(
        experiment_id=EXPERIMENT_ID, visitor_id=cookie["value"], weights=[1, 1, 2], traffic_percentage=100
    )
    expected = ["Control", "Blue", "Red"][index]
    assert page.evaluate(ASSIGNMENTS) == [
        {
            "experimentId": EXPERIMENT_ID,
            "variantId": expected.lower(),
            "variantName": expected,
        }
    ]


@pytest.mark.parametrize("lost", ["cookie", "localStorage"])
def test_a_visitor_id_survives_the_loss_of_one_of_its_two_homes(page, lost):
    """Cookie and localStorage each bring the id back."""
    page.goto("/")
    before = page.evaluate("localStorage.gmp_vid")
    page.goto("/blank")
    if lost == "cookie":
        page.context.clear_cookies()
    else:
        page.evaluate("localStorage.clear()")
    page.goto("/")
    assert page.evaluate("[localStorage.gmp_vid, document.cookie]") == [before, f"gmp_vid={before}"]


def test_a_visitor_id_inside_of_another_cookie_is_nobody_s(site, page):
    """An address that a site keeps in a cookie may hold what looks like ours."""
    back = {"name": "back", "value": "/?gmp_vid=stranger", "url": site.url}
    page.context.add_cookies([back, {"name": "gmp_vid", "value": "visitor", "url": site.url}])
    page.goto("/")
    assert site.wait_for("pageview")[0]["visitorId"] == "visitor"


def test_a_visitor_keeps_the_variant_when_weights_and_traffic_change(site, page):
    """Once met, a variant stays, against new weights and against a smaller share of traffic."""
    control, blue = variant("Control", weight=1), variant("Blue", weight=1)
    site.experiments = [experiment(control, blue)]
    page.goto("/")
    (first,) = page.evaluate(ASSIGNMENTS)
    other = "Blue" if first["variantName"] == "Control" else "Control"
    weights = {name: 1_000 if name == other else 0.001 for name in ("Control", "Blue")}
    changed = [variant(name, weight=weight) for name, weight in weights.items()]
    for traffic in (100, 0):
        site.experiments = [experiment(*changed, trafficPercentage=traffic)]
        page.goto("/")
        assert page.evaluate(ASSIGNMENTS) == [first]


def test_a_visitor_outside_the_traffic_sees_the_original_and_joins_when_it_grows(site, page):
    """At 0 % nobody takes part and nothing is reported; at 100 % everybody does."""
    site.experiments = [everybody_sees(change("text", "h1", "Changed"), trafficPercentage=0)]
    page.goto("/")
    assert page.inner_text("h1") == "Original"
    assert page.evaluate(ASSIGNMENTS) == []
    site.wait_for("pageview")
    assert site.stored("experiment_impression") == []
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto("/")
    assert page.inner_text("h1") == "Changed"


def test_assignments_are_known_on_other_pages_but_only_once_met(site, page):
    """A checkout page can forward what was seen on the tested page, and nothing that was not seen."""
    site.experiments = [everybody_sees(urlMatchType="exact", targetUrl="/")]
    page.goto("/other")
    assert page.evaluate(ASSIGNMENTS) == []
    page.goto("/?query=ignored#too")
    page.goto("/other")
    assert [one["variantId"] for one in page.evaluate(ASSIGNMENTS)] == ["only"]
    assert len(site.wait_for("experiment_impression")) == 1
    site.experiments = []
    page.goto("/other")
    assert page.evaluate(ASSIGNMENTS) == []


def test_a_script_without_storage_still_shows_a_variant_and_counts(site, context):
    """With storage and cookies refused by the browser, the page works and events arrive."""
    refuse = "() => { throw new DOMException('refused', 'SecurityError') }"
    context.add_init_script(
        "for (const [owner, name] of [[window, 'localStorage'], [window, 'sessionStorage'],"
        " [Document.prototype, 'cookie']])"
        f" Object.defineProperty(owner, name, {{ get: {refuse}, set: {refuse} }})"
    )
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page = context.new_page()
    page.goto("/")
    assert page.inner_text("h1") == "Changed"
    assert len(page.evaluate(ASSIGNMENTS)) == 1
    (impression,) = site.wait_for("experiment_impression")
    assert str(uuid.UUID(impression["visitorId"])) == impression["visitorId"]
