"""Logging in and out."""

import functools
import logging
from typing import Any

from litestar import Response, get, post
from litestar.response import Redirect

from app import logins
from app.attempts import Key
from app.http.auth import COOKIE, find_login, is_admin_token, session_cookie
from app.http.dashboard.pages import HOME, LOGIN, AnyRequest, form_of, own_path, page, services_of
from app.problems import Problem
from app.secret_keys import authenticate
from app.services import Services
from app.users import NAME_CHARACTERS_MAX, any_user, check_password, find_account, name_key

_log = logging.getLogger("prooflog.dashboard")

_WRONG_TOKEN = "That is neither the admin token of this server nor a secret key that works."  # noqa: S105
_WRONG_PASSWORD = "There is nobody with that name and password."  # noqa: S105


@get("/login", include_in_schema=False)
async def login_page(request: AnyRequest) -> Response[Any]:
    """The form that asks who it is; on to the dashboard for who is logged in."""
    back = own_path(request.query_params.get("next"))
    if await find_login(request, services_of(request)) is not None:
        return Redirect(back, status_code=303)
    return await _login_page(request, back)


@post("/login", include_in_schema=False)
async def log_in(request: AnyRequest) -> Response[Any]:
    """A session for an admin token, a secret key or a name with its password, and back to the page asked for.

    The form again for anything else, and 429 for a while when it was tried often.
    """
    form = await form_of(request)
    back = own_path(form.get("next"))
    # One character more than a name can hold, so that what is too long stays wrong.
    name, by_name = form.get("name", "")[: NAME_CHARACTERS_MAX + 1], "name" in form
    attempts = services_of(request).attempts
    keys: list[Key] = [("address", _address(request))]
    if by_name:
        keys.append(("name", name_key(name)))
    try:
        attempts.begin(keys)
        if by_name:
            cookie = await _by_name(services_of(request), name, form.get("password", ""))
        else:
            cookie = await _by_token(services_of(request), form.get("token", "").strip())
    except Problem as problem:
        shown = await _login_page(request, back, problem=problem, name=name)
        shown.headers.update({key: value for key, value in problem.headers.items() if key == "Retry-After"})
        return shown
    attempts.succeeded(keys)
    redirect = Redirect(back, status_code=303)
    redirect.set_cookie(session_cookie(request, cookie))
    return redirect


@post("/logout", include_in_schema=False)
async def log_out(request: AnyRequest) -> Response[Any]:
    """End the session, here and wherever else its cookie is."""
    async with services_of(request).pool.connection() as connection:
        await logins.close_session(connection, request.cookies.get(COOKIE, ""))
    redirect = Redirect(LOGIN, status_code=303)
    redirect.delete_cookie(COOKIE, path="/")
    return redirect


@get("/logout", include_in_schema=False)
async def nothing_to_see() -> Response[Any]:
    """Who opens the address of the log-out button goes to the first page, logged in or not."""
    return Redirect(HOME, status_code=303)


def _address(request: AnyRequest) -> str:
    """Whose failures count together; a proxy that is not believed is told of, since all behind it are one."""
    address = request.client.host if request.client else ""
    if address not in request.headers.get("x-forwarded-for", address):
        _tell_of_proxy(address)
    return address


@functools.lru_cache(maxsize=16)
def _tell_of_proxy(address: str) -> None:
    _log.warning(
        "%s forwards logins and PROOFLOG_TRUSTED_PROXIES does not name it: those behind it count as one",
        address,
    )


async def _login_page(
    request: AnyRequest, back: str, *, problem: Problem | None = None, name: str = ""
) -> Response[Any]:
    async with services_of(request).pool.connection() as connection:
        by_name = await any_user(connection)
    status = problem.status if problem else 200
    message = problem.detail if problem else None
    return page(request, "login.html", status, back=back, message=message, name=name, by_name=by_name)


async def _by_name(services: Services, name: str, password: str) -> str:
    async with services.pool.connection() as connection:
        found = await find_account(connection, name)
    account = await check_password(found, password)
    if account is None:
        raise Problem(401, "unauthorized", _WRONG_PASSWORD)
    async with services.pool.connection() as connection:
        return await logins.open_user_session(connection, account.user_id, account.version)


async def _by_token(services: Services, token: str) -> str:
    async with services.pool.connection() as connection:
        if is_admin_token(token, services.admin_token):
            return await logins.open_admin_session(connection, services.admin_token)
        try:
            project_id = await authenticate(connection, f"Bearer {token}")
        except Problem as problem:
            expired = problem.status == 403  # noqa: PLR2004
            raise Problem(401, "unauthorized", problem.detail if expired else _WRONG_TOKEN) from None
        return await logins.open_key_session(connection, project_id, token)
