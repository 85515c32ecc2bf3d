"""The settings of a project: what an owner changes, what is shown only once, and what the log says of it."""

import asyncio
import html
import re
import uuid
from typing import Any

import httpx
import msgspec
import pytest

from app import result_part
from app.http.dashboard import pages
from app.http.dashboard import settings as settings_pages
from tests.app.http_project import HttpProject, another_browser, csrf, event, impression, log_in, open_project
from tests.app.people_of import PASSWORD, add_user, send, settings_of, user_id

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
async def admin(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The browser of who has the admin token."""
    return await log_in(client)


async def facts(connection: Any, project: HttpProject) -> list[dict[str, Any]]:
    """What the log says was managed, less time."""
    rows = await connection.execute(
        "select event_data::text from event_log where project_id = %s and source = 'management' order by position",
        (project.project_id,),
    )
    decoded = [msgspec.json.decode(stored) for (stored,) in await rows.fetchall()]
    return [{key: value for key, value in fact.items() if key != "at"} for fact in decoded]


async def test_a_project_is_made_once_with_a_key_that_is_shown_once(admin: httpx.AsyncClient) -> None:
    """The key works; the same form again makes nothing; its page has a snippet and waits for the first event."""
    form = {"project_id": str(uuid.uuid4()), "name": HOSTILE}
    made = await send(admin, "/dashboard/projects", **form)
    [key] = re.findall(r'id="secret-key">(prooflog_sk_\w[\w-]+)<', made.text)
    project = HttpProject(another_browser(admin), form["project_id"], key)
    assert "Waiting for your first event" in made.text
    assert "<script>" not in made.text
    again = await send(admin, "/dashboard/projects", **form)
    assert (again.status_code, "sent twice" in again.text, key in again.text) == (409, True, False)
    blank = await send(admin, "/dashboard/projects", project_id=str(uuid.uuid4()), name=" ")
    assert (blank.status_code, "must hold 1 to 200 characters" in blank.text) == (400, True)
    turned = await send(admin, "/dashboard/projects", project_id=str(uuid.uuid4()), name="a\u202eb")
    assert (turned.status_code, "turn the direction of text" in turned.text) == (400, True)
    settings = await admin.get(f"{settings_of(project)}/settings")
    assert key not in settings.text
    assert f"prooflog_sk_…{key[-4:]}" in settings.text

    assert (await admin.get(f"{settings_of(project)}/arrival", headers={"HX-Request": "true"})).status_code == 204
    await project.accepted(event())
    part = await admin.get(f"{settings_of(project)}/arrival", headers={"HX-Request": "true"})
    assert (part.status_code, "Events arrive" in part.text, "<html" in part.text) == (200, True, False)
    assert "hx-get" not in (await admin.get(f"{settings_of(project)}/settings")).text


async def test_a_key_is_replaced_once_however_often_the_form_is_sent(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """The new one is shown once, the old one works for a day; the same form again makes no third one."""
    page = (await admin.get(f"{settings_of(project)}/settings")).text
    [newest] = re.findall(r'name="newest" value="([^"]+)"', page)
    made = await send(admin, f"{settings_of(project)}/secret-keys", newest=newest)
    [key] = re.findall(r'id="secret-key">(prooflog_sk_[\w-]+)<', made.text)
    assert key != project.secret_key
    again = await send(admin, f"{settings_of(project)}/secret-keys", newest=newest)
    assert (again.status_code, "sent twice" in again.text) == (409, True)
    for works in (key, project.secret_key):
        assert (await HttpProject(project.client, project.project_id, works).server_event()).status_code == 201
    assert (await send(admin, f"{settings_of(project)}/secret-keys", newest="x")).status_code == 400


async def test_origins_are_changed_together_or_not_at_all(
    admin: httpx.AsyncClient, project: HttpProject, connection
) -> None:
    """Each line that is none is named with the reason; what was typed stays; good ones hold at once."""
    typed = "https://shop.example\nshop.example\nhttps://shop.example/path\nhttps://a b"
    refused = await send(admin, f"{settings_of(project)}/origins", origins=typed)
    assert refused.status_code == 400
    for part in (
        "<code>shop.example</code>",
        "must begin with https://",
        "leave out what follows",
        "holds a space",
    ):
        assert part in refused.text
    assert "https://shop.example/path</code>" in refused.text
    assert "https://shop.example\nshop.example\n" in refused.text
    origins = " HTTPS://Shop.example \n\nhttps://shop.example\nhttp://localhost:3000"
    for _ in range(2):
        assert (await send(admin, f"{settings_of(project)}/origins", origins=origins)).status_code == 303
    headers = {"Origin": "https://evil.example"}
    assert (await project.track(event(), headers=headers)).status_code == 403
    assert (await project.track(event(), headers={"Origin": "https://shop.example"})).status_code == 202
    [changed] = [fact for fact in await facts(connection, project) if fact["type"] == "allowed_origins_changed"]
    assert changed["allowedOrigins"] == ["https://shop.example", "http://localhost:3000"]


async def test_what_is_done_to_users_is_a_fact_without_a_secret(
    admin: httpx.AsyncClient, project: HttpProject, connection
) -> None:
    """Added, role changed, password changed, removed, by whom; passwords and hashes stand nowhere in the log."""
    await add_user(admin, project, "Ann", "owner")
    ann = await log_in(admin, name="Ann", password=PASSWORD)
    made = await send(ann, f"{settings_of(project)}/users", name=HOSTILE, role="viewer")
    [password] = re.findall(r'id="one-time-password">([a-z0-9-]{23})<', made.text)
    assert "<script>" not in made.text
    again = await send(ann, f"{settings_of(project)}/users", name=HOSTILE, role="viewer")
    assert (again.status_code, "has a role here already" in again.text) == (409, True)
    bob = await user_id(ann, project, HOSTILE)
    path = f"{settings_of(project)}/users/{bob}"
    assert (await send(ann, f"{path}/role", role="king")).status_code == 400
    await send(ann, f"{path}/role", role="editor")
    await send(ann, f"{path}/role", role="editor")
    await send(ann, f"{path}/password")
    await send(ann, f"{path}/remove")
    assert (await send(ann, f"{path}/remove")).status_code == 404
    about = {"actor": "user Ann", "userId": bob, "name": HOSTILE}
    assert [fact for fact in await facts(connection, project) if fact.get("userId") == bob] == [
        {"type": "user_added", **about, "role": "viewer"},
        {"type": "user_role_changed", **about, "role": "editor"},
        {"type": "user_password_changed", **about},
        {"type": "user_removed", **about},
    ]
    stored = msgspec.json.encode(await facts(connection, project)).decode()
    assert not any(secret in stored for secret in (password, PASSWORD, "argon2"))
    [count] = await (await connection.execute("select count(*) from dashboard_user")).fetchone()
    assert count == 1  # who has no role left is gone


async def test_nobody_takes_over_a_user_or_leaves_a_project_without_an_owner(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """A password is set only by who owns all that it opens; the last owner stays, unless the admin says so."""
    other = await open_project(admin, "Elsewhere")
    ann = await add_user(admin, project, "Ann", "owner")
    await add_user(admin, other, "Bob", "viewer")
    taken = {"name": "Bob", "role": "viewer", "password": PASSWORD}
    refused = await send(ann, f"{settings_of(project)}/users", **taken)
    assert (refused.status_code, "has one already" in refused.text) == (409, True)
    await send(ann, f"{settings_of(project)}/users", name="Bob", role="viewer")
    bob, own = await user_id(ann, project, "Bob"), await user_id(ann, project, "Ann")
    users = f"{settings_of(project)}/users"
    refused = await send(ann, f"{users}/{bob}/password")
    assert (refused.status_code, "only the admin can set" in refused.text) == (403, True)
    await log_in(admin, name="Bob", password=PASSWORD)
    for path, form in ((f"{users}/{own}/remove", {}), (f"{users}/{own}/role", {"role": "viewer"})):
        refused = await send(ann, path, **form)
        assert (refused.status_code, "is the last owner" in refused.text) == (409, True)
    stranger = await user_id(admin, project, "Ann")
    assert (await send(admin, f"{settings_of(other)}/users/{stranger}/password")).status_code == 404
    assert (await send(admin, f"{users}/{own}/remove")).status_code == 303
    assert (await ann.get("/dashboard")).status_code == 303


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "a\u0000b", "a\u202eb", "\u200b"])
async def test_a_name_that_cannot_be_read_is_refused(
    admin: httpx.AsyncClient, project: HttpProject, name: str
) -> None:
    """In words beside the form, and nobody is added."""
    answer = await send(admin, f"{settings_of(project)}/users", name=name, role="viewer")
    assert answer.status_code == 400
    assert re.search("must hold 1 to 100 characters|holds characters that nobody can see", answer.text)


async def test_a_share_link_shows_one_experiment_and_nothing_else_until_it_is_revoked(
    admin: httpx.AsyncClient, project: HttpProject, connection
) -> None:
    """Read only, without a way elsewhere, at any moment; kept from search engines and from other sites."""
    experiment = await project.running(name="Shared one")
    await project.accepted(*(impression(experiment, number % 2, f"visitor-{number}") for number in range(9)))
    before = (await project.results(experiment))["asOf"]["position"]
    form = {"experiment": experiment["id"], "link_id": str(uuid.uuid4())}
    made = await send(admin, f"{settings_of(project)}/share-links", **form)
    [address] = re.findall(r'id="share-link">http://prooflog\.test(/dashboard/shared/[\w-]{64})<', made.text)
    again = await send(admin, f"{settings_of(project)}/share-links", **form)
    assert (again.status_code, "sent twice" in again.text) == (409, True)
    unknown = await send(admin, f"{settings_of(project)}/share-links", **{**form, "experiment": str(uuid.uuid4())})
    assert unknown.status_code == 404

    for browser in (another_browser(admin), admin):
        page = await browser.get(address)
        assert (page.status_code, "Shared one" in page.text) == (200, True)
        ways = set(re.findall(r'(?:href|action)="(/[^"?#]*)', page.text)) - {
            address,
            f"{address}/export",
            "/dashboard/style.css",
        }
        assert ways == set()
        assert 'method="post"' not in page.text
        if browser is not admin:
            assert "by secret key" not in page.text  # who changed what is nobody's business outside
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-robots-tag"] == "noindex, nofollow"
        assert page.headers["cache-control"] == "no-store"
    assert (await another_browser(admin).get(f"{address}?asOf={before}")).status_code == 200

    token = address.rpartition("/")[2]
    for wrong in (token[:-1] + ("A" if token[-1] != "A" else "B"), token[:-1], "x", token[:20] + token[21:] + "é"):
        missing = await another_browser(admin).get(f"/dashboard/shared/{wrong}")
        assert (missing.status_code, 'href="/dashboard"' in missing.text) == (404, False)
        assert missing.headers["referrer-policy"] == "no-referrer"

    revoke = f"{settings_of(project)}/share-links/{form['link_id']}/revoke"
    for _ in range(2):
        assert (await send(admin, revoke)).status_code == 303
    assert (await another_browser(admin).get(address)).status_code == 404
    about = {"actor": "admin", "linkId": form["link_id"], "experimentId": experiment["id"]}
    told = await facts(connection, project)
    assert told[-2:] == [{"type": "share_link_made", **about}, {"type": "share_link_revoked", **about}]
    assert token not in msgspec.json.encode(told).decode()
    assert (await send(admin, f"{settings_of(project)}/share-links/{uuid.uuid4()}/revoke")).status_code == 404
    # Facts of people are no reason to count anything anew.
    assert (await project.results(experiment))["asOf"]["position"] > before


async def test_who_manages_nothing_is_shown_nothing_to_manage(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """A viewer reads the snippet and the origins; people, keys and links are not on their page."""
    viewer = await add_user(admin, project, "Ann", "viewer")
    page = (await viewer.get(f"{settings_of(project)}/settings")).text
    assert "script.js?projectId=" in page
    assert "Any page may send events" in page
    assert not any(
        part in page for part in ("Secret keys", "Users", "Share links", f"{settings_of(project)}/origins")
    )
    assert 'action="/dashboard/projects"' not in (await viewer.get("/dashboard")).text
    token = await csrf(admin)
    stolen = await viewer.post(f"{settings_of(project)}/origins", data={"origins": "", "csrf": token})
    assert stolen.status_code == 403


async def test_what_comes_twice_at_the_same_moment_happens_once(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """Two owners who demote each other leave one; a name, a key and a link are made once."""
    ann = await add_user(admin, project, "Ann", "owner")
    bob = await add_user(admin, project, "Bob", "owner")
    users = f"{settings_of(project)}/users"
    ids = {name: await user_id(admin, project, name) for name in ("Ann", "Bob")}
    answers = await asyncio.gather(
        send(ann, f"{users}/{ids['Bob']}/role", role="viewer"),
        send(bob, f"{users}/{ids['Ann']}/role", role="viewer"),
    )
    page = (await admin.get(f"{settings_of(project)}/settings")).text
    assert page.count("<option selected>owner") == 1, [answer.status_code for answer in answers]

    [newest] = re.findall(r'name="newest" value="([^"]+)"', page)
    experiment = await project.create()
    link = {"experiment": experiment["id"], "link_id": str(uuid.uuid4())}
    for path, form in (
        ("users", {"name": "Zoë", "role": "viewer"}), ("secret-keys", {"newest": newest}), ("share-links", link),
    ):  # fmt: skip
        twice = [send(admin, f"{settings_of(project)}/{path}", **form) for _ in range(2)]
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*twice))
        assert statuses == [200, 409], path


async def test_lists_without_an_end_have_pages(
    admin: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Projects, users, keys, links and the history of an experiment: the newest first, and ways on and back."""
    monkeypatch.setattr(pages, "ROWS_MAX", 1)
    monkeypatch.setattr(result_part, "CHANGES_MAX", 1)
    experiment, settings = await project.create(), f"{settings_of(project)}/settings"
    for number in range(3):
        await open_project(project.client, f"Project {number}")
        await add_user(admin, project, f"Person {number}", "viewer")
        await project.call("POST", "/secret-keys/rotate")
        link = {"link_id": str(uuid.uuid4()), "experiment": experiment["id"]}
        await send(admin, f"{settings_of(project)}/share-links", **link)
        await project.call("PATCH", f"/experiments/{experiment['id']}", json={"name": f"Name {number}"})
    await project.results(experiment)
    results = f"/dashboard/experiments/{experiment['id']}"
    for path, name, row, most in (
        ("/dashboard", "projects", r'data-label="Settings"', 4),
        (settings, "users", r"Role of Person \d", 3),
        (settings, "keys", r"<code>prooflog_sk_…", 4),
        (settings, "links", r"Revoke<span", 3),
        (results, "changes", r'<li value="\d"', 4),
    ):
        address, seen = path, []
        for number in range(1, most + 1):
            shown = (await admin.get(html.unescape(address))).text
            seen += re.findall(row, shown)
            assert len(seen) == number, name
            assert f"Page {number} of {most}" in shown, name
            on = re.findall(rf'<a rel="next" href="([^"]*[?;]{name}=\d+#\w+)">Older', shown)
            assert len(on) == (number < most), name
            address = on[0] if on else ""
        [back] = re.findall(r'<a rel="prev" href="([^"]*)">Newer', shown)
        assert f"Page {most - 1} of {most}" in (await admin.get(html.unescape(back))).text
        assert f"Page {most} of {most}" in (await admin.get(path, params={name: "99"})).text
        for nonsense in ("²", "0", "-1", "1" * 40):
            assert f"Page 1 of {most}" in (await admin.get(path, params={name: nonsense})).text
    assert "Person 2" in (await admin.get(settings)).text
    assert f"changes={most}" in re.search('data-view="([^"]+)"', shown)[1]


async def test_who_turns_one_list_keeps_the_pages_of_the_others(
    admin: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way on leads to the next page of its list and to the same of the others; first pages need no word."""
    monkeypatch.setattr(pages, "ROWS_MAX", 1)
    experiment, settings = await project.create(), f"{settings_of(project)}/settings"
    for number in range(3):
        await add_user(admin, project, f"Person {number}", "viewer")
        await project.call("POST", "/secret-keys/rotate")
        link = {"link_id": str(uuid.uuid4()), "experiment": experiment["id"]}
        await send(admin, f"{settings_of(project)}/share-links", **link)

    async def ways_on(query: str) -> set[str]:
        shown = (await admin.get(f"{settings}{query}")).text
        return {
            html.unescape(way).partition("?")[2] for way in re.findall(r'<a rel="next" href="([^"]*)">', shown)
        }

    assert await ways_on("") == {"keys=2#keys", "users=2#users", "links=2#links"}
    both = {"keys=2&users=3#users", "users=2&keys=3#keys", "keys=2&users=2&links=2#links"}
    assert await ways_on("?keys=2&users=2&links=no") == both
    assert await ways_on("?links=99") == {"links=3&keys=2#keys", "links=3&users=2#users"}


async def test_after_a_leak_older_keys_stop_at_once(project: HttpProject) -> None:
    """Where the form says so: whoever has one is refused, and a login by it is over."""
    admin = await log_in(project.client)
    by_key = await log_in(project.client, token=project.secret_key)
    page = (await admin.get(f"{settings_of(project)}/settings")).text
    [newest] = re.findall(r'name="newest" value="([^"]+)"', page)

    made = await send(admin, f"{settings_of(project)}/secret-keys", newest=newest, at_once="on")

    assert "Older keys work until" not in made.text
    assert (await project.server_event()).json()["type"] == "urn:prooflog:problem:key_expired"
    assert (await by_key.get(settings_of(project))).headers["location"].startswith("/dashboard/login")
    [secret_key] = re.findall(r"prooflog_sk_[0-9a-f]{32}_[\w-]{43}", made.text)[:1]
    renewed = HttpProject(project.client, project.project_id, secret_key)
    assert (await renewed.server_event()).status_code == 201


async def test_a_new_key_replaces_the_newest_whatever_page_of_them_is_shown(
    admin: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form names the newest key, so that two who make one at once make one; old ones do not count for it."""
    monkeypatch.setattr(pages, "ROWS_MAX", 1)
    await project.call("POST", "/secret-keys/rotate")
    settings = f"{settings_of(project)}/settings"
    named = [
        re.search('name="newest" value="([^"]*)"', (await admin.get(f"{settings}?keys={number}")).text)[1]
        for number in (1, 2)
    ]
    assert named[0] == named[1]
    answer = await send(admin, f"{settings_of(project)}/secret-keys", newest=named[1])
    assert answer.status_code == 200


async def test_any_of_many_experiments_can_be_shared(
    admin: httpx.AsyncClient, project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form offers those changed last, and that from whose page one comes; the rest makes no page longer."""
    monkeypatch.setattr(settings_pages, "SHAREABLE_MAX", 1)
    older, newer = await project.create(name="Older"), await project.create(name="Newer")
    settings = f"{settings_of(project)}/settings"
    offered = r'<option value="([^"]+)"( selected)?>(?:Older|Newer)<'
    page = (await admin.get(settings)).text
    assert re.findall(offered, page) == [(newer["id"], "")]
    assert "These were changed last" in page
    page = (await admin.get(f"{settings}?share={older['id']}")).text
    assert re.findall(offered, page) == [(newer["id"], ""), (older["id"], " selected")]
    assert "These were changed last" not in page
