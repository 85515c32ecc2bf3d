"""Who is logged in to the dashboard, what they may do where, and what no other site can make them do."""

import hmac
import re
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from litestar import Response
from litestar.response import Redirect

from app.find_results import owner_of
from app.http.auth import find_login
from app.http.backend import parse_experiment_id
from app.http.dashboard.pages import (
    ACCOUNT,
    HOME,
    LOGIN,
    LOGOUT,
    AnyRequest,
    WayBack,
    own_path,
    services_of,
    unmasked,
)
from app.logins import Login
from app.problems import Problem
from domain import refusals
from domain.events import UserRole

__all__ = [
    "Login",
    "Role",
    "admit",
    "admit_anybody",
    "login_of",
    "require_admin_login",
    "require_experiment",
    "require_role",
]

Role = UserRole

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
_READS = {"GET", "HEAD", "OPTIONS"}
# An experiment or a project, and whatever is done with it.
_SUBJECT = re.compile(f"{HOME}/(?:experiments|projects)/[^/]+")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def login_of(request: AnyRequest) -> Login:
    """Who is logged in; only where the router admits nobody else."""
    login: Login = request.state.login
    return login


def require_role(request: AnyRequest, project_id: UUID, role: Role) -> Login:
    """Let only pass who has this role in the project, or a higher one.

    Problem 404 where they have none, as if there were no such project; 403 where theirs is too low.
    """
    login = login_of(request)
    if not login.sees(project_id):
        raise Problem(404, "unknown_project", "there is no project with this projectId")
    request.state.way_back = WayBack(f"{HOME}/projects/{project_id}", "Back to the project")
    _require(login, project_id, role)
    return login


def require_admin_login(request: AnyRequest) -> Login:
    """Let only the admin token's login pass; Problem 403 otherwise."""
    login = login_of(request)
    if login.roles is not None:
        raise Problem(403, "forbidden", "only who is logged in with the admin token may do that")
    return login


async def require_experiment(request: AnyRequest, experiment_id: str, role: Role) -> tuple[UUID, UUID]:
    """The project and the id of an experiment, for who has this role there, or a higher one.

    Refuses as not found where there is none or they have no role; Problem 403 where theirs is too low.
    """
    wanted = parse_experiment_id(experiment_id)
    async with services_of(request).pool.connection() as connection:
        project_id = await owner_of(connection, wanted)
    login = login_of(request)
    if not login.sees(project_id):
        raise refusals.ExperimentNotFound
    request.state.way_back = WayBack(f"{HOME}/experiments/{wanted}", "Back to the experiment")
    _require(login, project_id, role)
    return project_id, wanted


async def admit(request: AnyRequest) -> Response[Any] | None:
    """Let only who is logged in pass, and only forms of our own pages; others go to log in, and come back.

    What a script of ours asks for is refused instead: the page stays, with what was typed, and says why.
    """
    login = await find_login(request, services_of(request))
    if login is None:
        return _ask_to_log_in(request)
    request.state.login = login
    check_origin(request)
    await check_csrf(request)
    if login.must_choose_password and request.url.path not in {ACCOUNT, LOGOUT}:
        if "hx-request" in request.headers:
            raise Problem(403, "password_to_choose", "you have to choose a password of your own first")
        return Redirect(ACCOUNT, status_code=303)
    return None


async def admit_anybody(request: AnyRequest) -> None:
    """Let everybody pass, but no form that another site sent: nobody is logged in as somebody else unasked."""
    check_origin(request)


async def check_csrf(request: AnyRequest) -> None:
    """Problem 403 for a change without the token that only our own pages know, in a field or a header."""
    if request.method in _READS:
        return
    given: object = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(_FORMS):
        given = (await request.form()).get(CSRF_FIELD)
    expected = login_of(request).csrf
    if not (isinstance(given, str) and hmac.compare_digest(unmasked(given), expected)):
        raise Problem(403, "form_expired", "this form is not of your present login: load its page again")


def check_origin(request: AnyRequest) -> None:
    """Problem 403 for a change that a browser says another site asks for; what says nothing is no browser.

    Browsers send Sec-Fetch-Site over https and to this machine, and Origin with every POST.
    """
    if request.method in _READS:
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        own = site in {"same-origin", "none"}
    else:
        own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not own:
        raise Problem(403, "cross_site", "this form was sent from another site")


def _require(login: Login, project_id: UUID, role: Role) -> None:
    if not login.may(project_id, role):
        held = (login.roles or {})[project_id]
        article = "a" if role == "viewer" else "an"
        raise Problem(403, "role_too_low", f"that takes {article} {role} of the project, and you are its {held}")


def _ask_to_log_in(request: AnyRequest) -> Response[Any]:
    if "hx-request" in request.headers:
        raise Problem(401, "logged_out", "you were logged out")
    wanted = _way_back(request)
    # The first page is where a login leads anyway.
    return Redirect(LOGIN if wanted == HOME else f"{LOGIN}?next={quote(wanted, safe='')}", status_code=303)


def _way_back(request: AnyRequest) -> str:
    """The page that was asked for; of a form the page that it stands on, if its browser says so, or is about."""
    if request.method in _READS:
        return own_path(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    host, _, path = request.headers.get("referer", "").partition("://")[2].partition("/")
    if host and host == request.headers.get("host"):
        return own_path(f"/{path}")
    subject = _SUBJECT.match(request.url.path)
    return own_path(subject[0]) if subject else HOME
