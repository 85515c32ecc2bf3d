"""The dashboard: projects, experiments and results for people, as plain HTML that needs no JavaScript."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from app import problems
from app.experiments import read_experiment, read_experiments
from app.find_results import owner_of
from app.http.auth import COOKIE, is_admin_token, logged_in, session_cookie
from app.http.backend import parse_experiment_id
from app.http.results import find_results
from app.log_writer import Overloaded, Unavailable
from app.problems import Problem, ProblemBody
from app.projects import Project, read_projects
from app.results_shape import Results
from app.services import Services
from app.templates import render, stylesheet
from domain.experiment import Experiment
from domain.refusals import Refusal

HOME = "/dashboard"
LOGIN = f"{HOME}/login"
# The list shows figures for so many experiments, those that changed last; the rest by name only.
FIGURES_MAX = 30
_CONCURRENT_MAX = 4

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
# No dots, backslashes or second slash at the start: nothing that a browser could read as another place.
_OWN_PATH = re.compile(r"/dashboard(?:/[A-Za-z0-9_-]+)*(?:\?[A-Za-z0-9_.:%&=+-]*)?")

AnyRequest = Request[Any, Any, Any]


class Row(NamedTuple):
    """An experiment in the list; results are None when they are not shown there."""

    experiment: Experiment
    results: Results | None


class ProjectPart(NamedTuple):
    """A project in the list."""

    project: Project
    snippet: str
    rows: list[Row]


@get("/login", include_in_schema=False)
async def login_page(request: AnyRequest) -> Response[Any]:
    """The form that asks for the admin token; on to the dashboard for who is logged in."""
    back = own_path(request.query_params.get("next"))
    if _is_logged_in(request):
        return Redirect(back, status_code=303)
    return _page("login.html", back=back, message=None)


@post("/login", include_in_schema=False)
async def log_in(request: AnyRequest) -> Response[Any]:
    """A session for the admin token, and back to the page asked for; the form again for any other."""
    form = await request.form()
    token, back = form.get("token"), form.get("next")
    back = own_path(back if isinstance(back, str) else None)
    admin_token = _services(request).admin_token
    if not (isinstance(token, str) and is_admin_token(token.strip(), admin_token)):
        return _page("login.html", 401, back=back, message="That is not the admin token of this server.")
    redirect = Redirect(back, status_code=303)
    redirect.set_cookie(session_cookie(admin_token, secure=request.url.scheme == "https"))
    return redirect


@post("/logout", include_in_schema=False)
async def log_out() -> Response[Any]:
    """Forget the session."""
    redirect = Redirect(LOGIN, status_code=303)
    redirect.delete_cookie(COOKIE, path="/")
    return redirect


@get("/logout", include_in_schema=False)
async def nothing_to_see() -> Response[Any]:
    """Who opens the address of the log-out button goes to the first page, logged in or not."""
    return Redirect(HOME, status_code=303)


@get("/style.css", include_in_schema=False)
async def style(request: AnyRequest) -> Response[bytes]:
    """The one stylesheet; its address changes with it, so browsers may keep it."""
    sheet = stylesheet()
    headers = {**SECURITY_HEADERS, "ETag": f'"{sheet.tag}"', "Cache-Control": "public, max-age=86400"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    unchanged = headers["ETag"] in known
    return Response(
        b"" if unchanged else sheet.body,
        status_code=304 if unchanged else 200,
        media_type="text/css",
        headers=headers,
    )


@get("/", include_in_schema=False)
async def projects_page(request: AnyRequest) -> Response[bytes]:
    """All projects with their experiments, each with its visitors and its verdict in a line."""
    services = _services(request)
    origin = services.settings.public_url or str(request.base_url).rstrip("/")
    async with services.pool.connection() as connection:
        projects = await read_projects(connection)
        experiments = {
            project.project_id: await read_experiments(connection, project.project_id) for project in projects
        }
    found = await _figures(services, experiments)
    parts = [
        ProjectPart(
            project,
            f'<script src="{origin}/api/analytics/script.js?projectId={project.project_id}"></script>',
            [Row(experiment, found.get(experiment.id)) for experiment in experiments[project.project_id]],
        )
        for project in projects
    ]
    return _page("projects.html", parts=parts, origin=origin)


@get("/experiments/{experiment_id:str}", include_in_schema=False)
async def experiment_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The results of one experiment, now or with `asOf` as they were known at a moment."""
    services = _services(request)
    wanted = parse_experiment_id(experiment_id)
    as_of = request.query_params.get("asOf", "").strip() or None
    method = request.query_params.get("method", "") or "always_valid"
    async with services.pool.connection() as connection:
        project_id = await owner_of(connection, wanted)
        experiment = await read_experiment(connection, project_id, wanted)
    project = await services.projects.get(services.pool, project_id)
    found = await find_results(services, project_id, wanted, as_of=as_of, method=method)
    return _page(
        "experiment.html", project=project, experiment=experiment, results=found, as_of=as_of, method=method
    )


