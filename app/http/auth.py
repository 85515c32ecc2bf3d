"""Who may: the admin token, and the dashboard's session cookie."""

import hmac
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from app.logins import SESSION_SECONDS, Login, read_session
from app.problems import Problem
from app.services import Services

COOKIE = "prooflog_session"

AnyRequest = Request[Any, Any, Any]


def require_admin(authorization: str | None, admin_token: str) -> None:
    """Let only the admin token pass; Problem 401 otherwise."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not is_admin_token(token.strip(), admin_token):
        raise Problem(
            401,
            "unauthorized",
            "send `Authorization: Bearer <admin token>`",
            headers={"WWW-Authenticate": "Bearer"},
        )


def is_admin_token(given: str, admin_token: str) -> bool:
    """Whether a token is the admin's, in a time that tells nothing about it."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), admin_token.encode())


async def find_login(request: AnyRequest, services: Services) -> Login | None:
    """Who a request's cookie says is logged in, if its session still holds."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    async with services.pool.connection() as connection:
        return await read_session(connection, cookie, services.admin_token)


def session_cookie(request: AnyRequest, value: str) -> Cookie:
    """The cookie of a session: kept from scripts and other sites' forms, sent over TLS only if it came so."""
    return Cookie(
        COOKIE,
        value=value,
        path="/",
        httponly=True,
        samesite="lax",
        secure=came_by_tls(request),
        max_age=SESSION_SECONDS,
    )


def came_by_tls(request: AnyRequest) -> bool:
    """Whether the browser speaks TLS to us, or to a proxy in front that says so.

    Any caller may say so: all that it can bring about is that its own cookie is sent over TLS only.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return request.url.scheme == "https" or forwarded == "https"
