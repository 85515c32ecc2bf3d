"""The dashboard as a browser without JavaScript gets it: who may see it, and what it says of the results."""

import html
import re
from typing import Any

import httpx
import msgspec
import pytest

from app.http.auth import COOKIE
from app.http.dashboard import projects as pages
from app.http.dashboard.pages import own_path
from app.log_writer import Unavailable
from app.results_shape import Results
from app.templates import numbers, verdict_of
from app.templates.intervals import WIDTH, interval_bars
from tests.app.http_project import ADMIN_TOKEN, HttpProject, Json, conversion, impression, open_project

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


async def csrf(client: httpx.AsyncClient) -> str:
    """What the forms of this login carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/dashboard")).text)
    assert found is not None
    return found[1]


def words(page: httpx.Response) -> str:
    """What a page says, without its marks."""
    body = re.sub(r"<head>.*?</head>|<[^>]+>", " ", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(body).replace(numbers.SPACE, " ").split())


def without_own_script(page: httpx.Response) -> str:
    """A page less the one script that every page loads."""
    assert page.text.count('<script src="/dashboard/dashboard.js?v=') == 1
    return page.text.replace('<script src="/dashboard/dashboard.js?v=', "", 1)


def cells(page: httpx.Response, variant: str, table: int = 0) -> dict[str, str]:
    """One row of one table by its headings, as a narrow screen shows them."""
    found = re.findall(r"<table.*?</table>", page.text, re.DOTALL)[table]
    [row] = [row for row in re.findall(r"<tr.*?</tr>", found, re.DOTALL) if f">{variant}" in row]
    inner = re.findall(r'<td data-label="([^"]*)"[^>]*>(.*?)</td>', row, re.DOTALL)
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
    assert "That is not the admin token" in words(answer)
    assert COOKIE not in answer.cookies
    assert (await client.get("/dashboard")).status_code == 303


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_session_is_kept_from_scripts_and_other_sites(client: httpx.AsyncClient, scheme: str) -> None:
    """The cookie is HttpOnly and SameSite; over https it is Secure too."""
    answer = await client.post(f"{scheme}://prooflog.test/dashboard/login", data={"token": ADMIN_TOKEN})
    flags = {flag.strip().lower() for flag in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert ("secure" in flags) == (scheme == "https")


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
    assert "curl http://prooflog.test/api/analytics/projects" in words(page)


async def test_the_list_shows_projects_experiments_and_verdicts(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Name, status, visitors and a verdict in a line; the key, and the snippet to copy."""
    assert "prooflog experiment create FILE.json" in words(await visitor.get("/dashboard"))
    await sold(project, name="Sold well")
    await project.create(name="Not begun")
    page = await visitor.get("/dashboard")
    row = re.search(r"Sold well</a>.*?</tr>", page.text, re.DOTALL)
    assert row is not None
    assert words(httpx.Response(200, text=row[0])) == (
        "Sold well running 200 “Bold” beats “Control” on “purchase”: +500.0 %."
    )
    assert "Not begun draft – (not started yet) Not started yet." in words(page)
    script = f"http://prooflog.test/api/analytics/script.js?projectId={project.project_id}"
    assert f'<script src="{script}"></script>' in words(page)
    assert f"Public key {project.project_id}" in words(page)