@get("/{rest:path}", include_in_schema=False)
async def no_such_page(rest: FromPath[str]) -> Response[bytes]:
    """Any other address below the dashboard: 404 as a page."""
    raise NotFoundException(f"the dashboard has no page {rest}")


def own_path(wanted: str | None) -> str:
    """The page to go on to: the one wanted if it is surely the dashboard's, or else its first."""
    if wanted is None or not _OWN_PATH.fullmatch(wanted) or wanted.partition("?")[0] == LOGIN:
        return HOME
    return wanted


async def _figures(services: Services, experiments: dict[Any, list[Experiment]]) -> dict[Any, Results]:
    """Results by experiment, of as many as the list shows; drafts have none."""
    started = [
        (experiment.changed_at, project_id, experiment.id)
        for project_id, listed in experiments.items()
        for experiment in listed
        if experiment.started_at is not None
    ]
    wanted = [ids for _, *ids in sorted(started, reverse=True)[:FIGURES_MAX]]
    turns = asyncio.Semaphore(_CONCURRENT_MAX)

    async def find(project_id: Any, experiment_id: Any) -> Results | None:  # noqa: ANN401
        async with turns:
            try:
                return await find_results(services, project_id, experiment_id)
            except Refusal:  # projections have not come to its creation yet
                return None

    found = await asyncio.gather(*(find(*ids) for ids in wanted))
    return {results.experiment_id: results for results in found if results is not None}


async def _require_login(request: AnyRequest) -> Response[Any] | None:
    if _is_logged_in(request):
        return None
    query = f"?{request.url.query}" if request.url.query else ""
    wanted = own_path(request.url.path + query)
    # The first page is where a login leads anyway.
    return Redirect(LOGIN if wanted == HOME else f"{LOGIN}?next={quote(wanted, safe='')}", status_code=303)


def _is_logged_in(request: AnyRequest) -> bool:
    return logged_in(request.cookies.get(COOKIE), _services(request).admin_token)


def _services(request: AnyRequest) -> Services:
    services: Services = request.app.state.services
    return services


def _page(name: str, status: int = 200, **context: object) -> Response[bytes]:
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    body = render(name, **context)
    return Response(body, status_code=status, media_type="text/html", headers=headers)


def _as_page(answer: Callable[..., Response[bytes]]) -> Callable[..., Response[bytes]]:
    """The same answer as the API gives, as a page."""

    def answer_page(request: AnyRequest, error: Exception) -> Response[bytes]:
        told = answer(request, error)
        problem = msgspec.json.decode(told.content, type=ProblemBody)
        page = _page("problem.html", problem.status, problem=problem, path=request.url.path)
        page.headers.update(told.headers)
        return page

    return answer_page


_pages = Router(
    "/",
    route_handlers=[projects_page, experiment_page, no_such_page],
    before_request=_require_login,
)
dashboard_router = Router(
    HOME,
    route_handlers=[login_page, log_in, log_out, nothing_to_see, style, _pages],
    exception_handlers={
        Problem: _as_page(problems.answer_problem),
        Refusal: _as_page(problems.answer_refusal),
        Overloaded: _as_page(problems.answer_overloaded),
        Unavailable: _as_page(problems.answer_overloaded),
        HTTPException: _as_page(problems.answer_http_exception),
        Exception: _as_page(problems.answer_defect),
    },
)
