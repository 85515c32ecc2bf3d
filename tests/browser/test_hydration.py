"""Pages that React takes over: changes survive hydration and later renders, and nobody fights for ever.

`make hydration` builds the pages with React 18 and 19.
"""

import pathlib

import pytest

from tests.browser.browser_site import change, everybody_sees, page_html
from tests.browser.test_changes import CHANGED, ELEMENTS, FIVE, STATE

BUILT = pathlib.Path(__file__).parent / "hydration" / "built"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not BUILT.exists(), reason="no pages with React: make hydration, which needs npm"),
]

DRAWN_BY_SERVER = f"<div id='root'><main>{ELEMENTS}<output>steps: 0</output></main></div>"
# How often an element of the page is changed, by whomever.
COUNT_CHANGES = """() => {
  window.changes = 0;
  new MutationObserver((records) => { window.changes += records.length }).observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true,
  });
}"""


@pytest.fixture(params=[18, 19])
def react_page(request, site, page):
    """Open a page that React has yet to take over, with all five types of changes in place."""
    react = (BUILT / f"react{request.param}.js").read_text("utf-8")
    site.pages["/"] = page_html(f"{DRAWN_BY_SERVER}<script>{react}</script>")
    changes = [*FIVE, change("class", ".late", "changed")]
    site.experiments = [everybody_sees(*changes, urlMatchType="exact", targetUrl="/")]
    page.goto("/")
    assert page.evaluate(STATE) == CHANGED
    return page


def hydrate(page):
    """Let React take over, and wait until it has."""
    page.evaluate("hydrate()")
    page.wait_for_function("window.step !== undefined")


def test_all_five_types_survive_hydration_and_later_renders(react_page):
    """Also where React draws the page anew, and in elements that it adds; its own updates still show."""
    hydrate(react_page)
    react_page.wait_for_timeout(100)
    assert react_page.evaluate(STATE) == CHANGED
    for steps in (1, 2, 3):
        react_page.evaluate("step()")
        react_page.wait_for_function("(steps) => window.steps === steps", arg=steps)
        assert react_page.evaluate(STATE) == CHANGED
    assert react_page.inner_text("output") == "steps: 3"
    assert react_page.locator("li.late.changed").count() == 3


def test_hydration_ends_in_peace(react_page):
    """After the takeover nothing changes any more: no loop between React and the script."""
    react_page.evaluate(COUNT_CHANGES)
    hydrate(react_page)
    react_page.wait_for_timeout(300)
    # Each change once more at most, beside what React itself draws.
    assert react_page.evaluate("window.changes") <= 40
    react_page.evaluate("() => { window.changes = 0 }")
    react_page.wait_for_timeout(1_200)
    assert react_page.evaluate("window.changes") == 0


def test_an_original_comes_back_in_what_react_drew(react_page):
    """Leaving the experiment's address undoes the changes, and React goes on."""
    hydrate(react_page)
    react_page.wait_for_timeout(100)
    react_page.evaluate("() => { history.pushState({}, '', '/left') }")
    react_page.evaluate("step()")
    react_page.wait_for_function("document.querySelector('output').textContent === 'steps: 1'")
    left = react_page.evaluate(STATE)
    assert [left[name] for name in ("text", "html", "color", "classes")] == ["old", None, "", "original"]
    assert react_page.inner_text("#html") == "old"
