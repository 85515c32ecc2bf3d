"""Every address of the dashboard against everybody who may come: one table."""

import html
import re
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.http.dashboard import dashboard_router
from tests.app.http_project import ADMIN_TOKEN, HttpProject, another_browser, csrf, log_in, open_project
from tests.app.people_of import add_user, user_id

WHO = ("nobody", "stranger", "viewer", "editor", "key", "owner", "admin")
# What each answers to each of WHO. 303 for nobody: to the login. Changes answer 303 or 200 when they were made.
SEES = (303, 404, 200, 200, 200, 200, 200)
EDITS = (303, 404, 403, 200, 200, 200, 200)
MANAGES = (303, 404, 403, 403, 403, 200, 200)
ADMIN = (303, 403, 403, 403, 403, 403, 200)
ANYBODY = (303, 200, 200, 200, 200, 200, 200)
PUBLIC = (200, 200, 200, 200, 200, 200, 200)

# Address, what it is sent (None: GET), and who may. A redirect, and a form refused for what it holds, count
# as 200: whoever sent it was let in.
ADDRESSES: list[tuple[str, dict[str, str] | None, tuple[int, ...]]] = [
    ("/", None, ANYBODY),
    ("/account", None, ANYBODY),
    ("/session", None, ANYBODY),
    # Addresses of forms, which lead to the page that asks by itself who may see it.
    ("/projects", None, ANYBODY),
    ("/experiments", None, ANYBODY),
    ("/projects/{project}/experiments", None, ANYBODY),
    ("/projects/{project}/users/{user}/role", None, ANYBODY),
    ("/projects/{project}/users/{user}/password", None, ANYBODY),
    ("/experiments/{experiment}/start", None, ANYBODY),
    ("/experiments/{experiment}/pause", None, ANYBODY),
    ("/experiments/{experiment}/resume", None, ANYBODY),
    ("/experiments/{experiment}", None, SEES),
    ("/experiments/{experiment}/why", None, SEES),
    ("/experiments/{experiment}/export", None, SEES),
    ("/projects/{project}/events", None, EDITS),
    ("/experiments/{experiment}/edit", None, EDITS),
    ("/experiments/{experiment}/edit", {}, EDITS),
    ("/experiments/{experiment}/stop", None, EDITS),
    ("/experiments/{experiment}/start", {}, EDITS),
    ("/experiments/{experiment}/pause", {}, EDITS),
    ("/experiments/{experiment}/resume", {}, EDITS),
    ("/experiments/{discarded}/stop", {}, EDITS),
    ("/projects/{project}", None, SEES),
    ("/projects/{project}/power", None, SEES),
    ("/projects/{project}/experiments/new", None, EDITS),
    ("/projects/{project}/experiments/new", {}, EDITS),
    ("/projects/{project}/experiments/preview", {}, EDITS),
    ("/projects", {"project_id": "{new_id}", "name": "Another"}, ADMIN),
    ("/projects/{project}/settings", None, SEES),
    ("/projects/{project}/arrival", None, SEES),
    ("/projects/{project}/secret-keys", {"newest": "2100-01-01T00:00:00Z"}, MANAGES),
    ("/projects/{project}/origins", {"origins": "https://shop.example"}, MANAGES),
    ("/projects/{project}/users", {"name": "Eve {new_id}", "role": "viewer"}, MANAGES),
    ("/projects/{project}/users/{user}/role", {"role": "viewer"}, MANAGES),
    ("/projects/{project}/users/{user}/password", {}, MANAGES),
    ("/projects/{project}/share-links", {"experiment": "{experiment}", "link_id": "{new_id}"}, MANAGES),
    ("/shared/{token}", None, PUBLIC),
    ("/shared/{token}/export", None, PUBLIC),
]
# Their own tests hold these: they need nobody, end a session, never end, or need what the ones above have made.
ELSEWHERE = {
    "/experiments/{experiment}/live", "/shared/{token}/live",
    "/login", "/logout", "/style.css", "/dashboard.js", "/account POST",
    "/projects/{project}/users/{user}/remove", "/projects/{project}/share-links/{link}/revoke",
    "/projects/{project}/secret-keys GET", "/projects/{project}/origins GET",
    "/projects/{project}/users GET", "/projects/{project}/share-links GET",
}  # fmt: skip


@pytest.fixture
async def people(client: httpx.AsyncClient, project: HttpProject) -> dict[str, httpx.AsyncClient]:
    """A browser of each of WHO."""
    other = await open_project(client, "Elsewhere")
    admin = await log_in(client)
    browsers = {"nobody": another_browser(client), "admin": admin}
    for role in ("viewer", "editor", "owner"):
        browsers[role] = await add_user(admin, project, f"The {role}", role)
    browsers["stranger"] = await add_user(admin, other, "Stranger", "owner")
    browsers["key"] = await log_in(client, token=project.secret_key)
    return browsers


async def test_each_address_opens_for_those_whose_role_it_takes(
    people: dict[str, httpx.AsyncClient], project: HttpProject
) -> None:
    """Nobody is sent to log in, a stranger finds nothing, too low a role is told so; the others pass."""
    experiment = await project.running()
    await project.results(experiment)
    names = {"project": project.project_id, "experiment": experiment["id"]}
    names["discarded"] = (await project.create(name="Discarded"))["id"]
    admin = people["admin"]
    await add_user(admin, project, "Changed", "editor")
    names["user"] = await user_id(admin, project, "Changed")
    form = {"csrf": await csrf(admin), "experiment": experiment["id"], "link_id": str(uuid.uuid4())}
    made = await admin.post(f"/dashboard/projects/{project.project_id}/share-links", data=form)
    [names["token"]] = re.findall(r"/dashboard/shared/([\w-]{64})<", made.text)

    wrong = []
    for path, body, expected in ADDRESSES:
        for who, status in zip(WHO, expected, strict=True):
            found = await _ask(people[who], path, body, names, who)
            if found != status:
                wrong.append(f"{who} {path}: {found} and not {status}")
    assert wrong == []


