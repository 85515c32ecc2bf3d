"""The form of an experiment in a real browser, beside the page that it changes."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.app.http_project import API
from tests.browser.browser_site import page_html
from tests.browser.test_dashboard import LOGGED_OUT, log_out_elsewhere
from tests.running_server import running_server

pytestmark = pytest.mark.browser

TOKEN = "letters-and-numbers"


@pytest.fixture
def server(database_url, tmp_path):
    """An empty installation whose admin token is known."""
    with running_server(database_url, tmp_path, "--no-demo", PROOFLOG_ADMIN_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture
def form(server, site, page):
    """The form of a new experiment, whose complaints are kept; the site that it is for is of another origin."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    made = httpx.post(f"{server.url}{API}/projects", json={"name": "Shop"}, headers=headers).json()
    script = f"<script src='{server.url}{API}/script.js?projectId={made['projectId']}'></script>"
    site.pages |= {"/shop": page_html("<h1>Old</h1><p id='promise'>Plain</p>", script), "/bare": "<h1>Bare</h1>"}
    page.goto(f"{server.url}/dashboard/projects/{made['projectId']}/experiments/new")
    page.get_by_label("Admin token").fill(TOKEN)
    page.locator("form", has=page.get_by_label("Admin token")).get_by_role("button").click()
    return page


def says(page, words):
    """Wait until the preview says something."""
    expect(page.locator("#look-says")).to_contain_text(words)


def finds(page, *told):
    """Wait until the changes of the form find what they should."""
    expect(page.locator(".found")).to_have_text(list(told))


def test_what_is_typed_shows_on_the_page_and_what_it_finds_beside_it(site, form) -> None:
    """Rows come without a reload; what is wrong or hostile never reaches the page; nobody is counted."""
    complaints: list[str] = []
    form.on("console", lambda message: complaints.append(message.text))
    form.evaluate("window.same = 1")
    form.get_by_label("Name").first.fill("Promise")
    form.get_by_label("Address").fill("/shop")
    form.locator("#variants-1-changes-0-selector").fill("h1")
    form.get_by_role("button", name="Add a change to variant 2").click()
    expect(form.locator("#variants-1-changes-1-selector")).to_be_focused()
    form.keyboard.type("#promise")
    form.locator("#variants-1-changes-1-changeType").select_option("html")
    form.locator("#variants-1-changes-1-value").fill("<b>Bold</b><img src=/x onerror='parent.hacked = 1'>")
    form.get_by_label("Page to look at").fill(f"{site.url}/shop?a=b")
    form.get_by_role("button", name="Show it here").click()
    says(form, f"Shows {site.url}/shop?a=b.")
    finds(form, "Finds 1 element.", "Finds 1 element.")
    assert form.get_by_label("Variant", exact=True).input_value() == "Variant"
    shop = form.frame_locator("iframe")
    form.locator("#variants-1-changes-0-value").fill("Seen while <typed>")
    expect(shop.locator("h1")).to_have_text("Seen while <typed>")
    expect(shop.locator("#promise b")).to_have_text("Bold")
    expect(shop.locator("[onerror]")).to_have_count(0)
    form.locator("#variants-1-changes-0-selector").fill("h1[")
    expect(form.locator(".found.wrong")).to_contain_text("Selector is not a CSS selector")
    expect(shop.locator("h1")).to_have_text("Old")
    form.locator("#variants-1-changes-0-selector").fill(".nowhere")
    finds(form, "Finds nothing on this page.", "Finds 1 element.")
    form.get_by_label("Address").fill("/other")
    says(form, "where the experiment will not run: it runs where the address is “/other”.")
    form.get_by_label("Variant", exact=True).select_option("Control")
    expect(shop.locator("#promise")).to_have_text("Plain")
    assert form.evaluate("[window.same, window.hacked]") == [1, None]

    form.get_by_role("button", name="Remove change 1 of variant 2").click()
    expect(form.locator(".change")).to_have_count(1)
    form.get_by_role("button", name="Save and start").click()
    form.get_by_text("Saved. Visitors get it within 90 seconds.").wait_for()
    assert [text for text in complaints if "Content Security Policy" in text] == []
    site.settle(form)
    assert site.methods == []


def test_a_page_that_may_not_be_framed_is_shown_in_a_window(site, context, form) -> None:
    """And where nothing answers, or the address is none, words say why."""
    form.locator("#variants-1-changes-0-selector").fill("h1")
    form.locator("#variants-1-changes-0-value").fill("Seen")
    site.page_headers = {"X-Frame-Options": "DENY"}
    form.get_by_label("Page to look at").fill(f"{site.url}/shop")
    form.get_by_role("button", name="Show it here").click()
    says(form, "Many sites forbid being shown inside another page")
    with context.expect_page() as opened:
        form.get_by_role("button", name="Show it in a window").click()
    expect(opened.value.locator("h1")).to_have_text("Seen")
    says(form, f"Shows {site.url}/shop")
    form.get_by_label("Page to look at").fill(f"{site.url}/bare")
    form.get_by_role("button", name="Show it in a window").click()
    says(form, "Either it has no script from")
    form.get_by_label("Page to look at").fill("javascript:alert(1)")
    form.get_by_role("button", name="Show it in a window").click()
    says(form, "Type the whole address of the page")


