"""The dashboard in a real browser, in front of a real server."""

import time

import httpx
import pytest
from playwright.sync_api import expect

from tests.app.http_project import API, conversion, event, experiment_body, impression
from tests.running_server import running_server

pytestmark = pytest.mark.browser

TOKEN = "letters-and-numbers"
VISITORS = 200
CATCH_UP_SECONDS_MAX = 30
LOGGED_OUT = "You were logged out. Log in again in another tab, then go on here: what you typed stays."


@pytest.fixture
def server(database_url, tmp_path):
    """An empty installation whose admin token is known."""
    with running_server(database_url, tmp_path, "--no-demo", PROOFLOG_ADMIN_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture
def sold(server):
    """An experiment where 10 of 100 visitors buy, and 60 of 100 who see the variant."""
    # Processes of several answer once they have started, and so does the one that counts.
    with httpx.Client(base_url=f"{server.url}{API}", timeout=CATCH_UP_SECONDS_MAX) as client:
        admin = {"Authorization": f"Bearer {TOKEN}"}
        keys = client.post("/projects", json={"name": "Stoneware shop"}, headers=admin).json()
        client.headers["Authorization"] = f"Bearer {keys['secretKey']}"
        experiment = client.post("/experiments", json=experiment_body(name="Clearer promise")).json()
        client.post(f"/experiments/{experiment['id']}/start").raise_for_status()
        events = [impression(experiment, number % 2, f"visitor-{number}") for number in range(VISITORS)]
        buyers = [number for number in range(VISITORS) if number // 2 < (60 if number % 2 else 10)]
        events += [conversion(f"visitor-{number}") for number in buyers]
        answer = client.post("/track", json={"projectId": keys["projectId"], "events": events})
        assert answer.json()["accepted"] == len(events)
        deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
        while client.get(f"/experiments/{experiment['id']}/results").json().get("lag", {}).get("events", 1):
            assert time.monotonic() < deadline, "projections stand still"
            time.sleep(0.05)
    return experiment


def test_a_person_logs_in_and_reads_the_results(server, sold, page) -> None:
    """From the login over the list to the numbers, back in time, and out; the policy forbids nothing needed."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))

    page.goto(f"{server.url}/dashboard")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Stoneware shop", exact=True).click()
    page.get_by_role("link", name=sold["name"]).click()

    verdict = page.get_by_role("region", name="Verdict")
    assert "Ship “Bold”: it improves “conversion”." in verdict.inner_text()
    bold = page.get_by_role("region", name="Goal conversion").get_by_role("row").filter(has_text="Bold")
    seen = " ".join(cell.inner_text() for cell in bold.get_by_role("cell").all())
    for number in ("60 / 100", "60.00\u202f%", "+500.0\u202f%", "+50.00\u202fpp", "better"):
        assert number in seen
    rate = bold.locator("td[data-label=Rate] .explained")
    hint = rate.get_by_role("tooltip")
    assert not hint.is_visible()
    rate.focus()
    assert hint.is_visible()
    assert hint.inner_text() == "60 / 100, the share of visitors who converted."
    for picture in ("Lift of every variant", "Visitors so far"):
        assert page.get_by_role("img", name=picture).bounding_box()["width"] > 300
    assert page.evaluate("getComputedStyle(document.querySelector('td.num')).fontVariantNumeric") == "tabular-nums"

    page.get_by_label("A time or a position").fill("3")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("What was known at position 3").wait_for()
    assert "Not started yet" in verdict.inner_text()
    page.get_by_role("link", name="See what is known now").click()
    page.get_by_role("button", name="Log out").click()
    assert page.url == f"{server.url}/dashboard/login"
    assert [text for text in complaints if "Content Security Policy" in text] == []


def test_numbers_of_a_long_table_say_what_those_of_its_first_row_say(server, page) -> None:
    """On hover and on focus, each under its own row; to screen readers before that."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    keys = httpx.post(f"{server.url}{API}/projects", json={"name": "Shop"}, headers=headers).json()
    variants = [{"name": f"V{at}", "isControl": at == 0, "weight": 1, "changes": []} for at in range(9)]
    experiment = httpx.post(
        f"{server.url}{API}/experiments",
        json=experiment_body(variants=variants),
        headers={"Authorization": f"Bearer {keys['secretKey']}"},
    ).json()
    page.goto(f"{server.url}/dashboard/experiments/{experiment['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.locator("form", has=page.get_by_label("Admin token")).get_by_role("button").click()
    split = page.locator("table.traffic tbody tr")
    first, last = (split.nth(at).locator("td[data-label=Visitors] .explained") for at in (0, 8))
    words = "Distinct visitors who were shown this variant first, and no other."
    first.hover()
    expect(first.get_by_role("tooltip")).to_have_text(words)
    page.mouse.move(0, 0)
    page.get_by_role("columnheader", name="Visitors").first.hover()
    expect(page.locator("table.traffic thead .hint").nth(1)).to_be_visible()
    expect(last).to_have_accessible_description(words)
    last.hover()
    hint = last.get_by_role("tooltip")
    expect(hint).to_be_visible()
    assert hint.inner_text() == words
    row, box = split.nth(8).bounding_box(), hint.bounding_box()
    assert 0 <= box["y"] - row["y"] <= row["height"] + 2
    split.nth(7).locator("td[data-label=Visitors] .explained").focus()
    expect(split.nth(7).get_by_role("tooltip")).to_be_visible()
    page.mouse.move(0, 0)
    expect(hint).to_be_hidden()
    page.evaluate("document.activeElement.blur()")
    last.hover()
    assert last.locator(".hint").count() == 1
    expect(last).to_have_accessible_description(words)


def test_every_page_fits_a_phone(server, sold, page) -> None:
    """At 390 pixels nothing has to be pushed sideways, and a cell still says what its number is."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{server.url}/dashboard/experiments/{sold['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    heading = "getComputedStyle(document.querySelector('.goal td[data-label=Rate]'), '::before').content"
    assert page.evaluate(heading) in {'"Rate"', "attr(data-label)"}
    for path in (f"/dashboard/experiments/{sold['id']}", "/dashboard", "/dashboard/nowhere"):
        page.goto(f"{server.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_new_project_copies_its_snippet_and_hears_its_first_event(server, page, context) -> None:
    """The button fills the clipboard, and the page turns by itself when an event arrives."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{server.url}/dashboard")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Name, of the site").fill("Stoneware shop")
    page.get_by_role("button", name="Make it").click()
    snippet = page.get_by_role("region", name="Snippet")
    snippet.get_by_role("button", name="Copy").click()
    snippet.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    project_id = copied.partition("projectId=")[2].partition('"')[0]
    assert copied == f'<script src="{server.url}/api/analytics/script.js?projectId={project_id}"></script>'

    status = page.get_by_role("status")
    assert "Waiting for your first event" in status.inner_text()
    answer = httpx.post(f"{server.url}{API}/track", json={"projectId": project_id, "events": [event()]})
    assert answer.json()["accepted"] == 1
    status.get_by_text("Events arrive").wait_for()
    assert "Waiting" not in status.inner_text()


def test_without_javascript_a_click_selects_what_is_to_be_copied(server, context) -> None:
    """No button that does nothing is shown, and the page says how to look again."""
    without = context.browser.new_context(java_script_enabled=False)
    page = without.new_page()
    page.goto(f"{server.url}/dashboard")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Name, of the site").fill("Stoneware shop")
    page.get_by_role("button", name="Make it").click()
    snippet = page.get_by_role("region", name="Snippet")
    assert snippet.get_by_role("button", name="Copy").count() == 0
    snippet.locator("#snippet-code").click()
    selected = page.evaluate("getSelection().toString()")
    assert selected.startswith("<script src=")
    assert selected.endswith("</script>")
    page.get_by_role("link", name="Look again").click()
    assert page.get_by_role("heading", name="Stoneware shop").is_visible()
    assert page.get_by_text("Waiting for your first event").is_visible()
    without.close()


def test_a_moment_that_is_none_is_refused_in_words(server, sold, page) -> None:
    """Beside the field, which keeps its focus and what was typed, to eyes and ears; until a look succeeds."""
    page.goto(f"{server.url}/dashboard/experiments/{sold['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    field, told = page.get_by_label("A time or a position"), page.get_by_role("alert")
    numbers = page.locator(".traffic").inner_text()
    for typed, words in (
        ("yesterday", "“yesterday” is neither an ISO 8601 time nor a position of the log."),
        ("99,999,999", "“99,999,999” is beyond the end of the log."),
        ("2020-01-01", "The experiment did not exist yet at that moment: it was created later."),
    ):
        field.fill(typed)
        field.press("Enter")
        expect(told).to_have_text(words)
        expect(told).to_be_in_viewport()
        expect(field).to_be_focused()
        expect(field).to_have_value(typed)
        assert page.locator(".traffic").inner_text() == numbers
        assert (field.get_attribute("aria-invalid") == "true") == (typed in words)
        if typed in words:
            expect(field).to_have_accessible_description(words)
    below = told.bounding_box()["y"] - field.bounding_box()["y"]
    assert 0 < below < 150

    # Whatever asks by script says so, beside what was used; and that the server is gone.
    page.route(
        "**/dashboard/experiments/**by=**", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>")
    )
    page.get_by_role("link", name="device").click()
    expect(page.locator("nav:has(#by-device) + [role=alert]")).to_have_text(
        "The server answered 502, and did not say why."
    )
    page.route("**/dashboard/experiments/**at=**", lambda route: route.abort())
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    gone = "The server could not be reached, or did not answer: try again."
    expect(page.locator(".slide + [role=alert]")).to_have_text(gone)

    field.fill("3")
    field.press("Enter")
    page.get_by_text("What was known at position 3").wait_for()
    expect(told).to_have_count(0)
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_a_button_pressed_after_a_log_out_leaves_the_page_as_it_is(server, sold, page) -> None:
    """It says so, with a way to log in that leaves the page open; then the same button works."""
    page.goto(f"{server.url}/dashboard/experiments/{sold['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    log_out_elsewhere(server, page)
    page.get_by_role("button", name="Pause").click()
    told = page.get_by_role("alert")
    expect(told).to_have_text(LOGGED_OUT)
    expect(page.get_by_role("heading", name=sold["name"])).to_be_visible()
    with page.expect_popup() as other:
        told.get_by_role("link").click()
    other.value.get_by_label("Admin token").fill(TOKEN)
    other.value.get_by_role("button", name="Log in").click()
    other.value.get_by_role("link", name="Stoneware shop", exact=True).wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    expect(told).to_have_count(0)


def test_questions_are_answered_without_a_reload(server, sold, page) -> None:
    """The slider and the segments put their answer in place, and the slider keeps the focus."""
    page.goto(f"{server.url}/dashboard/experiments/{sold['id']}")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.evaluate("window.loadedOnce = true")

    page.get_by_role("link", name="device").click()
    page.get_by_text("Many segments are many chances to be wrong").wait_for()
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_url("**at=*")
    assert page.evaluate("[window.loadedOnce, document.activeElement.id]") == [True, "at"]


def log_out_elsewhere(server, page) -> None:
    """End the session of a page that stays open."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    form = {"csrf": page.locator("input[name=csrf]").first.input_value()}
    answer = httpx.post(f"{server.url}/dashboard/logout", data=form, cookies=cookies)
    assert answer.headers["location"] == "/dashboard/login"
