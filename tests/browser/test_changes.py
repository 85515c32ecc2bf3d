"""The five change types: early, lasting, bounded, undone, and under a strict security policy."""

import pytest

from tests.browser.browser_site import change, everybody_sees, page_html, variant

pytestmark = pytest.mark.browser

FIVE = [
    change("text", "#text", "New <b>text</b>"),
    change("html", "#html", "<b class='strong'>bold</b><img src='/none.png' onerror='window.hacked = 1'>"),
    change("style", "#style", "rgb(1, 2, 3)", "color"),
    change("style", "#style", "7px !important", "margin-top"),
    change("class", "#class", "one  two"),
    change("css", "#css", "color: rgb(4, 5, 6)"),
    change("css", "#css", "@media all { #css { background-color: rgb(7, 8, 9) } }"),
]
ELEMENTS = "".join(
    f"<p id='{name}' class='original'>old</p>" for name in ("text", "html", "style", "class", "css")
)
STATE = """() => {
  const at = (id) => document.getElementById(id);
  const css = getComputedStyle(at("css"));
  return {
    text: at("text").textContent, html: at("html").querySelector("b.strong")?.textContent,
    handler: at("html").querySelector("[onerror]") !== null, hacked: window.hacked ?? null,
    color: at("style").style.color, margin: at("style").style.getPropertyPriority("margin-top"),
    classes: at("class").className, css: [css.color, css.backgroundColor],
  };
}"""
CHANGED = {
    "text": "New <b>text</b>",
    "html": "bold",
    "handler": False,
    "hacked": None,
    "color": "rgb(1, 2, 3)",
    "margin": "important",
    "classes": "original one two",
    "css": ["rgb(4, 5, 6)", "rgb(7, 8, 9)"],
}


def test_all_five_change_types_show(site, page):
    """Text is text, HTML loses its handlers, styles, classes and sheets take hold."""
    site.pages["/"] = page_html(ELEMENTS)
    site.experiments = [everybody_sees(*FIVE)]
    page.goto("/")
    assert page.evaluate(STATE) == CHANGED


def test_changes_hold_under_a_strict_content_security_policy(site, page):
    """Nothing needs eval, inline styles or HTML without Trusted Types."""
    site.pages["/"] = page_html(ELEMENTS)
    site.page_headers = {
        "Content-Security-Policy": "default-src 'self'; require-trusted-types-for 'script'; trusted-types gmp"
    }
    site.experiments = [everybody_sees(*FIVE)]
    page.goto("/")
    assert page.evaluate(STATE) == CHANGED


@pytest.mark.parametrize("policy", ["default-src *", "require-trusted-types-for 'script'"])
def test_html_changes_work_in_a_browser_without_the_sanitizer_api(site, context, policy):
    """Without setHTML the value, sanitised on the server, goes through the script's own policy."""
    context.add_init_script("delete Element.prototype.setHTML")
    site.pages["/"] = page_html(ELEMENTS)
    site.page_headers = {"Content-Security-Policy": policy}
    site.experiments = [everybody_sees(*FIVE)]
    page = context.new_page()
    page.goto("/")
    assert page.evaluate(STATE) == CHANGED


def test_changes_are_there_before_the_page_goes_on(site, page):
    """A script right behind an element already finds it changed, so the original is never painted."""
    site.pages["/"] = page_html(
        "<h1>Original</h1><script>window.seen = document.querySelector('h1').textContent</script>"
        + "<p>filler</p>" * 2_000
    )
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto("/")
    assert page.evaluate("window.seen") == "Changed"


def test_late_elements_and_drawn_anew_elements_are_changed_before_they_are_painted(site, page):
    """What a page adds or draws again is changed in the same task, whatever the type."""
    site.pages["/"] = page_html("<main></main>")
    site.experiments = [everybody_sees(*FIVE)]
    page.goto("/")
    for _ in range(3):
        page.evaluate("(html) => { document.querySelector('main').innerHTML = html }", ELEMENTS)
        assert page.evaluate(STATE) == CHANGED
    page.evaluate("() => { document.adoptedStyleSheets = [] }")
    page.evaluate("(text) => { document.querySelector('#text').textContent = text }", "again")
    assert page.evaluate(STATE) == CHANGED


def test_a_list_of_many_elements_is_changed_while_it_is_parsed(site, page):
    """The bound on repeats does not hold up first appearances."""
    site.pages["/"] = page_html("".join(f"<i>{number}</i>" for number in range(3_000)))
    site.experiments = [everybody_sees(change("text", "i", "x"))]
    page.goto("/")
    assert page.evaluate("[...document.querySelectorAll('i')].every((one) => one.textContent === 'x')")


def test_a_page_that_fights_a_change_is_not_hung(site, page):
    """Against a page that reverts at once, a change is applied at most 10 times a second, and then again."""
    site.pages["/"] = page_html("<h1>Original</h1>")
    site.experiments = [everybody_sees(change("text", "h1", "Changed"))]
    page.goto("/")
    page.evaluate("""() => {
      window.applied = 0;
      const title = document.querySelector("h1");
      const revert = () => {
        if (title.textContent !== "Changed") return;
        window.applied++;
        title.textContent = "Original";
      };
      new MutationObserver(revert).observe(title, { childList: true, characterData: true, subtree: true });
      revert();
    }""")
    page.wait_for_timeout(1_500)
    assert 10 <= page.evaluate("window.applied") <= 21


