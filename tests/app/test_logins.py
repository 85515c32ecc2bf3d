"""Logging in with a name, and what ends a session or slows a guess down."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import argon2
import httpx
import pytest

from app import logins, passwords, users
from app.attempts import KEPT_MAX, Attempts
from app.http.auth import COOKIE
from app.log_writer import Overloaded
from app.problems import Problem
from tests.app.http_project import HttpProject, another_browser, csrf, log_in, open_project
from tests.app.people_of import PASSWORD, add_user, send, settings_of, user_id


@pytest.fixture
async def admin(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The browser of who has the admin token."""
    return await log_in(client)


async def is_in(browser: httpx.AsyncClient) -> bool:
    """Whether a browser is logged in still."""
    return (await browser.get("/dashboard")).status_code == 200


async def one_time_password(admin: httpx.AsyncClient, project: HttpProject, name: str) -> str:
    """Add somebody without a password; the one that is made and shown."""
    made = await send(admin, f"{settings_of(project)}/users", name=name, role="editor")
    [password] = re.findall(r'id="one-time-password">([a-z0-9-]{23})<', made.text)
    return password


async def test_a_user_logs_in_once_and_sees_every_project_of_theirs(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """By their name in any spelling; projects without a role of theirs are not there."""
    second, third = await open_project(admin, "Second"), await open_project(admin, "Third")
    await add_user(admin, project, "Zoë  Ann", "viewer")
    await send(admin, f"{settings_of(second)}/users", name="zoë ann", role="owner")
    browser = await log_in(admin, name=" ZOË ANN ", password=PASSWORD)
    page = (await browser.get("/dashboard")).text
    assert [f"{known.project_id}/settings" in page for known in (project, second, third)] == [True, True, False]
    assert "Zoë Ann" in page


async def test_every_end_of_a_session(admin: httpx.AsyncClient, project: HttpProject) -> None:
    """Log out (for a stolen cookie too), a removed user, another role, another password: each ends it at once."""
    first = await add_user(admin, project, "First", "viewer")
    stolen = another_browser(first)
    stolen.cookies = httpx.Cookies(first.cookies)
    assert await is_in(stolen)
    await send(first, "/dashboard/logout")
    assert not await is_in(stolen)

    for number, (form, answer) in enumerate(
        [({"path": "role", "role": "editor"}, 303), ({"path": "password"}, 200), ({"path": "remove"}, 303)]
    ):
        browser = await add_user(admin, project, f"User {number}", "viewer")
        assert await is_in(browser)
        path = f"{settings_of(project)}/users/{await user_id(admin, project, f'User {number}')}/{form.pop('path')}"
        assert (await send(admin, path, **form)).status_code == answer
        assert not await is_in(browser), path


async def test_a_session_ends_with_its_time_its_key_or_its_token(
    admin: httpx.AsyncClient, project: HttpProject, connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 12 hours, when a replaced key is over, and where the server has another admin token."""
    by_key = await log_in(admin, token=project.secret_key)
    assert await is_in(by_key)
    await project.call("POST", "/secret-keys/rotate")
    assert await is_in(by_key)
    await connection.execute("update secret_key set valid_until = now() where valid_until is not null")
    assert not await is_in(by_key)

    cookie = str(admin.cookies[COOKIE])
    assert await logins.read_session(connection, cookie, "another admin token") is None
    later = datetime.now(UTC) + timedelta(seconds=logins.SESSION_SECONDS)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:  # noqa: ARG003
            return later

    monkeypatch.setattr(logins, "datetime", Later)
    assert not await is_in(admin)
    await log_in(admin)
    [kept] = await (await connection.execute("select count(*) from dashboard_session")).fetchone()
    assert kept == 1  # those that are over were dropped


async def test_a_one_time_password_is_replaced_before_anything_else(
    admin: httpx.AsyncClient, project: HttpProject, connection
) -> None:
    """It opens the account page and nothing else; the new one must be good; after 7 days it opens nothing."""
    password = await one_time_password(admin, project, "Ann")
    ann = await log_in(admin, name="Ann", password=password)
    experiment = await project.running()
    for path in ("/dashboard", f"/dashboard/experiments/{experiment['id']}", f"{settings_of(project)}/settings"):
        assert (await ann.get(path)).headers["location"] == "/dashboard/account"
    assert (await ann.get(f"/api/analytics/experiments/{experiment['id']}/results")).status_code == 404

    form = {"current": password, "password": PASSWORD, "again": PASSWORD}
    for wrong, why in (
        ({"current": "another"}, "not your present password"),
        ({"again": "typed wrong"}, "not typed the same twice"),
        ({"password": "short", "again": "short"}, "must hold at least 12 characters"),
        ({"password": password, "again": password}, "is the present one"),
        ({"password": "ababababababab", "again": "ababababababab"}, "repeats the same few characters"),
        ({"password": "", "again": ""}, "is missing"),
    ):
        answer = await send(ann, "/dashboard/account", **{**form, **wrong})
        assert (answer.status_code, why in answer.text) == (400, True), why
    assert (await send(ann, "/dashboard/account", **form)).status_code == 303
    assert await is_in(ann)
    await log_in(admin, name="Ann", password=PASSWORD)

    late = await one_time_password(admin, project, "Late")
    await connection.execute("update dashboard_user set one_time_until = now() where name = 'Late'")
    answer = await another_browser(admin).post("/dashboard/login", data={"name": "Late", "password": late})
    assert (answer.status_code, "ask for another one" in answer.text) == (401, True)


@pytest.mark.parametrize(
    ("name", "password"),
    [("Ann", "wrong wrong wrong"), ("Nobody", PASSWORD), ("", ""), ("Ann\0", PASSWORD), ("Ann" * 99, PASSWORD),
     ("Ann", PASSWORD * 99), ("<script>", "\ud800")],
)  # fmt: skip
async def test_a_wrong_name_and_a_wrong_password_are_told_apart_by_nobody(
    admin: httpx.AsyncClient, project: HttpProject, name: str, password: str
) -> None:
    """The same words and no cookie, whatever was wrong."""
    await add_user(admin, project, "Ann", "viewer")
    form = {"name": name.encode("utf-8", "surrogatepass"), "password": password.encode("utf-8", "surrogatepass")}
    browser = another_browser(admin)
    answer = await browser.post("/dashboard/login", data=form)
    assert answer.status_code == 401
    assert "There is nobody with that name and password." in answer.text
    assert COOKIE not in answer.cookies
    assert "<script>" not in answer.text


async def test_a_name_that_does_not_exist_takes_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is hashed for it all the same, with the same parameters."""
    verified = []
    verify = passwords._verify  # noqa: SLF001
    monkeypatch.setattr(
        passwords, "_verify", lambda password, hashed: verified.append(hashed) or verify(password, hashed)
    )
    account = users.Account(uuid.uuid4(), "Ann", await passwords.hash_password(PASSWORD), None, 1)
    for known in (account, None):
        assert await users.check_password(known, "wrong wrong wrong") is None
    assert await users.check_password(account, PASSWORD) == account
    there, nowhere, _ = map(argon2.extract_parameters, verified)
    assert there == nowhere


async def test_few_passwords_are_hashed_at_once_and_few_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that it is a 503, before any memory is taken."""
    room = passwords.threading.BoundedSemaphore(1)
    monkeypatch.setattr(passwords, "_room", room)
    room.acquire()
    with pytest.raises(Overloaded):
        await passwords.is_password(PASSWORD, None)
    room.release()
    assert not await passwords.is_password(PASSWORD, None)


async def test_guesses_are_slowed_down_and_the_right_one_with_them(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """After 5 failures for a name: 429 with Retry-After, whoever asks; another name is free."""
    await add_user(admin, project, "Ann", "viewer")
    guesser = another_browser(admin)
    guesser._transport.app.state.services.attempts._clock = lambda: 0.0  # noqa: SLF001  (hashing takes a while)
    form = {"name": "ANN", "password": "wrong wrong wrong"}
    for _ in range(5):
        assert (await guesser.post("/dashboard/login", data=form)).status_code == 401
    answer = await guesser.post("/dashboard/login", data={"name": "Ann", "password": PASSWORD})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "Too many attempts failed" in answer.text
    await add_user(admin, project, "Bob", "viewer")


def test_pauses_grow_end_and_are_forgotten() -> None:
    """Twice as long each time, to a minute for a name; an hour later all is as before; a success clears a name."""
    now = [0.0]
    attempts = Attempts(lambda: now[0])

    def pause() -> int:
        with pytest.raises(Problem) as refused:
            attempts.begin([("name", "ann")])
        return int(refused.value.headers["Retry-After"])

    for _ in range(5):
        attempts.begin([("name", "ann")])
    pauses = []
    for _ in range(9):
        pauses.append(pause())
        now[0] += pauses[-1]
        attempts.begin([("name", "ann")])
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    now[0] += 3601
    for _ in range(5):
        attempts.begin([("name", "ann")])
    assert pause() == 1
    attempts.succeeded([("name", "ann")])
    attempts.begin([("name", "ann")])


def test_an_address_may_fail_more_often_and_waits_longer() -> None:
    """Many people share one; a success of one of them gives back only what it took."""
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for number in range(20):
        attempts.begin([("address", "192.0.2.1"), ("name", str(number))])
    with pytest.raises(Problem):
        attempts.begin([("address", "192.0.2.1"), ("name", "ann")])
    attempts.begin([("address", "192.0.2.2"), ("name", "ann")])
    attempts.succeeded([("address", "192.0.2.1")])
    attempts.begin([("address", "192.0.2.1")])
    with pytest.raises(Problem):
        attempts.begin([("address", "192.0.2.1")])


def test_the_memory_of_failures_is_bounded() -> None:
    """The oldest go first."""
    attempts = Attempts()
    for number in range(KEPT_MAX + 10):
        attempts.begin([("name", str(number))])
    assert len(attempts._failures) == KEPT_MAX  # noqa: SLF001
    assert ("name", "0") not in attempts._failures  # noqa: SLF001


async def test_a_secret_key_logs_in_as_editor_of_its_own_project(
    admin: httpx.AsyncClient, project: HttpProject
) -> None:
    """It sees nothing of others, and cannot make what would outlive it."""
    other = await open_project(admin, "Elsewhere")
    browser = await log_in(admin, token=f" {project.secret_key} ")
    assert (await browser.get(f"{settings_of(other)}/settings")).status_code == 404
    assert (await browser.get(f"{settings_of(project)}/settings")).status_code == 200
    answer = await browser.post(
        f"{settings_of(project)}/users", data={"name": "Eve", "role": "owner", "csrf": await csrf(browser)}
    )
    assert (answer.status_code, "you are its editor" in answer.text) == (403, True)
