"""The demo shop, clicked through as a person would."""

import pytest

from app.script import render_demo
from tests.browser.browser_site import PROJECT_ID, change, experiment, variant

pytestmark = pytest.mark.browser


def test_a_person_can_see_the_variant_buy_and_become_another_visitor(site, page):
    """The strip names the variant, the list shows what was stored, the button makes a new visitor."""
    site.pages["/demo"] = render_demo(PROJECT_ID, "/script.js").decode()
    site.experiments = [
        experiment(
            variant("Control"),
            variant("Bold", change("text", "#hero-title", "Bold"), change("style", "#cta", "green", "background")),
        )
    ]
    seen = {}
    for visit in range(12):
        page.goto("/demo") if visit == 0 else page.wait_for_load_state()
        name = page.inner_text("#assignments b")
        seen[name] = page.inner_text("#hero-title")
        if len(seen) == 2:
            break
        before = page.evaluate("localStorage.gmp_vid")
        with page.expect_navigation():
            page.click("#another")
        assert page.evaluate("localStorage.gmp_vid") != before
    assert seen == {"Control": "Stoneware for slow mornings", "Bold": "Bold"}
    page.click("#buy")
    (purchase,) = site.wait_for("conversion")
    assert purchase["eventName"] == "purchase"
    assert purchase["visitorId"] == page.evaluate("localStorage.gmp_vid")
    page.wait_for_function("document.querySelector('#events').innerText.includes('purchase')")
    page.wait_for_selector("#events .stored")
    order = site.other_posts["/demo/orders"]
    assert order["visitorId"] == purchase["visitorId"]
    assert order["assignments"] == page.evaluate("grademypage.getExperimentAssignments()")
    assert {method.split()[1] for method in site.methods} == {"/api/analytics/track", "/demo/orders"}
