"""The first page: projects and their experiments, each with its verdict in a line."""

import asyncio
from typing import Any, NamedTuple
from uuid import uuid4

from litestar import Response, get

from app.experiments import read_experiments
from app.http.dashboard.access import login_of
from app.http.dashboard.pages import AnyRequest, page, services_of
from app.http.results import find_results
from app.problems import Problem
from app.projects import Project, has_arrived, read_projects
from app.results_shape import Results
from app.services import Services
from domain.experiment import Experiment
from domain.refusals import Refusal

# The list shows figures for so many experiments, those that changed last; the rest by name only.
FIGURES_MAX = 30
_CONCURRENT_MAX = 4


class Row(NamedTuple):
    """An experiment in the list; results are None when they are not shown there."""

    experiment: Experiment
    results: Results | None


class ProjectPart(NamedTuple):
    """A project in the list."""

    project: Project
    arrived: bool
    rows: list[Row]


@get("/", include_in_schema=False)
async def projects_page(request: AnyRequest) -> Response[bytes]:
    """All projects with their experiments, each with its visitors and its verdict in a line."""
    return await show_projects(request)


async def show_projects(request: AnyRequest, *, problem: Problem | None = None, name: str = "") -> Response[bytes]:
    """The page of projects, and why a new one called `name` was refused."""
    services, login = services_of(request), login_of(request)
    async with services.pool.connection() as connection:
        projects = [known for known in await read_projects(connection) if login.sees(known.project_id)]
        arrived = {known.project_id: await has_arrived(connection, known.project_id) for known in projects}
        experiments = {
            project.project_id: await read_experiments(connection, project.project_id) for project in projects
        }
    found = await _figures(services, experiments)
    parts = [
        ProjectPart(
            project,
            arrived[project.project_id],
            [Row(experiment, found.get(experiment.id)) for experiment in experiments[project.project_id]],
        )
        for project in projects
    ]
    status = problem.status if problem else 200
    return page(request, "projects.html", status, parts=parts, problem=problem, name=name, project_id=uuid4())


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