def test_an_answer_that_comes_after_a_later_one_is_not_shown(site, form) -> None:
    """The first question is held back until the second, which mends the selector, has its answer."""
    form.locator("#variants-1-changes-0-value").fill("Seen")
    form.locator("#variants-1-changes-0-selector").fill("h1")
    form.get_by_label("Page to look at").fill(f"{site.url}/shop")
    form.get_by_role("button", name="Show it here").click()
    finds(form, "Finds 1 element.")
    held = []
    form.route("**/experiments/preview", lambda route: held.append(route) if not held else route.continue_())
    with form.expect_request("**/experiments/preview"):
        form.locator("#variants-1-changes-0-selector").fill("h1[")
    with form.expect_response("**/experiments/preview"):
        form.locator("#variants-1-changes-0-selector").fill("#promise")
    expect(form.frame_locator("iframe").locator("#promise")).to_have_text("Seen")
    with form.expect_response("**/experiments/preview"):
        held[0].continue_()
    site.settle(form)
    finds(form, "Finds 1 element.")


def test_what_is_wrong_takes_the_focus_and_leads_to_its_field(form) -> None:
    """The summary is where one goes on after saving; a link of it is at the field. It fits a phone."""
    form.set_viewport_size({"width": 390, "height": 844})
    form.get_by_label("Address").press("Enter")  # saves, and is no other button
    expect(form.locator("#errors")).to_be_focused()
    form.get_by_role("link", name="Name must not be empty.").click()
    assert form.evaluate("document.activeElement.id") == "name"
    described = form.locator("#name").get_attribute("aria-describedby").split()
    assert [form.inner_text(f"#{element}") for element in described] == ["Must not be empty."]
    assert form.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_session_that_ends_takes_nothing_that_was_typed_along(server, form) -> None:
    """Whatever is pressed says so, and works after a login in another tab; another person is asked once more."""
    project = form.url.partition("/experiments/new")[0]
    csrf = form.locator("input[name=csrf]").first.input_value()
    cookies = {cookie["name"]: cookie["value"] for cookie in form.context.cookies()}
    person = {"name": "Ann", "role": "editor", "csrf": csrf}
    made = httpx.post(f"{project}/users", data=person, cookies=cookies).text
    one_time_password = re.search(r'id="one-time-password">([^<]+)<', made)[1]
    form.get_by_label("Name").first.fill("Typed for an hour")
    form.get_by_label("Address").fill("/shop")
    log_out_elsewhere(server, form)
    told = form.get_by_role("alert")
    for button in ("Add a goal", "Save as a draft"):
        form.get_by_role("button", name=button).click()
        expect(form.locator(f".buttons:has-text('{button}') + [role=alert]")).to_have_text(LOGGED_OUT)
    form.get_by_label("Name").first.press("Enter")
    expect(told).to_have_text([LOGGED_OUT] * 3)
    form.get_by_label("Hypothesis").fill("Nothing is lost")
    says(form, LOGGED_OUT)
    with form.expect_popup() as other:
        told.first.get_by_role("link").click()
    other.value.get_by_label("Name").fill("Ann")
    other.value.get_by_label("Password").fill(one_time_password)
    other.value.get_by_role("button", name="Log in", exact=True).click()
    other.value.get_by_label("Present password").fill(one_time_password)
    form.get_by_role("button", name="Add a goal").click()
    choose = "You have to choose a password of your own first. Choose it in another tab, then go on here"
    expect(told.nth(1)).to_contain_text(choose)
    for label in ("New password", "again"):
        other.value.get_by_label(label).fill("correct horse battery")
    other.value.get_by_role("button").last.click()
    other.value.get_by_role("heading", name="Projects").wait_for()

    form.get_by_role("button", name="Add a goal").click()
    expect(told).to_have_text(["You are logged in as Ann by now: press once more to go on as Ann."])
    form.get_by_role("button", name="Add a goal").click()
    expect(form.locator("#goals-1-name")).to_be_focused()
    expect(told).to_have_count(0)
    expect(form.get_by_label("Name").first).to_have_value("Typed for an hour")
    form.get_by_role("button", name="Save as a draft").click()
    form.get_by_role("status").filter(has_text="Saved.").wait_for()
    expect(form.get_by_label("Hypothesis")).to_have_value("Nothing is lost")


def test_an_experiment_that_is_stopped_meanwhile_takes_nothing_that_was_typed_along(server, form) -> None:
    """The form stays where it is, and beside the button stands why it takes no more rows."""
    form.get_by_label("Name").first.fill("Promise")
    form.get_by_label("Address").fill("/shop")
    form.locator("#variants-1-changes-0-selector").fill("h1")
    form.locator("#variants-1-changes-0-value").fill("New")
    form.get_by_role("button", name="Save and start").click()
    form.wait_for_url("**/edit?saved=*")
    experiment = form.url.split("/")[-2]
    form.get_by_label("Name").first.fill("Another name")
    elsewhere = form.context.new_page()
    elsewhere.goto(f"{server.url}/dashboard/experiments/{experiment}/stop")
    elsewhere.get_by_role("button", name="Stop it").click()
    elsewhere.wait_for_url(re.compile(f"/experiments/{experiment}$"))

    form.get_by_role("button", name="Work it out").click()

    expect(form.get_by_role("alert")).to_contain_text("stopped")
    expect(form.get_by_label("Name").first).to_have_value("Another name")


def test_without_javascript_a_login_leads_back_to_the_form(server, form) -> None:
    """What was typed cannot be kept there, but the way is."""
    without = form.context.browser.new_context(java_script_enabled=False)
    page = without.new_page()
    page.goto(form.url)
    page.get_by_label("Admin token").fill(TOKEN)
    page.locator("form", has=page.get_by_label("Admin token")).get_by_role("button").click()
    log_out_elsewhere(server, page)
    page.get_by_role("button", name="Add a goal").click()
    page.get_by_label("Admin token").fill(TOKEN)
    page.locator("form", has=page.get_by_label("Admin token")).get_by_role("button").click()
    assert page.url == form.url
    without.close()
