"""A project's settings: the snippet, what arrives, secret keys, allowed origins; people and links in people.py."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from app.experiments import read_experiments
from app.http.dashboard.access import login_of, require_admin_login, require_role
from app.http.dashboard.pages import HOME, AnyRequest, form_of, own_origin, page, services_of, turned
from app.http.dashboard.projects import show_projects
from app.problems import Problem
from app.projects import change_origins, create_project, read_arrived
from app.script import render_async_snippet, render_snippet
from app.secret_keys import GRACE, read_keys, rotate_key
from app.share_links import read_share_links
from app.sheets import Sheet
from app.users import User, read_users
from domain.experiment import Experiment

PROJECT = "/projects/{project_id:str}"
# Of the experiments that a form offers to share.
SHAREABLE_MAX = 100


@get(f"{PROJECT}/settings", include_in_schema=False)
async def settings_page(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """What a project is set up with; what only owners see and change is left out for others."""
    wanted = parse_project(project_id)
    require_role(request, wanted, "viewer")
    return await show_settings(request, wanted)


@get(f"{PROJECT}/arrival", include_in_schema=False)
async def arrival(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """The part of the page that says whether an event has come yet."""
    wanted = parse_project(project_id)
    require_role(request, wanted, "viewer")
    if "hx-request" not in request.headers:
        return to_settings(wanted, "arrival")
    async with services_of(request).pool.connection() as connection:
        arrived = await read_arrived(connection, [wanted])
    # No content: htmx leaves the page as it is, and asks again.
    return page(request, "arrival.html", arrived=True) if arrived else Response(None, status_code=204)


_FORMS = (
    *("secret-keys", "origins", "users", "share-links", "share-links/{link_id:str}/revoke"),
    *(f"users/{{user_id:str}}/{change}" for change in ("role", "remove", "password")),
)


@get([f"{PROJECT}/{form}" for form in _FORMS], include_in_schema=False)
async def back_to_settings(project_id: FromPath[str]) -> Response[Any]:
    """Who opens the address of a form goes to the page that it stands on."""
    return to_settings(parse_project(project_id))


@post("/projects", include_in_schema=False)
async def new_project(request: AnyRequest) -> Response[Any]:
    """A new project with its secret key, shown this once; the form carries the id, so that twice is once."""
    login = require_admin_login(request)
    form = await form_of(request)
    project_id, name = parse_project(form.get("project_id", "")), form.get("name", "").strip()
    async with services_of(request).pool.connection() as connection:
        try:
            _, secret_key = await create_project(connection, name, actor=login.actor, project_id=project_id)
        except Problem as problem:
            return await show_projects(request, problem=problem, name=name)
    services_of(request).changed(project_id)
    return await show_settings(request, project_id, secret_key=secret_key)


@post(f"{PROJECT}/secret-keys", include_in_schema=False)
async def new_key(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """A new secret key, shown this once; the form says which one was the newest, so that twice is once."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    form = await form_of(request)
    newest, grace = _parse_time(form.get("newest", "")), timedelta(0) if "at_once" in form else GRACE
    async with services_of(request).pool.connection() as connection:
        try:
            issued = await rotate_key(connection, wanted, actor=login.actor, newest=newest, grace=grace)
        except Problem as problem:
            return await show_settings(request, wanted, failed="keys", problem=problem)
    services_of(request).changed(wanted)
    return await show_settings(request, wanted, secret_key=issued.secret_key)


@post(f"{PROJECT}/origins", include_in_schema=False)
async def new_origins(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """Other allowed origins, one a line; what is none is named by its line."""
    wanted = parse_project(project_id)
    login = require_role(request, wanted, "owner")
    text = (await form_of(request)).get("origins", "")
    origins = tuple(line.strip() for line in text.splitlines() if line.strip())
    async with services_of(request).pool.connection() as connection:
        try:
            await change_origins(connection, wanted, origins, actor=login.actor)
        except Problem as problem:
            given = {"origins": text, "lines": origins}
            return await show_settings(request, wanted, failed="origins", problem=problem, given=given)
    services_of(request).changed(wanted)
    return to_settings(wanted, "origins")


async def show_settings(
    request: AnyRequest,
    project_id: UUID,
    *,
    failed: str | None = None,
    problem: Problem | None = None,
    given: dict[str, Any] | None = None,
    **made: str | None,
) -> Response[Any]:
    """The settings page: what is now, what was refused and why, and what is shown only once.

    `failed` names the form that `problem` is about and `given` what it held; `made` is a `secret_key`, the
    `one_time_password` of a `user`, or the address of a share `link`.
    """
    services = services_of(request)
    project = await services.projects.get(services.pool, project_id)
    wanted = request.query_params.get("share")
    async with services.pool.connection() as connection:
        keys, experiments = await read_keys(connection, project_id), await read_experiments(connection, project_id)
        lists: dict[str, Sheet[Any]] = {
            "keys": turned(request, "keys", keys),
            "users": turned(request, "users", _newest_first(await read_users(connection, project_id))),
            "links": turned(request, "links", await read_share_links(connection, project_id)),
        }
        arrived = bool(await read_arrived(connection, [project_id]))
    running = await services.active.get(services.pool, project_id)
    origin = services.settings.public_url or own_origin(request)
    shown_once = dict.fromkeys(("secret_key", "one_time_password", "user", "link")) | made
    return page(
        request,
        "settings.html",
        problem.status if problem else 200,
        project=project,
        snippet=render_snippet(str(project_id), origin),
        async_snippet=render_async_snippet(str(project_id), origin, running.experiments),
        manages=login_of(request).may(project_id, "owner"),
        failed=failed,
        problem=problem,
        given=given or {},
        link_id=uuid4(),
        wanted=wanted,
        arrived=arrived,
        newest_key=keys[0] if keys else None,
        experiments=experiments,
        shareable=_shareable(experiments, wanted),
        **lists,
        beside={name: _turned_beside(lists, name) for name in lists},
        **shown_once,
    )


def _shareable(experiments: list[Experiment], wanted: str | None) -> list[Experiment]:
    """Those that the form offers: the ones changed last, and the one whose page led here."""
    return [
        experiment
        for at, experiment in enumerate(experiments)
        if at < SHAREABLE_MAX or str(experiment.id) == wanted
    ]


def to_settings(project_id: UUID, section: str = "") -> Response[Any]:
    """Back to the settings page after a change, at the part that it is about."""
    return Redirect(f"{HOME}/projects/{project_id}/settings{'#' if section else ''}{section}", status_code=303)


def parse_project(text: str) -> UUID:
    """A project's id from an address or a form; what is none names no project."""
    try:
        return UUID(text)
    except ValueError:
        raise Problem(404, "unknown_project", "there is no project with this projectId") from None


def _turned_beside(lists: dict[str, Sheet[Any]], name: str) -> str:
    """What a query says of the other lists, so that who turns this one keeps their pages."""
    return "".join(f"{other}={each.number}&" for other, each in lists.items() if other != name and each.number > 1)


def _newest_first(users: list[User]) -> list[User]:
    return sorted(users, key=lambda user: user.granted_at, reverse=True)


def _parse_time(text: str) -> datetime:
    if not text:  # there was no key
        return datetime.min.replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(400, "invalid_form", "this form is not complete: load its page again") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