def test_of_two_changes_to_one_thing_the_later_holds(site, page):
    """Two experiments on one headline do not take turns."""
    first = everybody_sees(change("text", "h1", "First"), id="first")
    second = everybody_sees(change("html", "h1", "<b>Second</b>"), id="second")
    site.experiments = [first, second]
    page.goto("/")
    page.evaluate("""() => {
      window.changes = 0;
      new MutationObserver(() => window.changes++).observe(document.body, { childList: true, subtree: true });
      document.body.append("more");
    }""")
    page.wait_for_timeout(300)
    assert page.inner_html("h1").removesuffix("<!---->") == "<b>Second</b>"
    assert page.evaluate("window.changes") == 1


def test_leaving_the_address_of_an_experiment_brings_the_original_back(site, page):
    """In a single-page application the very nodes of the page return, and coming back changes them again."""
    site.pages["/"] = page_html(ELEMENTS)
    site.experiments = [everybody_sees(*FIVE, urlMatchType="exact", targetUrl="/")]
    page.goto("/")
    page.evaluate("() => history.pushState({}, '', '/elsewhere')")
    assert page.evaluate(STATE) == {
        "text": "old",
        "html": None,
        "handler": False,
        "hacked": None,
        "color": "",
        "margin": "",
        "classes": "original",
        "css": ["rgb(0, 0, 0)", "rgba(0, 0, 0, 0)"],
    }
    assert page.inner_text("#html") == "old"
    page.evaluate("() => history.back()")
    page.wait_for_function("document.querySelector('#text').textContent !== 'old'")
    assert page.evaluate(STATE) == CHANGED


def test_a_page_that_draws_rows_anew_all_day_keeps_no_trace_of_the_old_ones(site, page):
    """What is remembered for undo goes with the elements."""
    site.pages["/"] = page_html("<div id='table'></div>")
    site.experiments = [everybody_sees(change("class", ".row", "even"))]
    page.goto("/")
    session = page.context.new_cdp_session(page)

    def least_used(times):
        # All day long a browser collects garbage now and then; until it does, even weak tables grow. And a weak
        # reference that was looked at holds its element until a task ends: the last rows go some rounds later.
        used = []
        for _ in range(times):
            page.evaluate("""async () => {
              table.innerHTML = "<p class=row></p>".repeat(2000);
              await new Promise((done) => setTimeout(done, 110));
            }""")
            session.send("HeapProfiler.collectGarbage")
            used.append(session.send("Runtime.getHeapUsage")["usedSize"])
        return min(used[-5:])

    before = least_used(10)
    least_used(30)
    assert least_used(5) < before + 100_000


def test_what_no_longer_fits_its_selector_is_brought_back_too(site, page):
    """A change may take its own element out of what it selects, and so may the page."""
    site.pages["/"] = page_html('<h1 class="big">Original</h1><p id="p">old</p>')
    site.experiments = [
        everybody_sees(
            change("class", "h1:not(.blue)", "blue"),
            change("text", "#p", "new"),
            urlMatchType="exact",
            targetUrl="/",
        )
    ]
    page.goto("/")
    page.wait_for_function("document.querySelector('h1').className === 'big blue'")
    assert page.inner_text("#p") == "new"
    page.evaluate("() => { document.querySelector('p').id = 'q'; history.pushState({}, '', '/elsewhere') }")
    page.wait_for_function("document.querySelector('h1').className === 'big'")
    assert page.inner_text("#q") == "old"


def test_a_selector_that_does_not_parse_harms_nobody(site, page):
    """A bad change is left out; its neighbours and the page are not touched."""
    site.experiments = [everybody_sees(change("text", "h1[", "Bad"), change("text", "h1", "Good"))]
    page.goto("/")
    assert page.inner_text("h1") == "Good"


def test_the_control_shows_the_original(site, page):
    """A variant without changes changes nothing and is still reported."""
    site.experiments = [everybody_sees() | {"variants": [variant("Control")]}]
    page.goto("/")
    assert page.inner_text("h1") == "Original"
    assert site.wait_for("experiment_impression")[0]["eventData"]["variantId"] == "control"


def test_a_page_that_allows_no_trusted_types_hears_of_no_violation(site, page):
    """The script makes a policy of its own only where it needs one."""
    watch = """<script>window.violations = [];
      document.addEventListener("securitypolicyviolation", ({ violatedDirective }) => {
        violations.push(violatedDirective);
      });
    </script>"""
    site.pages["/"] = page_html(ELEMENTS, f"{watch}<script src='/script.js'></script>")
    site.page_headers = {
        "Content-Security-Policy": "script-src 'self' 'unsafe-inline'; style-src 'self'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    }
    site.experiments = [everybody_sees(*FIVE)]
    page.goto("/")
    assert page.evaluate(STATE) == CHANGED
    page.wait_for_timeout(100)
    assert page.evaluate("window.violations") == []


@pytest.mark.parametrize("kind", ["text", "html"])
def test_an_original_that_comes_in_pieces_comes_back_whole(site, page, kind):
    """The parser does not write the rest of a text into what a change has put there."""
    site.pages["/"] = page_html("<p>a</p>" * 300 + "<h1>Or|iginal</h1><h2>|Other</h2><p>b</p>")
    site.pause_seconds = 0.3
    changes = [change(kind, "h1", "Changed"), change(kind, "h2", "Changed")]
    site.experiments = [everybody_sees(*changes, urlMatchType="exact", targetUrl="/")]
    page.goto("/")
    assert [page.inner_text("h1"), page.inner_text("h2")] == ["Changed", "Changed"]
    page.evaluate("() => history.pushState({}, '', '/elsewhere')")
    assert [page.inner_text("h1"), page.inner_text("h2")] == ["Original", "Other"]
