"""The dashboard as a browser without JavaScript gets it: who may see it, and what it says of the results."""

import html
import re
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from app import find_results, recent_results
from app.http.auth import COOKIE
from app.http.dashboard import experiment as experiment_page
from app.http.dashboard import projects as pages
from app.http.dashboard.pages import own_path
from app.log_writer import Unavailable
from app.replays import Moment, Past, Replays
from app.results_shape import Results
from app.templates import charts, numbers, verdict_of
from app.templates.forest import forest_plot
from projections.archived_log import ArchiveError
from projections.generations import catch_up_live
from tests.app.http_project import (
    ADMIN_TOKEN,
    API,
    HttpProject,
    Json,
    conversion,
    csrf,
    impression,
    log_in,
    open_client,
    open_project,
)
from tests.app.people_of import add_user, send

HOSTILE = "<script>alert('x')</script>"
PURCHASE = {"eventType": "conversion", "eventName": "purchase"}
GOALS = [
    {"name": "purchase", **PURCHASE, "kind": "conversion", "role": "primary"},
    {"name": "revenue", **PURCHASE, "kind": "value", "valueField": "amount"},
    {"name": "orders", **PURCHASE, "kind": "count", "role": "guardrail"},
]


@pytest.fixture
async def visitor(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Somebody who has logged in."""
    answer = await client.post("/dashboard/login", data={"token": ADMIN_TOKEN})
    assert answer.status_code == 303
    return client


HINT = r'<span class="hint" role="tooltip" id="([^"]+)">(.*?)</span>'
DESCRIBED = r'class="explained" tabindex="0" aria-describedby="([^"]+)"'


def words(page: httpx.Response) -> str:
    """What a page says, without its marks and what its numbers say of themselves."""
    body = re.sub(f'<span class="explained"[^>]*>([^<]*)(?:{HINT})?</span>', r"\1", page.text, flags=re.DOTALL)
    body = re.sub(f"<head>.*?</head>|{HINT}|<[^>]+>", " ", body, flags=re.DOTALL)
    return " ".join(html.unescape(body).replace(numbers.SPACE, " ").split())


def without_own_script(page: httpx.Response) -> str:
    """A page less the one script that every page loads."""
    assert page.text.count('<script src="/dashboard/dashboard.js?v=') == 1
    return page.text.replace('<script src="/dashboard/dashboard.js?v=', "", 1)


def cells(page: httpx.Response, variant: str, goal: str | None = "purchase", *, explained: bool = False) -> Json:
    """One row of a goal's table, or of the split, by its headings; `explained`: what its numbers say."""
    part = page.text.partition(f'aria-label="Goal {goal}"' if goal else 'class="cards traffic"')[2]
    rows = re.findall(r"<tr.*?</tr>", part.partition("</table>")[0], re.DOTALL)
    [row] = [row for row in rows if f">{variant}" in row]
    inner = re.findall(r'<td data-label="([^"]*)"[^>]*>(.*?)</td>', row, re.DOTALL)
    if explained:
        said = dict(re.findall(HINT, page.text, re.DOTALL))
        inner = [(label, " ".join(said[key] for key in re.findall(DESCRIBED, text))) for label, text in inner]
    return {label: words(httpx.Response(200, text=text)) for label, text in inner}


async def sold(project: HttpProject, **fields: Any) -> Json:
    """An experiment with 100 visitors a variant, of whom 10 and 60 buy for 2.50 each."""
    experiment = await project.running(goals=GOALS, **fields)
    names = [(variant, f"{variant}-{number}") for number in range(100) for variant in (0, 1)]
    await project.accepted(*(impression(experiment, variant, name) for variant, name in names))
    buyers = [f"0-{number}" for number in range(10)] + [f"1-{number}" for number in range(60)]
    await project.accepted(*(conversion(name, eventData={"amount": 2.5}) for name in [*buyers, "stranger"]))
    await project.results(experiment)
    return experiment


def address(experiment: Json) -> str:
    """Where an experiment's page is."""
    return f"/dashboard/experiments/{experiment['id']}"


async def test_a_page_asks_for_a_login_and_comes_back_to_itself(client: httpx.AsyncClient) -> None:
    """The address that was asked for, with its question, is where a login leads."""
    asked = await client.get("/dashboard/experiments/abc?asOf=2025-01-31T12:00Z")
    assert asked.status_code == 303
    form = await client.get(asked.headers["location"])
    assert form.status_code == 200
    [back] = re.findall(r'name="next" value="([^"]*)"', form.text)
    answer = await client.post("/dashboard/login", data={"token": ADMIN_TOKEN, "next": html.unescape(back)})
    assert (answer.status_code, answer.headers["location"]) == (303, str(asked.request.url.raw_path, "ascii"))


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example/dashboard", "/dashboardx", "/dashboard/../x", "/dashboard\\x", "/api",
     "/dashboard//x", "/dashboard/x\r\nSet-Cookie: a=b", "/dashboard/login?next=/dashboard", "", None],
)  # fmt: skip
def test_a_login_leads_only_to_the_dashboard(elsewhere: str | None) -> None:
    """Whatever else is asked for, the first page is what comes."""
    assert own_path(elsewhere) == "/dashboard"


@pytest.mark.parametrize("token", ["wrong", "", "\0", "é", "%ED%A0%80", None])
async def test_a_wrong_token_gets_the_form_again(client: httpx.AsyncClient, token: str | None) -> None:
    """401 with a plain message, and no cookie."""
    answer = await client.post("/dashboard/login", data={} if token is None else {"token": token})
    assert answer.status_code == 401
    assert "That is neither the admin token" in words(answer)
    assert COOKIE not in answer.cookies
    assert (await client.get("/dashboard")).status_code == 303


