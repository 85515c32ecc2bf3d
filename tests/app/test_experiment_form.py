"""The form of an experiment and what goes with it, as a browser without JavaScript uses them."""

import html
import re
from typing import Any

import httpx
import pytest

from app.http.dashboard import experiment_list
from tests.app.http_project import (
    ADMIN_TOKEN,
    HttpProject,
    Json,
    conversion,
    event,
    experiment_body,
    impression,
    open_project,
)
from tests.app.test_dashboard import DESCRIBED, HINT, csrf, words

HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture
async def editor(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Somebody who has logged in, and whose forms carry their token."""
    await client.post("/dashboard/login", data={"token": ADMIN_TOKEN})
    client.headers["x-csrf-token"] = await csrf(client)
    return client


def fields_of(page: httpx.Response) -> dict[str, str]:
    """What a browser would send of the form of a page, as it stands."""
    found = re.search(r'<form[^>]*id="experiment-form".*?</form>', page.text, re.DOTALL)
    assert found is not None
    form, sent = found[0], {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([a-z]+)="([^"]*)"', tag))
        if attributes.get("type") != "radio" or tag.endswith(" checked>"):
            sent[attributes["name"]] = html.unescape(attributes["value"])
    for name, text in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL):
        sent[name] = html.unescape(text)
    for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        sent[name] = re.findall(r'value="([^"]*)" selected', options)[0] if "selected" in options else ""
    sent.pop("csrf")  # every page has another one, and the header holds one too
    return sent


def wrong(page: httpx.Response) -> dict[str, str]:
    """What stands beside each field that is wrong, by the field's id; each is tied to its field."""
    found = dict(re.findall(r'<p class="wrong" id="([^"]+)-error">(.*?)</p>', page.text))
    return {element: html.unescape(reason) for element, reason in found.items()}


def new_address(project: HttpProject) -> str:
    """Where an experiment is set up."""
    return f"/dashboard/projects/{project.project_id}/experiments/new"


async def stored(project: HttpProject, page: httpx.Response) -> Json:
    """The experiment that a saved form leads to."""
    assert page.status_code == 303, words(page)
    experiment_id = page.headers["location"].split("/")[3]
    answer = await project.call("GET", f"/experiments/{experiment_id}")
    return answer.json()


async def test_an_experiment_is_set_up_row_by_row_without_javascript(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Buttons add and remove rows and keep all that was typed; what is saved is what was typed, and then runs."""
    address = new_address(project)
    fields = fields_of(await editor.get(address))
    fields |= {"name": "Promise", "targetUrl": "/pricing", "variants[1].changes[0].selector": "#a > b"}
    fields |= {"variants[1].changes[0].value": 'line "1"\r\n\r\n<b>', "hypothesis": HOSTILE}
    for button, focus in (
        ("add-variant", "variants-2-name"),
        ("add-change:2", "variants-2-changes-1-selector"),
        ("add-goal", "goals-1-name"),
        ("remove-change:2:0", "add-change-2"),
    ):
        page = await editor.post(address, data={**fields, "do": button})
        assert page.status_code == 200
        assert re.search(f'id="{focus}"[^>]* autofocus', page.text)
        assert "<img" not in page.text
        fields = fields_of(page)
    assert (fields["hypothesis"], fields["variants[1].changes[0].value"]) == (HOSTILE, 'line "1"\n\n<b>')
    fields |= {
        "variants[2].name": "Third",
        "variants[2].weight": "12.5",
        "control": "1",
        "trafficPercentage": "50",
    }
    fields |= {"goals[1].name": "sum", "goals[1].eventType": "order", "goals[1].kind": "value"}
    fields |= {"goals[1].valueField": "amount", "goals[1].role": "guardrail", "attributionWindowHours": "48"}
    saved = await stored(project, await editor.post(address, data={**fields, "do": "start"}))
    assert saved["status"] == "running"
    variants = saved["variants"]
    assert [(each["name"], each["weight"], each["isControl"]) for each in variants] == [
        ("Control", 50, False), ("Variant", 50, True), ("Third", 12.5, False),
    ]  # fmt: skip
    assert variants[1]["changes"] == [{"selector": "#a > b", "changeType": "text", "value": 'line "1"\n\n<b>'}]
    assert variants[2]["changes"] == []  # a row that was never filled in
    assert (saved["targetUrl"], saved["urlMatchType"], saved["trafficPercentage"]) == ("/pricing", "exact", 50)
    assert [goal["name"] for goal in saved["goals"]] == ["conversion", "sum"]
    assert (saved["goals"][1]["valueField"], saved["attributionWindowHours"]) == ("amount", 48)
    assert saved["hypothesis"] == HOSTILE


async def test_everything_wrong_stands_in_words_beside_its_field(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """All at once, with a summary that leads to each field; values stay as typed, and nothing is saved."""
    address = new_address(project)
    fields = fields_of(await editor.get(address))
    fields |= {
        "name": " ",
        "trafficPercentage": "1O0",
        "attributionWindowHours": "1.5",
        "type": "evil",
        "control": "",
    }
    fields |= {"variants[0].weight": "0", "variants[1].name": "Control", "targetUrl": ""}
    fields |= {"variants[1].changes[0].selector": "a[", "variants[1].changes[0].changeType": "style"}
    fields |= {"variants[1].changes[0].value": HOSTILE, "goals[0].role": "secondary"}
    page = await editor.post(address, data={**fields, "do": "save"})
    assert page.status_code == 422
    found = wrong(page)
    assert found.pop("variants-1-changes-0-selector").startswith("Is not a CSS selector")
    assert found == {
        "name": "Must not be empty.",
        "trafficPercentage": "Must be a number such as 50 or 33.3.",
        "attributionWindowHours": "Must be a whole number such as 720.",
        "type": "Must be one of copy, css, layout.",
        "targetUrl": "Must not be empty.",
        "variants": "Must have exactly one control, not 0.",
        "variants-0-weight": "Must be above 0 and at most 1000000.",
        "variants-1-name": "Must differ from those before it.",
        "variants-1-changes-0-property": "Must not be empty.",
        "goals": "Must have at least one with the role primary.",
    }
    for element in found:
        assert f'<a href="#{element}">' in page.text
        assert re.search(rf'id="{element}"', page.text)
    assert re.search(
        r'aria-describedby="trafficPercentage-hint trafficPercentage-error" aria-invalid="true"', page.text
    )
    assert "Not saved: 11 things are not right yet" in words(page)
    assert "Variant 2, change 1, property must not be empty." in words(page)
    linked = re.findall(r'<li><a href="#([^"]+)"', page.text)
    assert (linked[0], linked[-1]) == ("name", "attributionWindowHours")
    assert '<div class="summary" id="errors" role="alert" tabindex="-1" autofocus>' in page.text
    assert fields_of(page) | {"control": ""} == fields
    assert "<img" not in page.text
    assert (await project.call("GET", "/experiments")).json()["experiments"] == []


async def test_variants_that_were_never_filled_in_are_left_out(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Wherever they stand, and the control stays what it is; one with anything of its own has to have a name."""
    address = new_address(project)
    fields = fields_of(await editor.get(address)) | {"name": "A", "targetUrl": "/"}
    fields |= {"variants[1].changes[0].selector": "h1", "variants[1].changes[0].value": "B"}
    for _ in range(3):
        fields = fields_of(await editor.post(address, data={**fields, "do": "add-variant"}))
    fields |= {"variants[3].name": "Last", "control": "3"}
    saved = await stored(project, await editor.post(address, data={**fields, "do": "save"}))
    assert [(each["name"], each["isControl"]) for each in saved["variants"]] == [
        ("Control", False),
        ("Variant", False),
        ("Last", True),
    ]
    for own in ({"variants[4].weight": "10"}, {"control": "4"}, {"variants[4].changes[0].value": "x"}):
        answer = await editor.post(address, data={**fields, **own, "do": "save"})
        assert answer.status_code == 422
        assert wrong(answer)["variants-3-name"] == "Must not be empty."
        assert fields_of(answer)["variants[2].name"] == "Last"
    # What runs cannot be taken back.
    unsure = await editor.post(address, data={**fields, "do": "start"})
    assert (unsure.status_code, "variants-2-name" in wrong(unsure)) == (422, True)
    alone = {"variants[1].name": "", "variants[1].changes[0].selector": "", "variants[1].changes[0].value": ""}
    fields = fields_of(await editor.get(address)) | {"name": "A", "targetUrl": "/", **alone}
    assert "variants-1-name" in wrong(await editor.post(address, data={**fields, "do": "save"}))


async def test_too_many_rows_are_told_and_kept(editor: httpx.AsyncClient, project: HttpProject) -> None:
    """100 variants are refused in words; more than any form has is no form."""
    address = new_address(project)
    fields = fields_of(await editor.get(address))
    fields |= {f"variants[{place}].name": f"V{place}" for place in range(2, 100)}
    page = await editor.post(address, data=fields | {"targetUrl": "/", "name": "Many"})
    assert wrong(page)["variants"] == "Must be from 2 to 20, not 100."
    assert fields_of(page)["variants[99].name"] == "V99"
    page = await editor.post(address, data=fields | {"variants[5000].name": "x"})
    assert (page.status_code, "100 rows of a kind at most" in words(page)) == (413, True)


async def test_a_draft_is_edited_and_keeps_the_ids_of_its_variants(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """To save what was not touched changes nothing; a removed variant goes, the others stay who they are."""
    body = experiment_body(
        goals=[{"name": "x", "eventType": "y", "kind": "count", "role": "primary"}], hypothesis="h"
    )
    body["variants"].append({"name": "Third", "weight": 1.5, "isControl": False, "changes": []})
    draft = await project.create(**body)
    address = f"/dashboard/experiments/{draft['id']}/edit"
    fields = fields_of(await editor.get(address))
    assert await stored(project, await editor.post(address, data=fields)) == draft
    page = await editor.post(address, data={**fields, "do": "remove-variant:1"})
    fields = fields_of(page) | {"name": "Renamed"}
    changed = await stored(project, await editor.post(address, data=fields))
    assert [each["id"] for each in changed["variants"]] == [draft["variants"][place]["id"] for place in (0, 2)]
    assert (changed["name"], changed["goals"], changed["hypothesis"]) == ("Renamed", draft["goals"], "h")
    saved = await editor.get(address + "?saved=2")
    assert "Saved. Nobody sees a draft" in words(saved)


async def test_of_a_started_experiment_only_what_may_change_can_be_typed(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """The rest is shown as fixed with the reason, and a form that was made by hand changes nothing of it."""
    running = await project.running()
    address = f"/dashboard/experiments/{running['id']}/edit"
    page = await editor.get(address)
    assert "the rest is fixed, since another page, variant or goal would mix two experiments" in words(page)
    typed = set(re.findall(r'<(?:input|textarea|select) id="[^"]*"[^>]* name="([^"]*)"', page.text))
    plan = {"plan.lift", "plan.chance", "plan.perDay", "plan.baseline"}
    assert typed - plan == {"name", "hypothesis", "trafficPercentage", "variants[0].weight", "variants[1].weight"}
    fields = fields_of(page) | {"variants[1].weight": "150", "name": "Later", "targetUrl": "/evil"}
    fields |= {"variants[1].changes[0].value": "evil", "variants[1].name": "evil", "goals[0].name": "evil"}
    changed = await stored(project, await editor.post(address, data=fields))
    assert [each["weight"] for each in changed["variants"]] == [50, 150]
    same = ("targetUrl", "goals", "type", "urlMatchType")
    assert {field: changed[field] for field in same} == {field: running[field] for field in same}
    assert changed["variants"][1]["changes"] == running["variants"][1]["changes"]
    await project.step(changed, "stop")
    over = await editor.get(address)
    assert "A stopped experiment cannot be changed or started again" in words(over)
    [again] = re.findall(r'href="([^"]*\?from=[^"]*)"', over.text)
    copy = await stored(project, await editor.post(new_address(project), data=fields_of(await editor.get(again))))
    assert (copy["name"], copy["status"]) == ("Later (again)", "draft")
    assert copy["variants"][1]["id"] != changed["variants"][1]["id"]


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """The second of two editors hears what is stored by now, keeps what they typed, and then decides."""
    draft = await project.create()
    address = f"/dashboard/experiments/{draft['id']}/edit"
    first = second = fields_of(await editor.get(address))
    assert (await editor.post(address, data=first | {"name": "From the first"})).status_code == 303
    page = await editor.post(address, data=second | {"trafficPercentage": "7"})
    said = words(page)
    assert page.status_code == 409
    assert "changed meanwhile, by somebody else or in another window, so nothing was saved." in said
    assert "Name stored: From the first" in said
    assert "Traffic stored: 100" in said
    kept = await project.call("GET", f"/experiments/{draft['id']}")
    assert (kept.json()["name"], kept.json()["trafficPercentage"]) == ("From the first", 100)
    decided = await stored(project, await editor.post(address, data=fields_of(page)))
    assert (decided["name"], decided["trafficPercentage"]) == ("Headline", 7)
    # Started meanwhile: what cannot change any more is fixed in the form that comes back.
    await project.step(decided, "start")
    page = await editor.post(address, data=fields_of(page) | {"targetUrl": "/elsewhere"})
    assert page.status_code == 409
    assert "This experiment has started." in words(page)
    assert fields_of(page)["targetUrl"] == "/"


async def test_rows_of_a_form_are_refused_once_its_experiment_was_stopped(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """In words beside the button, so that what was typed stays; saving shows that nothing can be saved."""
    draft = await project.create()
    address = f"/dashboard/experiments/{draft['id']}/edit"
    fields = fields_of(await editor.get(address)) | {"name": "Typed"}
    await project.step(draft, "start")
    await project.step(draft, "stop")
    for wanted in ("add-goal", "remove-goal:0", "plan"):
        answer = await editor.post(address, data={**fields, "do": wanted}, headers={"HX-Request": "true"})
        assert (answer.status_code, "stopped" in answer.json()["detail"]) == (409, True)
    saved = await editor.post(address, data={**fields, "do": "save"})
    assert saved.status_code == 409
    assert "A stopped experiment cannot be changed" in words(saved)


async def test_steps_are_buttons_and_stopping_asks_once_more(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Start, pause, resume, stop; a step out of order is refused in the domain's words, and needs the token."""
    draft = await project.create()
    at = f"/dashboard/experiments/{draft['id']}"
    for step, status in (("start", "running"), ("pause", "paused"), ("resume", "running")):
        answer = await editor.post(f"{at}/{step}", data={"back": f"{at}/edit"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{at}/edit")
        assert status in words(await editor.get(f"{at}/edit"))
    again = await editor.post(f"{at}/start")
    assert (again.status_code, "is running already" in words(again)) == (409, True)
    assert (await editor.post(f"{at}/pause", data={"back": "https://evil.example/"})).headers[
        "location"
    ] == "/dashboard"
    asked = await editor.get(f"{at}/stop")
    assert "Stop “Headline” for good?" in words(asked)
    token = editor.headers.pop("x-csrf-token")
    assert (await editor.post(f"{at}/stop")).status_code == 403
    editor.headers["x-csrf-token"] = token
    assert (await editor.post(f"{at}/stop")).status_code == 303
    assert (await project.call("GET", f"/experiments/{draft['id']}")).json()["status"] == "stopped"
    assert (await editor.get(f"{at}/stop")).status_code == 409


async def test_the_preview_gets_changes_as_they_would_be_stored(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Sanitised, without those that are wrong or blank, which are named by their paths."""
    fields = fields_of(await editor.get(new_address(project)))
    rows = [
        ("#a", "html", "<b>x</b><img src=x onerror=alert(1)><a href='javascript:alert(1)'>y</a>"),
        ("a[", "text", ""),
    ]
    rows += [("", "text", ""), ("#b", "style", "red")]
    for place, (selector, kind, value) in enumerate(rows):
        path = f"variants[1].changes[{place}]"
        fields |= {f"{path}.selector": selector, f"{path}.changeType": kind, f"{path}.value": value}
    answer = await editor.post(f"/dashboard/projects/{project.project_id}/experiments/preview", data=fields)
    found = answer.json()
    [shown] = found["variants"][1]["changes"]
    assert shown["path"] == "variants[1].changes[0]"
    value = shown["change"]["value"]
    assert "<b>x</b>" in value
    assert not {"onerror", "javascript"} & set(re.findall(r"[a-z]+", value))
    assert [error["path"] for error in found["errors"]] == [
        "variants[1].changes[1].selector", "variants[1].changes[3].property",
    ]  # fmt: skip
    assert found["variants"][0] == {"name": "Control", "changes": []}
    page = await editor.get(new_address(project))
    assert "frame-src http: https:" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


async def test_the_list_tells_status_health_and_verdict(
    editor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, it says what to do next; filled, it can be filtered and has pages."""
    here = f"/dashboard/projects/{project.project_id}"
    assert "Set up the first experiment" in words(await editor.get(here))
    sick = await project.running(name="Sick")
    await project.accepted(*(impression(sick, 1, f"v{number}") for number in range(60)))
    await project.accepted(*(conversion(f"v{number}") for number in range(9)))
    await project.create(name=f"Draft {HOSTILE}")
    await project.results(sick)
    page = await editor.get(here)
    said = words(page)
    assert "All 2 Draft 1 Running 1" in said
    assert re.search(r"Sick running split is off .* 60 ", said)
    assert f"Draft {HOSTILE} draft – – Not started yet." in said
    hints = dict(re.findall(HINT, page.text, re.DOTALL))
    explained = re.findall(f"{DESCRIBED}>([^<]*)", page.text)
    assert {text: hints[key] for key, text in explained if text in {"split is off", "60"}} == {
        "split is off": "Visitors did not arrive in the proportions that the weights promise:"
        " do not decide on its numbers.",
        "60": "Distinct visitors who were shown one variant and no other, of all variants together.",
    }
    assert sum(hints[key] == "It has never run." for key, text in explained if text == "–") == 2
    assert "<img" not in page.text
    only = words(await editor.get(here, params={"status": "running"}))
    assert "Sick" in only
    assert "Draft “" not in only
    assert "None is paused." in words(await editor.get(here, params={"status": "paused"}))
    monkeypatch.setattr(experiment_list, "ROWS_MAX", 1)
    second = words(await editor.get(here, params={"page": "2"}))
    assert "Sick" in second
    assert "Page 2 of 2" in second
    for nonsense in ("0", "x", "9" * 50):
        assert (await editor.get(here, params={"page": nonsense, "status": "<b>"})).status_code == 200


async def visited(project: HttpProject, days: int, visitors: int, buyers: int) -> None:
    """Visitors of /pricing over some days, some of whom buy for 10 each, and others of another page."""
    day_ms = 86_400_000
    events: list[Any] = []
    for number in range(visitors):
        view = event(pathname="/pricing", fullUrl="https://shop.example/pricing?a=b", visitorId=f"v{number}")
        view["timestamp"] -= round(days * day_ms * number / visitors)
        events.append(view)
        if number < buyers:
            bought = conversion(f"v{number}", eventData={"amount": "10"})
            events.append(bought | {"timestamp": view["timestamp"] + 5})
        events.append(event(pathname="/blog", fullUrl="https://shop.example/blog", visitorId=f"r{number}"))
        events[-1]["timestamp"] = view["timestamp"] + 7
    for first in range(0, len(events), 500):
        await project.accepted(*events[first : first + 500])


async def test_the_calculator_reckons_with_the_traffic_of_the_site(
    editor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Visitors a day and the present rate come from the log, of the pages asked for; what is typed wins."""
    here = f"/dashboard/projects/{project.project_id}/power"
    assert "the log holds no event of a visitor yet" in words(await editor.get(here))
    await visited(project, days=10, visitors=1000, buyers=100)
    asked = {"urlMatchType": "starts_with", "targetUrl": "/pricing", "eventName": "purchase"}
    said = words(await editor.get(here, params=asked))
    assert re.search(r"\b(99|100|101) visitors a day: the log holds 1,000 distinct visitors of the pages", said)
    assert "“purchase” stands at 10.00 %: 100 of those 1,000 visitors reached it." in said
    # R: power.prop.test(p1 = .1, p2 = .11, power = .8) gives n = 14750.79.
    assert re.search(r"one look, at the end 29[4-9] days 29,502 Control 14,751, Variant 1 14,751", said)
    by_regime = re.findall(r"(?:without an end|this many visitors|at the end) ([0-9,]+) days", said)
    always, sequential, fixed = (int(days.replace(",", "")) for days in by_regime)
    assert always > sequential > fixed
    everywhere = words(await editor.get(here, params={"eventName": "purchase"}))
    assert "stands at 5.00 %: 100 of those 2,000 visitors" in everywhere
    typed = {**asked, "plan.perDay": "10000", "plan.baseline": "20", "plan.lift": "-10", "trafficPercentage": "50"}
    said = words(await editor.get(here, params=typed | {"variants": "4"}))
    assert "10,000 visitors a day, as you typed. “purchase” stands at 20.00 %, as you typed." in said
    assert "50 % of the visitors take part." in said
    assert "shared by all variants" in said
    value = {**asked, "kind": "value", "valueField": "amount"}
    assert "stands at 1 with a standard deviation of 3.002" in words(await editor.get(here, params=value))
    bad = {**asked, "plan.lift": "0", "plan.chance": "101", "plan.perDay": "x", "variants": "1"}
    for params, reason in (
        (bad, "Variants must be a whole number from 2 to 20."),
        (bad | {"variants": "2"}, "Effect must be above -100 and not 0."),
        (bad | {"variants": "2"}, "Chance to find it must be from 50 to below 100."),
        (bad | {"variants": "2"}, "Visitors a day must be a number such as 10 or 2.5."),
        (asked | {"plan.lift": "2,5"}, "must be a number such as 10 or 2.5"),
        (asked | {"plan.lift": "1,000"}, "must be a number such as 10 or 2.5"),
        (asked | {"plan.lift": "0,500"}, "Effect must be a number such as 10 or 2.5."),
        (asked | {"plan.lift": "1e-300"}, "cannot be planned"),
        (asked | {"targetUrl": "/\0"}, "must not hold a NUL character"),
    ):
        answer = await editor.get(here, params=params)
        assert (answer.status_code, reason in words(answer)) == (200, True), (params, words(answer))
    for params, field, reason in (
        (asked | {"targetUrl": " ", "urlMatchType": "exact"}, "targetUrl", "Must not be empty: the visitors"),
        (asked | {"trafficPercentage": "0"}, "trafficPercentage", "Must be above 0 and at most 100, so that"),
        (asked | {"trafficPercentage": "1,000"}, "trafficPercentage", "Must be above 0 and at most 100"),
    ):
        answer = await editor.get(here, params=params)
        assert list(wrong(answer)) == [field], params
        assert wrong(answer)[field].startswith(reason)
    said = words(await editor.get(here, params={"plan.perDay": "1,234.5", "plan.baseline": "10"}))
    assert "1,234 visitors a day, as you typed." in said
    said = words(await editor.get(here, params=typed | {"plan.perDay": "1", "targetUrl": ""}))
    assert "1 visitor a day, as you typed." in said


async def test_the_form_plans_its_own_primary_goal(editor: httpx.AsyncClient, project: HttpProject) -> None:
    """With its own pages, weights and traffic, and without saving or losing anything."""
    await visited(project, days=10, visitors=300, buyers=60)
    address = new_address(project)
    fields = fields_of(await editor.get(address))
    fields |= {"targetUrl": "/pricing", "name": "", "variants[1].weight": "150", "goals[0].name": "bought"}
    assert (
        await editor.post(address, data={**fields, "do": "plan", "attributionWindowHours": "9" * 15})
    ).is_success
    page = await editor.post(address, data={**fields, "do": "plan"})
    said = words(page)
    assert page.status_code == 200
    assert "“bought” stands at 20.00 %: 60 of those 300 visitors" in said
    control, variant = re.findall(r"at the end [0-9,]+ days [0-9,]+ Control ([0-9,]+), Variant ([0-9,]+)", said)[0]
    assert abs(int(variant.replace(",", "")) - 3 * int(control.replace(",", ""))) <= 3
    assert fields_of(page) == fields
    assert 'value="https://shop.example/pricing"' in page.text  # the page to look at
    # A variant that was only added is no part of it yet, as it would not be saved, and stays in the form.
    fields = fields_of(await editor.post(address, data={**fields, "do": "add-variant"}))
    page = await editor.post(address, data={**fields, "do": "plan"})
    assert f"Control {control}, Variant {variant} " in words(page)
    assert fields_of(page) == fields


async def test_numbers_that_no_field_holds_are_none(editor: httpx.AsyncClient, project: HttpProject) -> None:
    """Thousands of digits in hidden fields and addresses are refused in words, and are no defect."""
    digits, new = "1" * 5_000, new_address(project)
    edit = f"/dashboard/experiments/{(await project.create())['id']}/edit"
    fields = fields_of(await editor.get(edit))
    assert (await editor.post(new, data={**fields, "control": digits})).status_code == 422
    removed = await editor.post(new, data={**fields, "control": digits, "do": "remove-variant:0"})
    assert removed.status_code == 200
    assert (await editor.post(edit, data={**fields, "version": digits})).status_code == 409
    for field in ("variants", "plan.goal"):
        power = f"/dashboard/projects/{project.project_id}/power"
        assert (await editor.get(power, params={field: digits})).status_code == 200


@pytest.mark.parametrize(
    ("origins", "offered"),
    [([], "https://elsewhere.example/x"), (["https://shop.example"], "https://shop.example/")],
)
async def test_the_page_to_look_at_is_one_of_the_project(
    editor: httpx.AsyncClient, origins: list[str], offered: str
) -> None:
    """Anybody can report an address: one that is none does no harm, one of another site is not offered."""
    project = await open_project(editor, "Shop", allowedOrigins=origins)
    for address, shown in (("https://elsewhere.example/x", offered), ("http://[", (origins or [""])[0])):
        sent = await project.track(event(fullUrl=address), headers={"Origin": "https://shop.example"})
        assert sent.json()["accepted"] == 1
        page = await editor.get(new_address(project))
        [value] = re.findall(r'id="look-address"[^>]* value="([^"]*)"', page.text)
        assert (page.status_code, value.rstrip("/")) == (200, shown.rstrip("/"))
