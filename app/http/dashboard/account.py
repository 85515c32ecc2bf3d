"""One's own account: who one is, which roles one has, and another password."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from app import logins
from app.attempts import Key
from app.http.auth import session_cookie
from app.http.dashboard.access import login_of
from app.http.dashboard.pages import (
    ACCOUNT,
    HOME,
    SECURITY_HEADERS,
    AnyRequest,
    form_of,
    masked,
    page,
    services_of,
)
from app.problems import Problem
from app.users import check_password, find_account, name_key, new_password, read_roles, set_password


@get("/account", include_in_schema=False)
async def account_page(request: AnyRequest) -> Response[Any]:
    """The form that asks for another password, which comes first for who has a one-time password."""
    return page(request, "account.html", problem=None)


@get("/session", include_in_schema=False)
async def present_session(request: AnyRequest) -> Response[Any]:
    """Who is logged in, and what forms carry: for a script of a page that was opened in a session before."""
    if "hx-request" not in request.headers:
        return Redirect(ACCOUNT, status_code=303)
    login = login_of(request)
    answer = msgspec.json.encode({"name": login.name, "csrf": masked(login.csrf)})
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return Response(answer, media_type="application/json", headers=headers)


@post("/account", include_in_schema=False)
async def choose_password(request: AnyRequest) -> Response[Any]:
    """Another password for who knows the present one; all their sessions end but this one, which is a new one."""
    login = login_of(request)
    if login.user_id is None:
        raise Problem(403, "forbidden", "who logs in with a token or a key has no password here")
    form = await form_of(request)
    try:
        cookie = await _choose(request, login.user_id, login.name, form)
    except Problem as problem:
        return page(request, "account.html", problem.status, problem=problem)
    redirect = Redirect(HOME, status_code=303)
    redirect.set_cookie(session_cookie(request, cookie))
    return redirect


async def _choose(request: AnyRequest, user_id: UUID, name: str, form: dict[str, str]) -> str:
    services = services_of(request)
    keys: list[Key] = [("name", name_key(name))]
    services.attempts.begin(keys)
    password = form.get("password", "")
    async with services.pool.connection() as connection:
        account = await find_account(connection, name)
    if await check_password(account, form.get("current", "")) is None:
        raise Problem(400, "invalid_user", "that is not your present password")
    services.attempts.succeeded(keys)
    if password != form.get("again"):
        raise Problem(400, "invalid_user", "the new password was not typed the same twice")
    if password == form.get("current"):
        raise Problem(400, "invalid_user", "the new password is the present one")
    if not password:
        raise Problem(400, "invalid_user", "the new password is missing")
    chosen = await new_password(password)
    async with services.pool.connection() as connection:
        projects = await read_roles(connection, user_id)
        await set_password(connection, user_id, chosen, actor=login_of(request).actor)
        account = await find_account(connection, name)
        if account is None:
            raise Problem(409, "changed_meanwhile", "your account was removed at this moment")
        cookie = await logins.open_user_session(connection, user_id, account.version)
    for project_id in projects:
        services.changed(project_id)
    return cookie