@pytest.mark.parametrize("scheme", ["http", "https", "proxied https"])
async def test_the_session_is_kept_from_scripts_and_other_sites(client: httpx.AsyncClient, scheme: str) -> None:
    """The cookie is HttpOnly and SameSite; over https, to us or to a proxy in front, it is Secure too."""
    url, headers = f"{scheme.removeprefix('proxied ')}://prooflog.test/dashboard/login", {}
    if scheme.startswith("proxied"):
        url, headers = url.replace("https", "http"), {"X-Forwarded-Proto": "https"}
    answer = await client.post(url, data={"token": ADMIN_TOKEN}, headers=headers)
    flags = {flag.strip().lower() for flag in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=lax", "path=/"} <= flags
    assert ("secure" in flags) == scheme.endswith("https")


async def test_logging_out_ends_the_session(visitor: httpx.AsyncClient) -> None:
    """After it the pages ask for a login again."""
    assert (await visitor.get("/dashboard")).status_code == 200
    assert (await visitor.get("/dashboard/login")).headers["location"] == "/dashboard"
    assert (await visitor.get("/dashboard/logout")).headers["location"] == "/dashboard"
    answer = await visitor.post("/dashboard/logout", data={"csrf": await csrf(visitor)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/login")
    assert (await visitor.get("/dashboard")).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "http://prooflog.test"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_no_other_site_logs_anybody_in(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """Where the browser says that the form came from elsewhere, even the right token sets no cookie."""
    answer = await client.post("/dashboard/login", data={"token": ADMIN_TOKEN}, headers=headers)
    assert (answer.status_code, COOKIE in answer.cookies) == (status, status == 303)


@pytest.mark.parametrize("given", ["none", "empty", "another", "field", "header"])
async def test_a_change_needs_the_token_of_its_session(visitor: httpx.AsyncClient, given: str) -> None:
    """As a hidden field or a header; without it nothing happens, and the page says what to do."""
    token = await csrf(visitor)
    data = {"none": {}, "empty": {"csrf": ""}, "another": {"csrf": "é" * 64}, "field": {"csrf": token}}.get(given)
    headers = {"X-CSRF-Token": token} if given == "header" else {}
    answer = await visitor.post("/dashboard/logout", data=data, headers=headers)
    assert answer.status_code == (303 if given in {"field", "header"} else 403)
    if answer.status_code == 403:
        assert "load its page again" in words(answer)
        assert (await visitor.get("/dashboard")).status_code == 200


async def test_an_empty_installation_says_what_to_do(visitor: httpx.AsyncClient) -> None:
    """No project is no blank page."""
    page = await visitor.get("/dashboard")
    assert 'prooflog project create "My shop"' in words(page)
    assert 'action="/dashboard/projects"' in page.text


async def test_the_first_page_lists_projects_with_a_figure_each(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """How many experiments run, and the others; whether events arrive, and the ways to both of its pages."""
    here = f"/dashboard/projects/{project.project_id}"
    assert "Shop none – – waiting for the first Put the snippet on a page" in words(
        await visitor.get("/dashboard")
    )
    await sold(project, name="Sold well")
    for name in ("Not begun", "Nor this"):
        await project.create(name=name)
    page = await visitor.get("/dashboard")
    assert re.search(r"Shop 1 running 2 draft \d{4}-\d\d-\d\d arriving Settings", words(page))
    for link in (here, f"{here}?status=running", f"{here}/settings"):
        assert f'href="{link}"' in page.text


async def test_the_results_page_gives_the_verdict_and_then_the_numbers(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """One sentence first, then the split; the same counts, rates, intervals and digest as the JSON."""
    experiment = await sold(project)
    page = await visitor.get(address(experiment))
    found = await project.results(experiment)
    said = words(page)
    parts = [
        "Ship “Bold”: it improves “purchase”.",
        "“purchase” with “Bold”: +500.0 % against “Control” (between",
        "Visitors arrive in the proportions",
        "Lift over the control",
        "Converters / visitors",
        "What must not get worse",
        "Over time",
    ]
    assert sorted(parts, key=said.index) == parts
    assert said.count("Ship “Bold”") == 1
    [comparison] = found["goals"][0]["comparisons"]
    low, high = (numbers.lift(comparison["alwaysValid"]["relative"][end]) for end in ("low", "high"))
    bold = cells(page, "Bold")
    assert bold.pop("Chance to beat").endswith("%")
    assert bold == {
        "Converters / visitors": "60 / 100", "Rate": "60.00 %", "Lift": "+500.0 %",
        "95 % interval": f"{low} … {high}".replace(numbers.SPACE, " "), "Difference": "+50.00 pp",
        "p": "0.002", "Verdict": "better",
    }  # fmt: skip
    assert "Lift" not in cells(page, "Control")
    revenue, orders = cells(page, "Bold", "revenue"), cells(page, "Bold", "orders")
    assert (revenue["Sum"], revenue["Mean"]) == ("150.00", "1.50")
    assert (orders["Conversions"], orders["Per visitor"]) == ("60", "0.60")
    assert cells(page, "Control", None)["Expected"] == "100.0"
    assert "1 not_exposed The event names no experiment and the visitor was never shown this one." in said
    assert f"Digest {found['digest']}" in said
    assert f"Position {found['asOf']['position']}" in said


async def test_every_number_explains_itself_to_the_keyboard_too(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Each can be focused and is described, by words of its own or of its column; no id is there twice."""
    experiment = await sold(project)
    page = await visitor.get(address(experiment), params={"by": "device"})
    assert len(re.findall(DESCRIBED, page.text)) > 50
    ids = [key for key, _ in re.findall(HINT, page.text, re.DOTALL)]
    assert len(ids) == len(set(ids))
    described = set(re.findall(DESCRIBED, page.text))
    assert described <= set(ids)
    heads = [text for text in re.findall(r"<th [^>]*>(.*?)</th>", page.text, re.DOTALL) if 'class="hint"' in text]
    assert set(ids) - described <= {key for text in heads for key, _ in re.findall(HINT, text, re.DOTALL)}
    tables = re.findall(r'<table class="cards.*?</table>', page.text, re.DOTALL)
    numbers = [
        cell for table in tables for cell in re.findall(r'<td [^>]*class="num">(.*?)</td>', table, re.DOTALL)
    ]
    assert [cell for cell in numbers if not re.search(DESCRIBED, cell)] == []
    why = cells(page, "Bold", explained=True)
    assert all(why.values())
    assert why["Rate"] == "60 / 100, the share of visitors who converted."
    assert "however often one looks" in why["95 % interval"]
    assert "however often one looks" in why["p"]
    assert "A second view" in why["Chance to beat"]


async def test_numbers_of_other_pages_explain_themselves_too(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Of the list, the calculator, "Why was this counted?" and an uneven split; each by words that are there."""
    experiment = await project.running(goals=GOALS[:1])
    await project.accepted(*(impression(experiment, n % 10 == 0, f"v{n}") for n in range(200)), conversion("v1"))
    await project.results(experiment)
    here = f"/dashboard/projects/{project.project_id}"
    for path, figures in (
        (here, {"200", "split is off"}),
        (f"{here}/power?plan.baseline=10&plan.perDay=1,000", {"30 days", "29,502", "14,751"}),
        (f"{address(experiment)}/why?q=v1", {"720 hours", "1 of 1", "50", "100 %", "2 changes"}),
        (address(experiment), {"< 0.001", "> 1,000,000", "180", "20"}),
    ):
        page = await visitor.get(path)
        hints = dict(re.findall(HINT, page.text, re.DOTALL))
        described = re.findall(r'tabindex="0" aria-describedby="(why-[^"]+)">([^<]*)', page.text)
        assert figures <= {html.unescape(text).replace(numbers.SPACE, " ") for _, text in described}, path
        assert {key for key, _ in described} <= set(hints), path
        cells = re.findall(r'<td [^>]*class="num">(.*?)</td>', page.text, re.DOTALL)
        assert [cell for cell in cells if not re.search(DESCRIBED, cell)] == [], path
        assert 'class="missing"' not in page.text
        assert "title=" not in page.text.partition('<table class="cards')[2].partition("<time")[0]


async def test_a_number_that_does_not_exist_is_a_dash_with_its_reason(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Nobody was exposed: no rate, no mean, no lift, no interval, no chance, and never a 0 in their place."""
    experiment = await project.running(goals=GOALS)
    await project.results(experiment)
    page = await visitor.get(address(experiment))
    assert "Nobody has been shown this experiment yet." in words(page)
    row, why = cells(page, "Bold", "revenue"), cells(page, "Bold", "revenue", explained=True)
    for missing in ("Rate", "Mean", "Lift", "95 % interval", "Difference", "p", "Chance to beat"):
        assert (row[missing], bool(re.fullmatch(r"\w.*\.", why[missing]))) == ("–", True), missing
    assert why["Rate"] == "Nobody was exposed to this variant."
    assert (row["Converters / visitors"], row["Verdict"]) == ("0 / 0", "not enough data")
    assert "cannot be said: Nobody was exposed yet." in words(page)
    assert "<svg" not in page.text


async def test_events_are_taken_in_while_a_page_is_drawn(
    visitor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither statistics, but those of few comparisons, nor the page itself hold up the loop that answers all."""
    monkeypatch.setattr(recent_results, "COMPARISONS_AT_ONCE_MAX", 0)
    experiment, threads = await project.running(), []
    for place, name in ((experiment_page, "page"), (find_results, "results_of")):
        work = getattr(place, name)

        def watched(*given: Any, work: Any = work, **named: Any) -> Any:
            threads.append((work.__name__, threading.get_ident()))
            return work(*given, **named)

        monkeypatch.setattr(place, name, watched)
    await project.results(experiment)
    await visitor.get(f"/dashboard/projects/{project.project_id}")
    assert (await visitor.get(address(experiment))).status_code == 200
    assert {name for name, _ in threads} == {"results_of", "page"}
    assert threading.get_ident() not in {thread for _, thread in threads}


def test_what_is_derived_ahead_is_where_the_slider_stops() -> None:
    """Every place of the slider but its right end, as the moment that the page asks for when it is sent."""
    now = datetime.now(UTC)
    for age in (timedelta(seconds=30), timedelta(minutes=9), timedelta(hours=5), timedelta(days=40)):
        slider = experiment_page._slider(now - age, now, None)  # noqa: SLF001
        end = str(slider.most)
        sent = [
            experiment_page._slid_to(str(at), end, now)  # noqa: SLF001
            for at in range(slider.least, slider.most + 1, slider.step)
        ]
        stops = experiment_page._stops(slider, now)  # noqa: SLF001
        assert [stop.isoformat() for stop in stops] == sent[:-1]
        assert 20 <= len(stops) <= 490
        # An hour later, on a page that was left open, the right end is still now.
        assert (sent[-1], experiment_page._slid_to(end, end, now + timedelta(hours=1))) == (None, None)  # noqa: SLF001
    new = experiment_page._slider(now, now, None)  # noqa: SLF001
    assert new.least < new.most
    assert experiment_page._stops(new, now) == ()  # noqa: SLF001


async def test_the_same_statistics_are_not_done_twice(
    visitor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List, page and JSON of one position share them, until an event comes; a list reads its tallies at once."""
    done, read, results_of, read_live = [], [], find_results.results_of, find_results.read_live_of

    def counting(*given: Any, digest: str | None) -> Results:
        done.append(given)
        return results_of(*given, digest=digest)

    async def reading(*given: Any) -> Any:
        read.append(given)
        return await read_live(*given)

    monkeypatch.setattr(find_results, "results_of", counting)
    experiments = [await project.running(name=f"Number {number}") for number in range(3)]
    for experiment in experiments:
        await project.results(experiment)
    monkeypatch.setattr(find_results, "read_live_of", reading)
    page = await visitor.get(f"/dashboard/projects/{project.project_id}")
    assert page.text.count("Nobody has been shown this experiment yet.") == 3
    assert len(read) == 1
    done.clear()
    for experiment in experiments:
        await visitor.get(address(experiment))
        await visitor.get(f"{API}/experiments/{experiment['id']}/results")
    assert done == []
    await project.accepted(impression(experiments[0], 0, "v1"))
    assert (await project.results(experiments[0]))["variants"][0]["visitors"] == 1
    assert done != []


async def test_variants_that_do_equally_well_have_their_picture(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """A lift of exactly zero, without limits yet, still has an axis to stand on."""
    experiment = await project.running(goals=GOALS[:1])
    await project.accepted(*(impression(experiment, n % 2, f"{n}") for n in range(6)))
    await project.accepted(conversion("0"), conversion("1"))
    await project.results(experiment)
    page = await visitor.get(address(experiment))
    assert page.status_code == 200
    assert "Lift of “Bold” on “purchase” by day: Bold 0.0" in page.text.replace("&#8220;", "“")
    cut_off = re.findall(r"<g clip-path.*?</g>", page.text, re.DOTALL)
    assert len(cut_off) == 3
    assert [part for part in cut_off if "<circle" in part] == []
    dots = re.findall(r'<circle class="dot[^>]* cx="([\d.]+)" cy="([\d.]+)"', page.text)
    assert len(dots) == 5
    assert all(5 <= float(x) <= charts.WIDTH - 5 and 5 <= float(y) <= charts.HEIGHT - 5 for x, y in dots)


async def test_a_day_that_is_not_over_says_so_until_the_experiment_is_stopped(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """In the picture by day, beside it and in its table, for the last day alone; sums so far are drawn as ever."""
    experiment = await project.running(goals=GOALS[:1])
    for name, days_ago in (("a", 1), ("b", 0)):
        seen = impression(experiment, 0, name)
        await project.accepted({**seen, "timestamp": seen["timestamp"] - days_ago * 24 * 3600 * 1000})
    await project.results(experiment)
    going_on = (await visitor.get(address(experiment))).text
    await project.step(experiment, "stop")
    await project.results(experiment)
    stopped = (await visitor.get(address(experiment))).text
    for page, times in ((going_on, 1), (stopped, 0)):
        assert page.count('<path class="line so-far s0"') == times
        assert page.count('<span class="figure">1 so far</span>') == times
        assert re.findall(r'<th scope="row">\d{4}-\d\d-\d\d(.*?)</th>', page) == [
            "",
            "<small> so far</small>" * times,
        ]


async def test_converters_beyond_the_visitors_are_shown_and_no_rate(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """A backend that reports ids which no browser did makes no rate above 100 %."""
    experiment = await project.running(goals=GOALS)
    await project.accepted(impression(experiment, 1, "ann"))
    chosen = {"experimentId": experiment["id"], "variantId": experiment["variants"][1]["id"]}
    for buyer in ("x", "y", "z"):
        await project.server_event(visitor={"id": buyer}, **chosen)
    await project.results(experiment)
    page = await visitor.get(address(experiment))
    assert cells(page, "Bold")["Converters / visitors"] == "3 / 1 2 more than visitors"
    assert cells(page, "Bold")["Rate"] == "–"
    assert cells(page, "Bold", explained=True)["Rate"].startswith("More ids converted")


async def test_a_past_moment_shows_what_was_known_then(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """By position, by time and by the slider, with the digest and a way back to now; fixed limits too."""
    experiment = await sold(project)
    before = await project.results(experiment)
    moment = before["asOf"]
    await project.accepted(*(impression(experiment, 1, f"late-{number}") for number in range(5)))
    await project.results(experiment)
    assert cells(await visitor.get(address(experiment)), "Bold")["Converters / visitors"] == "60 / 105"
    for as_of in (str(moment["position"]), moment["time"]):
        page = await visitor.get(address(experiment), params={"asOf": as_of, "method": "fixed"})
        assert cells(page, "Bold")["Converters / visitors"] == "60 / 100"
        assert "at one look that was planned before" in cells(page, "Bold", explained=True)["p"]
        assert f"What was known at position {moment['position']}" in words(page)
        assert "See what is known now" in words(page)
    fixed = await project.results(experiment, asOf=moment["position"], method="fixed")
    assert f"Digest {fixed['digest']} . See" in words(page)
    blank = await visitor.get(address(experiment), params={"asOf": " ", "method": ""})
    assert "See what is known now" not in words(blank)
    [least, most] = (int(re.findall(rf'data-time[^>]* {end}="(\d+)"', blank.text)[0]) for end in ("min", "max"))
    assert abs(least - time.time()) < 120  # the second after the creation
    for right_end in (most, "99999999999", "x"):
        page = await visitor.get(address(experiment), params={"at": right_end, "until": most})
        assert "See what is known now" not in words(page)
    answer = await visitor.get(address(experiment), params={"at": least - 3600})
    assert (answer.status_code, "did not exist yet at that moment" in words(answer)) == (404, True)


async def test_what_no_goal_can_be_called_is_not_kept_with_a_past_moment(
    visitor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a share link could fill the memory with such names: they all ask for the same moment."""
    experiment, asked = await sold(project), set()
    derive = Replays.derive

    async def derived(replays: Replays, moment: Moment) -> Past | None:
        asked.add(moment)
        return await derive(replays, moment)

    monkeypatch.setattr(Replays, "derive", derived)
    position = (await project.results(experiment))["asOf"]["position"] - 1
    for goal in (None, "x" * 201, "y" * 5000, "purchase"):
        named = {} if goal is None else {"goal": goal}
        page = await visitor.get(address(experiment), params={"asOf": position, **named})
        assert page.status_code == 200
    assert {moment.detail.choose.wanted for moment in asked} == {None, "purchase"}


async def test_the_history_says_who_changed_what(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """Facts, the newest first, with actor, position, and weights before and after, as marks and in the list."""
    experiment = await sold(project)
    weights = [
        {"id": variant["id"], "weight": weight}
        for variant, weight in zip(experiment["variants"], (9, 1), strict=True)
    ]
    await project.call("PATCH", f"/experiments/{experiment['id']}", json={"variants": weights, "name": HOSTILE})
    await project.step(experiment, "pause")
    await project.results(experiment)
    page = await visitor.get(address(experiment))
    said = words(page).partition("What was changed")[2].partition("By segment")[0]
    even = r"Control 50 \(50.0%\), Bold 50 \(50.0%\)"
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.fullmatch(
        rf" Paused {moment} by secret key, position \d+"
        rf" Weights changed {moment} before {even}"
        r" after Control 9 \(90.0%\), Bold 1 \(10.0%\) by secret key, position \d+"
        rf" Details changed {moment} name: “Headline” to “{re.escape(HOSTILE)}” by secret key, position \d+"
        rf" Started {moment} {even} 100 % of visitors by secret key, position 4"
        rf" Created {moment} {even} 3 goals, window 30 days by secret key, position 3 ",
        said,
    ), said
    assert page.text.count('<g class="mark">') == 3
    assert "4: Weights changed" in page.text
    early = await visitor.get(address(experiment), params={"asOf": 10})
    assert "Started" in words(early)
    assert "Weights changed" not in words(early)


async def test_the_history_goes_as_far_as_the_moment_that_is_shown(database_url: str, connection: Any) -> None:
    """Also where projections are behind it: results follow from the log then, and what was changed does too."""
    async with open_client(database_url, with_worker=False) as client:
        project = await open_project(client)
        experiment = await project.create()
        await catch_up_live(connection, UUID(project.project_id))
        await project.step(experiment, "start")
        other = await project.running(name="Another")
        await project.accepted(*(impression(experiment, n, f"{n}") for n in (0, 1)), impression(other, 1, "2"))
        visitor = await log_in(client)
        behind = await _changes(visitor, experiment)
        await catch_up_live(connection, UUID(project.project_id))
        there = await _changes(visitor, experiment)
    assert there == (2, ["1: Created", "2: Started"])
    assert behind == there


async def _changes(visitor: httpx.AsyncClient, experiment: Json) -> tuple[int, list[str]]:
    """How many changes the page as of position 9 lists, and which of them its charts mark."""
    page = await visitor.get(address(experiment), params={"asOf": 9})
    listed = page.text.partition('<ol class="history"')[2].partition("</ol>")[0]
    return listed.count("<li "), sorted({*re.findall(r"(\d: \w+), \d{4}-", page.text)})


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/experiments/{id}?asOf=yesterday", 400, "asOf is neither an ISO 8601 time nor a position"),
        ("/experiments/{id}?asOf=999999", 400, "asOf is beyond the end of the log"),
        ("/experiments/{id}?method=%3Cb%3E", 400, "method is none of"),
        ("/experiments/00000000-0000-4000-8000-000000000000", 404, "no experiment with that id"),
        ("/experiments/%3Cscript%3E", 404, "no experiment with that id"),
        ("/nowhere/%3Cscript%3E", 404, "the dashboard has no page /nowhere/<script>"),
        ("/experiments/{id}/nowhere", 404, "Not found"),
        ("/projects/{id}/nowhere/either", 404, "Not found"),
        ("/projects/{id}/experiments/preview", 405, "Method not allowed"),
    ],
)
async def test_a_refusal_is_a_page_for_people(
    visitor: httpx.AsyncClient, project: HttpProject, path: str, status: int, said: str
) -> None:
    """The status and the words of the API, as HTML with a way on."""
    experiment = await project.create()
    answer = await visitor.get("/dashboard" + path.format(id=experiment["id"]))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert said in words(answer)
    assert 'href="/dashboard"' in answer.text
    assert "<script" not in without_own_script(answer)


async def test_a_refusal_leads_back_to_what_it_is_about(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """To the experiment, the project or what a link shares, where they may be seen; never to the page itself."""
    experiment = await project.running()
    viewer = await add_user(visitor, project, "Ann", "viewer")
    stranger = await add_user(visitor, await open_project(visitor), "Eve", "owner")
    page, here = address(experiment), f"/dashboard/projects/{project.project_id}"
    await send(visitor, f"{page}/pause")
    made = await send(visitor, f"{here}/share-links", link_id=str(uuid.uuid4()), experiment=experiment["id"])
    shared = re.search(r"/dashboard/shared/[A-Za-z0-9_-]+", made.text)[0]
    nowhere = f"/dashboard/experiments/{uuid.uuid4()}"
    for answer, status, back in (
        (await send(visitor, f"{page}/pause"), 409, page),
        (await visitor.get(page, params={"asOf": "2020-01-01T00:00Z"}), 404, page),
        (await visitor.get(page, params={"asOf": "yesterday"}), 400, page),
        (await viewer.get(f"{page}/edit"), 403, page),
        (await send(viewer, f"{page}/pause"), 403, page),
        (await viewer.get(f"{here}/experiments/new"), 403, here),
        (await visitor.get(shared, params={"asOf": "2020-01-01T00:00Z"}), 404, shared),
        (await visitor.get(f"{shared}x", params={"asOf": "1"}), 404, None),
        (await stranger.get(f"{page}/edit"), 404, None),
        (await visitor.get(nowhere, params={"asOf": "1"}), 404, None),
    ):
        assert answer.status_code == status, (answer.url, words(answer))
        links = re.findall('href="([^"]*)"', answer.text.partition("<main")[2])
        elsewhere = [] if "/shared/" in answer.url.path else ["/dashboard"]
        assert links == [*([back] if back else []), *elsewhere], answer.url


async def test_the_address_of_a_form_leads_to_the_page_that_it_stands_on(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Where a browser is left after it was sent, and whoever opens that address later; the server's own, too."""
    experiment = await project.create()
    of_project, of_experiment = f"/projects/{project.project_id}", f"/experiments/{experiment['id']}"
    for path, page in (
        ("/projects", ""),
        ("/experiments", ""),
        (f"{of_project}/experiments", of_project),
        (f"{of_project}/origins", f"{of_project}/settings"),
        (f"{of_project}/users/{uuid.uuid4()}/role", f"{of_project}/settings"),
        (f"{of_project}/share-links/{uuid.uuid4()}/revoke", f"{of_project}/settings"),
        (f"{of_experiment}/pause", of_experiment),
        (f"{of_experiment}/start", of_experiment),
    ):
        answer = await visitor.get(f"/dashboard{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/dashboard{page}")
        assert (await visitor.get(answer.headers["location"])).status_code == 200
    assert (await visitor.get("/")).headers["location"] == "/dashboard"
    assert (await visitor.get("/dashboards")).headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unavailable(), 503), (ZeroDivisionError("secret"), 500), (ArchiveError("2026-01.parquet is missing"), 503)],
)
async def test_a_failure_is_a_page_without_its_trace(
    visitor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """Down or broken, people read a sentence; when to come back stays a header."""

    async def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(pages, "read_projects", fail)
    answer = await visitor.get("/dashboard")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == isinstance(error, Unavailable)
    assert ("2026-01.parquet is missing" in answer.text) == isinstance(error, ArchiveError)


async def test_hostile_names_are_only_text(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """Names of project, experiment, variants and goals, address, hypothesis: none becomes an element."""
    body = {"name": HOSTILE, "hypothesis": HOSTILE, "targetUrl": f"/{HOSTILE}", "urlMatchType": "contains"}
    variants = [{"name": f"{HOSTILE}{n}", "isControl": n == 0, "weight": 1, "changes": []} for n in (0, 1)]
    goals = [{**GOALS[0], "name": HOSTILE}]
    experiment = await project.running(**body, variants=variants, goals=goals)
    await project.accepted(*(impression(experiment, n, f"{n}-{m}") for n in (0, 1) for m in range(3)))
    await project.results(experiment)
    await open_project(visitor, HOSTILE)
    quoted = f'{address(experiment)}?asOf="><script>'
    for path, times in (("/dashboard", 2), (address(experiment), 11), (quoted, 0)):
        page = await visitor.get(path)
        assert "<script" not in without_own_script(page)
        assert words(page).count(HOSTILE) >= times


async def test_pages_hold_to_a_strict_policy(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """One script of our own, no inline style, nothing from elsewhere, and nothing that a cache may keep."""
    experiment = await sold(project)
    for path in ("/dashboard", address(experiment), "/dashboard/nowhere"):
        page = await visitor.get(path)
        policy = page.headers["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src"
        )
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(
            r"<script|<style|\sstyle=|\son[a-z]+=|(?:src|href)=.https?:", without_own_script(page)
        )


async def test_pages_are_compressed_and_tell_no_secret_by_their_length(visitor: httpx.AsyncClient) -> None:
    """As the browser likes it, or not at all; the token of forms is another text each time."""
    texts = set()
    for accepted, coding in (("br", "br"), ("gzip", "gzip"), ("identity", None), ("br;q=0, gzip", "gzip")):
        page = await visitor.get("/dashboard/account", headers={"Accept-Encoding": accepted})
        assert (page.headers.get("content-encoding"), page.headers["vary"]) == (coding, "Accept-Encoding")
        texts |= set(re.findall(r'name="csrf" value="([^"]+)"', page.text))
    assert len(texts) >= 4
    for wrong in ("", "ab", "xy", min(texts)[:-2] + "00", min(texts)[::2]):
        assert (await visitor.post("/dashboard/logout", data={"csrf": wrong})).status_code == 403
    assert (await visitor.post("/dashboard/logout", data={"csrf": max(texts)})).status_code == 303


@pytest.mark.parametrize(
    ("element", "kind", "bytes_max"),
    [
        (r'rel="stylesheet" href="([^"]+)"', "text/css", 10_000),
        (r'<script src="([^"]+)"', "text/javascript", 25_000),
    ],
)
async def test_style_and_script_are_public_and_kept(
    client: httpx.AsyncClient, element: str, kind: str, bytes_max: int
) -> None:
    """The login page needs them; they are compressed, kept for ever, and a tag spares a second transfer."""
    login = await client.get("/dashboard/login")
    [path] = re.findall(element, login.text)
    first = await client.get(path, headers={"Accept-Encoding": "br"})
    assert (first.status_code, first.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert (first.headers["content-encoding"], "immutable" in first.headers["cache-control"]) == ("br", True)
    assert int(first.headers["content-length"]) < bytes_max
    other = await client.get(path.partition("?")[0], headers={"Accept-Encoding": "identity"})
    assert (other.content, other.headers["cache-control"]) == (first.content, "no-cache")
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def results_with(
    *goals: tuple[str, list[str]], action: str = "keep_running", reasons: list[str] | None = None, **fields: Any
) -> Results:
    """Results whose goals, by role, have these verdicts for the variants A, B and so on."""
    count = max(len(verdicts) for _, verdicts in goals) + 1
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(count)]
    nothing = {"estimate": None, "low": None, "high": None, "reason": "unknown"}
    lift = {"estimate": 0.5, "low": 0.25, "high": None}

    def comparison(number: int, verdict: str) -> Json:
        return {
            "variantId": ids[number], "controlId": ids[0], "verdict": verdict, "reason": f"Why {verdict}.",
            "absolute": nothing, "relative": lift, "pValue": None, "alpha": 0.05, "regime": "fixed",
            "method": None, "alwaysValid": {"pValue": None, "relative": nothing, **nothing},
            "bayes": {"chanceToBeat": None, "expectedLoss": None, "reason": "unknown"},
        }  # fmt: skip

    return msgspec.convert(
        {
            "experimentId": ids[0], "name": "Test", "status": "running", "digest": "", "unattributed": [],
            "asOf": {"position": 1, "time": None}, "lag": {"events": 0, "seconds": 0},
            "epochs": 1,
            "decision": {"action": action, "sentence": f"Said: {action}.", "reasons": reasons or []},
            "variants": [
                {"variantId": id_, "name": "0ABCDEF"[number], "isControl": number == 0, "weight": 1,
                 "visitors": 9, "impressions": 9, "multipleExposures": 0}
                for number, id_ in enumerate(ids)
            ],
            "sampleRatio": {"healthy": True, "pValue": 0, "eValue": 0, "expected": [], "observed": []},
            "goals": [
                {"name": f"g{place}", "role": role, "kind": "conversion", "variants": [],
                 "margin": 0.05 if role == "guardrail" else None,
                 "comparisons": [comparison(number, verdict) for number, verdict in enumerate(verdicts, 1)]}
                for place, (role, verdicts) in enumerate(goals)
            ],
            **fields,
        },
        Results,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "tone", "because"),
    [
        (results_with(("primary", ["better"]), action="ship", reasons=["Kept."]), "better",
         ["“g0” with “A”: +50.0 % against “0” (between +25.0 % and no limit).", "Kept."]),
        (results_with(("primary", ["not_enough_data", "worse"])), "open",
         ["“g0” with “A”: not enough data. Why not_enough_data.",
          "“g0” with “B”: +50.0 % against “0” (between +25.0 % and no limit)."]),
        (results_with(("secondary", ["better"])), "open", []),
        (results_with(("secondary", ["worse"]), action="do_not_ship", reasons=["Lost."]), "worse", ["Lost."]),
        (results_with(("secondary", ["inconclusive"]), action="do_not_ship"), "open", []),
        (results_with(("primary", ["better"]), action="unhealthy", reasons=["Uneven."]), "warning",
         ["Uneven.", "Without that: “g0” with “A”: +50.0 % against “0” (between +25.0 % and no limit)."]),
    ],
)  # fmt: skip
def test_the_decision_leads_and_its_figures_follow(found: Results, tone: str, because: list[str]) -> None:
    """One sentence, the decision's own; behind it what the primaries show, and what stands against it."""
    verdict = verdict_of(found)
    assert found.decision is not None
    assert (verdict.tone, verdict.sentence) == (tone, found.decision.sentence)
    said = ["".join(part.text for part in each) for each in verdict.because]
    assert [each.replace(numbers.SPACE, " ") for each in said] == because
    figures = [part for each in verdict.because for part in each if any(letter.isdigit() for letter in part.text)]
    assert [part.text for part in figures if not part.why and "“" not in part.text] == []


def test_a_draft_has_nothing_to_compare() -> None:
    """Whatever the numbers would say."""
    verdict = verdict_of(results_with(("primary", ["better"]), action="ship", status="draft"))
    assert (verdict.tone, verdict.sentence) == ("open", "Not started yet, so there is nothing to compare.")


def test_all_lifts_stand_on_one_scale_with_zero() -> None:
    """Places keep the order of the numbers over goals, within the picture; what lies far beyond has no place."""
    told = msgspec.to_builtins(results_with(("guardrail", ["worse"]), ("primary", ["better", "inconclusive"])))
    lifts = [
        {"estimate": -0.1, "low": None, "high": 0.0},
        {"estimate": 0.2, "low": 0.1, "high": 0.4},
        {"estimate": 0.3, "low": 0.0, "high": 40.0},
    ]
    every = [comparison for goal in told["goals"] for comparison in goal["comparisons"]]
    for comparison, lift in zip(every, lifts, strict=True):
        comparison["relative"] = lift
    plot = forest_plot(msgspec.convert(told, Results))
    assert plot is not None
    assert [heading.text for heading in plot.headings] == ["Primary goals", "Guardrails"]
    up, far, down = plot.rows
    assert [line for _, line in up.lines] == ["g1 · A"]
    assert 0 < down.estimate_x < plot.zero_x < up.low_x < up.estimate_x < up.high_x < plot.width
    assert (down.low_x, down.high_x, far.low_x, far.high_x) == (None, plot.zero_x, plot.zero_x, None)
    assert down.estimate_x < down.margin_x < plot.zero_x
    assert far.text.replace(numbers.SPACE, " ") == "+30.0 % (0.0 % … +4,000.0 %)"


def named(found: Results, goal: str, variant: str) -> Results:
    """The same with another name of the first goal and of variant A."""
    told = msgspec.to_builtins(found)
    told["goals"][0]["name"], told["variants"][1]["name"] = goal, variant
    return msgspec.convert(told, Results)


def test_names_have_the_room_that_there_is() -> None:
    """Beside the numbers where they fit, else the goal above its variants; beyond two lines the middle goes."""
    found = results_with(("primary", ["better", "worse"]))
    plot = forest_plot(named(found, "purchase", "Bold"))
    assert [[line for _, line in row.lines] for row in plot.rows] == [["purchase · Bold"], ["purchase · B"]]
    began = "the funnel of those who come back: "
    for name, lines in (
        (f"{began}paid", [f"{began}paid"]),
        (f"{began}{'word ' * 40}paid", 2),
        (f"{began}{'W' * 160}paid", 2),
        ("語" * 200, 2),
    ):
        plot = forest_plot(named(found, name, name))
        of_goal = [heading for heading in plot.headings if heading.of == "goal"]
        shown = [heading.text for heading in of_goal]
        assert shown == lines if isinstance(lines, list) else len(shown) == lines
        assert (shown[0][:9], shown[-1][-4:]) == (name[:9], name[-4:])
        assert [text for _, text in plot.rows[1].lines] == ["B"]
        places = [each.y for each in of_goal] + [
            y for row in plot.rows for y in (*(y for y, _ in row.lines), row.y)
        ]
        assert places == sorted(places)
        assert places[-1] < plot.height
        assert all(row.y > row.text_y >= row.lines[-1][0] for row in plot.rows)


@pytest.mark.parametrize(("kind", "least"), [("conversion", "~100.0 %"), ("value", "~107.5 %")])
def test_the_scale_names_no_lift_that_cannot_be(kind: str, least: str) -> None:
    """No rate falls by more than all of it; a mean may become a loss."""
    told = msgspec.to_builtins(results_with(("primary", ["worse"])))
    told["goals"][0]["kind"] = kind
    told["goals"][0]["comparisons"][0]["relative"] = {"estimate": -0.5, "low": -1.0, "high": 0.25}
    plot = forest_plot(msgspec.convert(told, Results))
    assert plot.ticks[0][1].replace(numbers.SPACE, " ").replace("\N{MINUS SIGN}", "~") == least
    assert 0 < plot.ticks[0][0] <= plot.rows[0].low_x < plot.zero_x


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (numbers.count(1234567), "1,234,567"), (numbers.count(0), "0"), (numbers.percent(0.12345), "12.35 %"),
        (numbers.percent(None), None), (numbers.percent(0.0), "0.00 %"), (numbers.percent(0.00001), "0.001 %"),
        (numbers.lift(-0.5), "~50.0 %"), (numbers.amount(-1234.5), "~1,234.50"),
        (numbers.amount(2.5e15), "2.500 * 10¹⁵"), (numbers.amount(-2.5e-7), "~2.5 * 10⁻⁷"),
        (numbers.plain(1e6), "1,000,000"), (numbers.plain(33.3), "33.3"), (numbers.plain(0), "0"),
        (numbers.e_value(118_234.4), "118,234"), (numbers.e_value(1e300), "> 1,000,000"),
        (numbers.e_value(1.234), "1.23"), (numbers.e_value(1e-9), "< 0.01"),
        (numbers.counted(1, "goal"), "1 goal"), (numbers.counted(1200, "goal"), "1,200 goals"),
        (numbers.difference(0.0123, "conversion"), "+1.23 pp"),
        (numbers.difference(0.0123, "value"), "+0.01"), (numbers.limit(None, "value"), None),
        (numbers.p_value(0.0004), "< 0.001"), (numbers.p_value(1.0), "1.000"), (numbers.chance(0.5), "50.0 %"),
        (numbers.chance(1.0), "> 99.9 %"), (numbers.chance(0.0), "< 0.1 %"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(written: str | None, text: str | None) -> None:
    """Thousands apart, signs true, no certainty that is not there, and nothing for nothing."""
    plain = written and written.replace(numbers.SPACE, " ").replace("\N{MINUS SIGN}", "~")
    plain = plain and plain.replace("\N{MULTIPLICATION SIGN}", "*")
    assert plain == text
