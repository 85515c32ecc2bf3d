"""A page that a form of the dashboard looks at: it shows what it is sent, says what it finds, counts nobody."""

import pytest

from tests.browser.browser_site import change, everybody_sees, page_html

pytestmark = pytest.mark.browser

# Stands for the dashboard: keeps what the page in its frame says, with where it came from.
DASHBOARD = """<!doctype html><script>
  window.said = [];
  addEventListener("message", ({ data, origin }) => data.gmp && said.push({ ...data, origin }));
  window.look = (address) => {
    const frame = document.querySelector("iframe") || document.body.appendChild(document.createElement("iframe"));
    frame.src = address;
    window.shown = frame.contentWindow;
  };
  window.show = (number, ...changes) => shown.postMessage({ gmp: "show", number, changes }, "*");
</script><body></body>"""
CHANGES = [
    change("text", "h1", "Seen"),
    change("text", ".nowhere", "Never"),
    change("text", "h1[", "Broken"),
    change("html", "#promise", "<b>Bold</b><img src='/none.png' onerror='window.hacked = 1'>"),
    change("class", "p:not(.new)", "new"),
]
KEPT = "[document.cookie, ...Object.keys(localStorage), ...Object.keys(sessionStorage)].join()"


@pytest.fixture
def customer(site):
    """Another origin than the dashboard's, where visitors must consent; its script comes from the dashboard's."""
    script = f"<script src='{site.url}/script.js' data-consent></script>"
    body = "<h1>Old</h1><p id='promise'>Plain</p><a href='/other'>On</a><script>grademypage.optIn()</script>"
    site.pages |= {"/shop": page_html(body, script), "/form": DASHBOARD}
    site.experiments = [everybody_sees(change("text", "h1", "Running"))]
    return site.url.replace("127.0.0.1", "localhost")


def said(page, kind, count=1):
    """The messages of a kind that came, once there are so many."""
    page.wait_for_function(f"said.filter(({{ gmp }}) => gmp === '{kind}').length >= {count}")
    return [message for message in page.evaluate("said") if message["gmp"] == kind]


@pytest.mark.parametrize("opened", ["frame", "window"])
def test_a_page_shows_what_the_form_holds_and_says_what_each_change_finds(
    site, context, page, customer, opened
) -> None:
    """In a frame and in a window; what it finds is told again when the page changes; nothing is kept or sent."""
    page.goto("/form")
    address = f"{customer}/shop?a=b%20c&gmp_preview=1#top"
    if opened == "frame":
        page.evaluate("look", address)
        said(page, "ready")
        shop = page.frames[1]
    else:
        with context.expect_page() as window:
            page.evaluate("(address) => { window.shown = open(address) }", address)
        shop = window.value
    [ready] = said(page, "ready")
    assert (ready["address"], ready["origin"]) == (f"{customer}/shop?a=b%20c#top", customer)
    assert shop.inner_text("h1") == "Old"

    page.evaluate("(changes) => show(1, ...changes)", CHANGES)
    [shown] = said(page, "shown")
    assert [(each["isValid"], each["elements"]) for each in shown["found"]] == [
        (True, 1), (True, 0), (False, 0), (True, 1), (True, 1),
    ]  # fmt: skip
    assert (shop.inner_text("h1"), shop.inner_html("#promise b")) == ("Seen", "Bold")
    assert shop.get_attribute("#promise", "class") == "new"
    assert shop.evaluate("[window.hacked, document.querySelector('[onerror]')]") == [None, None]

    shop.evaluate("document.body.insertAdjacentHTML('beforeend', '<i class=nowhere></i>')")
    assert said(page, "shown", 2)[1]["found"][1]["elements"] == 1
    page.evaluate("show(2)")
    assert (said(page, "shown", 3)[2]["number"], shop.inner_text("h1")) == (2, "Old")

    shop.evaluate("grademypage.trackConversion('bought')")
    assert shop.evaluate("grademypage.getExperimentAssignments()") == []
    if opened == "window":  # a frame of another site may keep nothing anyway
        assert shop.evaluate(KEPT) == ",gmp_consent"
    shop.click("a")
    assert said(page, "ready", 2)[1]["address"] == f"{customer}/other"
    site.settle(page)
    assert site.methods == []


def test_a_page_listens_to_the_dashboard_of_its_server_and_to_nobody_else(site, page, customer) -> None:
    """A stranger that frames the page hears nothing and changes nothing; without the mark the page is ordinary."""
    page.goto(f"{customer}/form")
    page.evaluate("look", f"{site.url}/shop?gmp_preview=1")
    page.wait_for_function("window.length === 1")
    shop = page.frames[1]
    shop.wait_for_function("document.readyState === 'complete'")
    page.evaluate("(changes) => show(1, ...changes)", CHANGES)
    page.wait_for_timeout(600)
    assert (page.evaluate("said"), shop.inner_text("h1")) == ([], "Old")
    page.goto("/shop?gmp_preview=1")  # nobody opened it
    assert page.inner_text("h1") == "Running"