async def test_a_long_list_shows_figures_of_what_changed_last(
    visitor: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computing figures is bounded; the other experiments stay in the list, with a way to theirs."""
    monkeypatch.setattr(pages, "FIGURES_MAX", 1)
    for name in ("Older", "Newer"):
        await project.results(await project.running(name=name))
    said = words(await visitor.get("/dashboard"))
    assert "Newer running 0 Nobody has been shown this experiment yet." in said
    assert "Older running – (open the experiment to count) Open it to see its results." in said


async def test_the_results_page_gives_the_verdict_and_then_the_numbers(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """One sentence first; the same counts, rates, intervals and digest as the JSON."""
    experiment = await sold(project)
    page = await visitor.get(address(experiment))
    found = await project.results(experiment)
    said = words(page)
    assert said.index("“Bold” beats “Control” on “purchase”: +500.0 %.") < said.index("Converters")
    [comparison] = found["goals"][0]["comparisons"]
    low, high = (f"{comparison['alwaysValid'][end] * 100:+.2f}" for end in ("low", "high"))
    bold = cells(page, "Bold")
    assert bold.pop("Chance to beat").endswith("%")
    assert bold == {
        "Visitors": "100", "Converters": "60", "Rate": "60.00 %", "Lift": "+500.0 %",
        "Difference": f"+50.00 pp ({low} … {high})", "p": "0.002", "Verdict": "better",
    }  # fmt: skip
    assert "Lift" not in cells(page, "Control")
    revenue, orders = cells(page, "Bold", 1), cells(page, "Bold", 2)
    assert (revenue["Sum"], revenue["Mean"]) == ("150.00", "1.50")
    assert (orders["Conversions"], orders["Per visitor"]) == ("60", "0.60")
    assert cells(page, "Control", 3)["Expected"] == "100.0"
    assert "Visitors arrive in the proportions" in said
    assert "1 not_exposed The event names no experiment and the visitor was never shown this one." in said
    assert f"Digest {found['digest']}" in said
    assert f"Position {found['asOf']['position']}" in said


async def test_a_number_that_does_not_exist_is_a_dash_with_its_reason(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Nobody was exposed: no rate, no mean, no lift, no interval, no chance, and never a 0 in their place."""
    experiment = await project.running(goals=GOALS)
    page = await visitor.get(address(experiment))
    assert "Nobody has been shown this experiment yet." in words(page)
    row = cells(page, "Bold", 1)
    for missing in ("Rate", "Mean", "Lift", "Difference", "p", "Chance to beat"):
        assert re.fullmatch(r"– \(\w.*\.\)", row[missing]), missing
    assert row["Rate"] == "– (Nobody was exposed to this variant.)"
    assert (row["Visitors"], row["Verdict"]) == ("0", "not enough data")
    assert "cannot be said: Nobody was exposed yet." in words(page)


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
    row = cells(await visitor.get(address(experiment)), "Bold")
    assert row["Converters"] == "3 2 more than visitors"
    assert row["Rate"].startswith("– (More ids converted")


async def test_a_past_moment_shows_what_was_known_then(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """By position and by time, with a way back to now; the fixed method gives limits of the lift too."""
    experiment = await sold(project)
    before = (await project.results(experiment))["asOf"]
    await project.accepted(*(impression(experiment, 1, f"late-{number}") for number in range(5)))
    await project.results(experiment)
    assert cells(await visitor.get(address(experiment)), "Bold")["Visitors"] == "105"
    for as_of in (str(before["position"]), before["time"]):
        page = await visitor.get(address(experiment), params={"asOf": as_of, "method": "fixed"})
        assert cells(page, "Bold")["Visitors"] == "100"
        assert re.fullmatch(r"\+500.0 % \+\d+.\d % … \+[\d,]+.\d %", cells(page, "Bold")["Lift"])
        assert "See what is known now" in words(page)
    blank = await visitor.get(address(experiment), params={"asOf": " ", "method": ""})
    assert "See what is known now" not in words(blank)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/experiments/{id}?asOf=yesterday", 400, "asOf is neither an ISO 8601 time nor a position"),
        ("/experiments/{id}?asOf=999999", 400, "asOf is beyond the end of the log"),
        ("/experiments/{id}?method=%3Cb%3E", 400, "method is none of"),
        ("/experiments/00000000-0000-4000-8000-000000000000", 404, "no experiment with that id"),
        ("/experiments/%3Cscript%3E", 404, "no experiment with that id"),
        ("/nowhere/%3Cscript%3E", 404, "the dashboard has no page /nowhere/<script>"),
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


@pytest.mark.parametrize(("error", "status"), [(Unavailable(), 503), (ZeroDivisionError("secret"), 500)])
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
    assert ("retry-after" in answer.headers) == (status == 503)


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
    for path, times in (("/dashboard", 4), (address(experiment), 11), (quoted, 0)):
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


def results_with(*goals: tuple[str, list[str]], status: str = "running", healthy: bool | None = True) -> Results:
    """Results whose goals, by role, have these verdicts for the variants A, B and so on."""
    count = len(goals[0][1]) + 1
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(count)]
    nothing = {"estimate": None, "low": None, "high": None, "reason": "unknown"}
    lift = {"estimate": 0.5, "low": None, "high": None}

    def comparison(number: int, verdict: str) -> Json:
        return {
            "variantId": ids[number], "controlId": ids[0], "verdict": verdict, "reason": f"Why {verdict}.",
            "absolute": nothing, "relative": lift, "pValue": None, "alpha": 0.05, "regime": "fixed",
            "method": None, "alwaysValid": {"pValue": None, "relative": nothing, **nothing},
            "bayes": {"chanceToBeat": None, "expectedLoss": None, "reason": "unknown"},
        }  # fmt: skip

    return msgspec.convert(
        {
            "experimentId": ids[0], "name": "Test", "status": status, "digest": "", "unattributed": [],
            "asOf": {"position": 1, "time": None}, "lag": {"events": 0, "seconds": 0},
            "epochs": 1,
            "variants": [
                {"variantId": id_, "name": "0ABCDEF"[number], "isControl": number == 0, "weight": 1,
                 "visitors": 9, "impressions": 9, "multipleExposures": 0}
                for number, id_ in enumerate(ids)
            ],
            "sampleRatio": {"healthy": healthy, "pValue": 0, "eValue": 0, "expected": [], "observed": []},
            "goals": [
                {"name": f"g{place}", "role": role, "kind": "conversion", "variants": [],
                 "comparisons": [comparison(number, verdict) for number, verdict in enumerate(verdicts, 1)]}
                for place, (role, verdicts) in enumerate(goals)
            ],
        },
        Results,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("goals", "tone", "sentence"),
    [
        ([("primary", ["better"])], "better", "“A” beats “0” on “g0”: +50.0 %."),
        ([("primary", ["worse"])], "worse", "“A” does worse than “0” on “g0”: +50.0 %."),
        ([("primary", ["inconclusive"])], "open", "No winner yet: “A” and “0” cannot be told apart on “g0”."),
        ([("primary", ["not_enough_data"])], "open", "Not enough data yet to compare “A” with “0” on “g0”."),
        ([("secondary", ["better"])], "open", "No goal is primary, so no goal decides."),
        (
            [("primary", ["better", "worse", "inconclusive", "better"])],
            "better",
            "“A” and “D” beat “0” on “g0”; “B” does worse; “C” is undecided.",
        ),
        ([("primary", ["worse", "worse"])], "worse", "“A” and “B” do worse than “0” on “g0”."),
        (
            [("primary", ["inconclusive", "not_enough_data"])],
            "open",
            "No winner yet: none of “A” and “B” can be told apart from “0” on “g0”.",
        ),
        (
            [("primary", ["better"]), ("primary", ["worse"])],
            "open",
            "“A” beats “0” on “g0”: +50.0 %; “A” does worse than “0” on “g1”: +50.0 %.",
        ),
        ([("primary", ["better"]), ("guardrail", ["worse"])], "warning", "“A” beats “0” on “g0”: +50.0 %."),
    ],
)
def test_the_verdict_is_one_sentence(goals: list[tuple[str, list[str]]], tone: str, sentence: str) -> None:
    """From the primary goals' verdicts; a harmed guardrail warns, contradicting goals decide nothing."""
    verdict = verdict_of(results_with(*goals))
    assert (verdict.tone, verdict.sentence.replace(numbers.SPACE, " ")) == (tone, sentence)
    harmed = "Guardrail “g1”: “A” does worse."
    assert (harmed in verdict.because) == (goals[-1][0] == "guardrail")


def test_a_wrong_sample_ratio_comes_before_any_verdict() -> None:
    """A winner in a broken experiment is no winner."""
    verdict = verdict_of(results_with(("primary", ["better"]), healthy=False))
    assert verdict.tone == "warning"
    assert verdict.sentence.startswith("Do not decide on these numbers")
    assert "“A” beats “0”" in verdict.because[0]


def test_a_stopped_experiment_has_no_yet() -> None:
    """What will not change any more is not spoken of as if it would."""
    verdict = verdict_of(results_with(("primary", ["inconclusive"]), status="stopped"))
    assert verdict.sentence.startswith("No winner: ")


def test_all_bars_of_a_goal_stand_on_one_scale_with_zero() -> None:
    """Places keep the order of the numbers, within the picture; an unbounded limit has no place."""
    [goal] = results_with(("primary", ["better", "worse", "inconclusive"])).goals
    absolutes = [
        {"estimate": 0.2, "low": 0.1, "high": 0.4},
        {"estimate": -0.1, "low": None, "high": 0.0},
        {"estimate": 1.0, "low": None, "high": None, "reason": "Too early."},
    ]
    told = msgspec.to_builtins(goal)
    for comparison, absolute in zip(told["comparisons"], absolutes, strict=True):
        comparison["absolute"] = absolute
    bars = interval_bars(msgspec.convert(told, type(goal)))
    up, down = bars.by_variant.values()
    assert 0 < down.estimate_x < bars.zero_x < up.low_x < up.estimate_x < up.high_x < WIDTH
    assert (down.low_x, down.high_x) == (None, bars.zero_x)
    assert (bars.low_label, bars.high_label) == (None, 0.4)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (numbers.count(1234567), "1,234,567"), (numbers.count(0), "0"), (numbers.percent(0.12345), "12.35 %"),
        (numbers.percent(None), None), (numbers.percent(0.0), "0.00 %"), (numbers.percent(0.00001), "0.001 %"),
        (numbers.lift(-0.5), "~50.0 %"), (numbers.amount(-1234.5), "~1,234.50"),
        (numbers.amount(2.5e15), "2.500e+15"), (numbers.difference(0.0123, "conversion"), "+1.23 pp"),
        (numbers.difference(0.0123, "value"), "+0.01"), (numbers.limit(None, "value"), None),
        (numbers.p_value(0.0004), "< 0.001"), (numbers.p_value(1.0), "1.000"), (numbers.chance(0.5), "50.0 %"),
        (numbers.chance(1.0), "> 99.9 %"), (numbers.chance(0.0), "< 0.1 %"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(written: str | None, text: str | None) -> None:
    """Thousands apart, signs true, no certainty that is not there, and nothing for nothing."""
    plain = written and written.replace(numbers.SPACE, " ").replace("\N{MINUS SIGN}", "~")
    assert plain == text
