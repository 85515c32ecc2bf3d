"""The first page: projects, each with how many experiments it has."""

from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import uuid4

from litestar import Response, get
from litestar.response import Redirect

from app.experiments import count_experiments
from app.http.dashboard.access import login_of
from app.http.dashboard.pages import HOME, AnyRequest, page, services_of, turned
from app.problems import Problem
from app.projects import Project, read_arrived, read_projects
from app.sheets import Sheet
from domain.plan import ExperimentStatus


class ProjectRow(NamedTuple):
    """A project in the list: whether events have arrived, its experiments, the latest change of one."""

    project: Project
    arrived: bool
    running: int
    others: str
    changed_at: datetime | None


@get(["/projects", "/experiments"], include_in_schema=False)
async def back_to_projects() -> Response[Any]:
    """Who opens the address at which a project was made, or the beginning of one, goes to the list of all."""
    return Redirect(HOME, status_code=303)


@get("/", include_in_schema=False)
async def projects_page(request: AnyRequest) -> Response[bytes]:
    """The projects that one may see, the newest first."""
    return await show_projects(request)


async def show_projects(request: AnyRequest, *, problem: Problem | None = None, name: str = "") -> Response[bytes]:
    """The page of projects, and why a new one called `name` was refused."""
    login = login_of(request)
    async with services_of(request).pool.connection() as connection:
        newest_first = reversed(await read_projects(connection))
        seen = turned(request, "projects", [known for known in newest_first if login.sees(known.project_id)])
        counted = await count_experiments(connection)
        arrived = await read_arrived(connection, [project.project_id for project in seen.rows])
    rows = [_row(known, known.project_id in arrived, counted.get(known.project_id, {})) for known in seen.rows]
    return page(
        request,
        "projects.html",
        problem.status if problem else 200,
        projects=Sheet(rows, seen.number, seen.pages),
        problem=problem,
        name=name,
        project_id=uuid4(),
    )


def _row(project: Project, arrived: bool, counted: dict[ExperimentStatus, tuple[int, datetime]]) -> ProjectRow:  # noqa: FBT001
    counts = {status: count for status, (count, _) in counted.items()}
    running = counts.pop("running", 0)
    others = ", ".join(f"{counts[status]:,} {status}" for status in get_args(ExperimentStatus) if status in counts)
    changed_at = max((changed for _, changed in counted.values()), default=None)
    return ProjectRow(project, arrived, running, others, changed_at)
