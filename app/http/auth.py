"""Who may: the admin token, and the dashboard's login cookie."""

import base64
import hashlib
import hmac
import time

import msgspec
from litestar.datastructures import Cookie

from app.problems import Problem

COOKIE = "prooflog_session"
SESSION_SECONDS = 12 * 3600


class _Session(msgspec.Struct):
    expires: int


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
    return hmac.compare_digest(given.encode(), admin_token.encode())


def session_cookie(admin_token: str, *, secure: bool) -> Cookie:
    """A signed cookie that says until when its bearer is logged in."""
    body = base64.urlsafe_b64encode(msgspec.json.encode(_Session(int(time.time()) + SESSION_SECONDS)))
    value = f"{body.decode()}.{_sign(body, admin_token)}"
    return Cookie(
        COOKIE,
        value=value,
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure,
        max_age=SESSION_SECONDS,
    )


def logged_in(cookie: str | None, admin_token: str) -> bool:
    """Whether a cookie is one of ours and has not run out."""
    body, _, signature = (cookie or "").partition(".")
    if not hmac.compare_digest(signature.encode(), _sign(body.encode(), admin_token).encode()):
        return False
    session = msgspec.json.decode(base64.urlsafe_b64decode(body), type=_Session)
    return session.expires > time.time()


def csrf_token(cookie: str) -> str:
    """What the forms of one session carry: known to its own pages only."""
    return hmac.new(cookie.encode(), b"prooflog csrf", hashlib.sha256).hexdigest()


def _sign(body: bytes, admin_token: str) -> str:
    key = hashlib.sha256(b"prooflog dashboard session\0" + admin_token.encode()).digest()
    return hmac.new(key, body, hashlib.sha256).hexdigest()