async def _ask(
    browser: httpx.AsyncClient, path: str, body: dict[str, str] | None, names: dict[str, str], who: str
) -> int:
    names = {**names, "new_id": str(uuid.uuid4())}
    address = "/dashboard" + path.format(**names)
    if body is None:
        answer = await browser.get(address)
    else:
        token = "" if who == "nobody" else await csrf(browser)
        data = {key: value.format(**names) for key, value in body.items()}
        answer = await browser.post(address, data={**data, "csrf": token})
    to_login = answer.headers.get("location", "").startswith("/dashboard/login")
    return 200 if answer.status_code in {303, 400, 409, 422} and not to_login else answer.status_code


def test_no_address_is_forgotten_in_the_table() -> None:
    """A page that is added says in the table who may see it."""
    known = {
        re.sub(r"\{.*?\}", "{}", f"{path} {'GET' if body is None else 'POST'}") for path, body, _ in ADDRESSES
    }
    known |= {re.sub(r"\{.*?\}", "{}", name) for name in ELSEWHERE}
    for path, method in _addresses(dashboard_router.routes):
        shape = re.sub(r"\{.*?\}", "{}", path.removeprefix("/dashboard")) or "/"
        assert {shape, f"{shape} {method}"} & known, f"{method} {path} is in no table"


def _addresses(routes: Any) -> list[tuple[str, str]]:
    return [
        (route.path, method)
        for route in routes
        for method in route.methods - {"OPTIONS"}
        if "rest" not in route.path
    ]


async def test_what_a_script_asks_for_is_refused_in_words(client: httpx.AsyncClient, project: HttpProject) -> None:
    """A page that is open stays as it is, so it gets no page: who is not logged in, and whatever else is wrong."""
    script = {"HX-Request": "true"}
    refused = await client.get("/dashboard/projects/x/arrival", headers=script)
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json()["type"], refused.json()["detail"]) == (
        "urn:prooflog:problem:logged_out",
        "you were logged out",
    )
    assert refused.headers["cache-control"] == "no-store"
    experiment, admin = await project.create(), await log_in(client)
    answer = await admin.get(f"/dashboard/experiments/{experiment['id']}?asOf=yesterday", headers=script)
    assert (answer.status_code, [error["path"] for error in answer.json()["errors"]]) == (400, ["asOf"])
    await add_user(admin, project, "Ann", "viewer")
    ann = await user_id(admin, project, "Ann")
    form = {"csrf": await csrf(admin)}
    made = await admin.post(f"/dashboard/projects/{project.project_id}/users/{ann}/password", data=form)
    [password] = re.findall(r'id="one-time-password">([^<]+)<', made.text)
    person = await log_in(client, name="Ann", password=html.unescape(password))
    first = await person.get("/dashboard/session", headers=script)
    assert (first.status_code, first.json()["type"]) == (403, "urn:prooflog:problem:password_to_choose")


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://prooflog.test/dashboard/experiments/abc?goal=a%20b", "/dashboard/experiments/abc?goal=a%20b"),
        ("https://prooflog.test/dashboard", None),
        ("http://prooflog.test/dashboard/../api", None),
        ("http://prooflog.test//evil.example", None),
        ("http://evil.example/dashboard/experiments/abc", "/dashboard/experiments/x"),
        ("http://prooflog.test@evil.example/dashboard", "/dashboard/experiments/x"),
        ("http://[", "/dashboard/experiments/x"),
        ("", "/dashboard/experiments/x"),
    ],
)
async def test_a_form_of_nobody_leads_to_a_login_and_back_to_its_page(
    client: httpx.AsyncClient, referer: str, back: str | None
) -> None:
    """The page that it stands on, as far as its browser says; nothing of another site, whatever it says."""
    refused = await client.post("/dashboard/experiments/x/pause", headers={"Referer": referer} if referer else {})
    assert refused.status_code == 303
    [asked] = parse_qs(urlsplit(refused.headers["location"]).query).get("next", [None])
    assert (urlsplit(refused.headers["location"]).path, asked) == ("/dashboard/login", back)


async def test_an_open_page_gets_the_token_of_another_session_only_by_asking_for_it(
    client: httpx.AsyncClient,
) -> None:
    """That of a session that is over is refused; the new one is told to who is logged in, and to no other site."""
    browser = await log_in(client)
    old = await csrf(browser)
    await browser.post("/dashboard/logout", data={"csrf": old})
    await browser.post("/dashboard/login", data={"token": ADMIN_TOKEN})
    form = {"project_id": str(uuid.uuid4()), "name": "Typed long ago"}
    refused = await browser.post("/dashboard/projects", data={**form, "csrf": old})
    assert (refused.status_code, "this form is not of your present login" in refused.text) == (403, True)
    assert (await browser.get("/dashboard/session")).headers["location"] == "/dashboard/account"
    told = await browser.get(
        "/dashboard/session", headers={"Origin": "https://evil.example", "HX-Request": "true"}
    )
    assert told.json()["name"] == "admin"
    assert not [name for name in told.headers if name.startswith("access-control-")]
    made = await browser.post("/dashboard/projects", data={**form, "csrf": told.json()["csrf"]})
    assert made.status_code == 200, made.text
