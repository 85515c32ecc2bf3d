"""The experiments of a project: status, health and verdict in a line each."""

import asyncio
from collections import Counter
from typing import NamedTuple, get_args
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from app.experiments import read_experiments
from app.http.dashboard.access import require_role
from app.http.dashboard.pages import AnyRequest, page, services_of
from app.http.results import find_results
from app.problems import Problem
from app.projects import parse_project_id
from app.results_shape import Results
from app.services import Services
from domain.experiment import Experiment
from domain.plan import ExperimentStatus
from domain.refusals import Refusal
from projections.event_log import read_head

STATUSES: tuple[ExperimentStatus, ...] = get_args(ExperimentStatus)
ROWS_MAX = 30
_CONCURRENT_MAX = 4


class Row(NamedTuple):
    """An experiment in the list; results are None for a draft, and where projections have not come to it."""

    experiment: Experiment
    results: Results | None


@get("/projects/{project_id:str}", include_in_schema=False)
async def experiments_page(request: AnyRequest, project_id: FromPath[str]) -> Response[bytes]:
    """The project's experiments, the one changed last first; `status` shows those of one status only."""
    wanted = parse_project_id(project_id)
    login = require_role(request, wanted, "viewer")
    services = services_of(request)
    project = await services.projects.get(services.pool, wanted)
    async with services.pool.connection() as connection:
        experiments = await read_experiments(connection, wanted)
    status = request.query_params.get("status")
    chosen = [each for each in experiments if status not in STATUSES or each.status == status]
    asked = request.query_params.get("page", "")[:6]
    number = min(int(asked), _pages(chosen)) if asked.isdecimal() and int(asked) > 0 else 1
    shown = chosen[(number - 1) * ROWS_MAX : number * ROWS_MAX]
    return page(
        request,
        "experiments.html",
        project=project,
        rows=await _with_results(services, wanted, shown),
        counts=Counter(each.status for each in experiments),
        total=len(experiments),
        only=status if status in STATUSES else None,
        statuses=STATUSES,
        number=number,
        pages=_pages(chosen),
        may_edit=login.may(wanted, "editor"),
    )


def _pages(experiments: list[Experiment]) -> int:
    return max(1, -(-len(experiments) // ROWS_MAX))


async def _with_results(services: Services, project_id: UUID, experiments: list[Experiment]) -> list[Row]:
    turns = asyncio.Semaphore(_CONCURRENT_MAX)
    async with services.pool.connection() as connection:
        last_position = (await read_head(connection, project_id)).next_position - 1

    async def find(experiment: Experiment) -> Results | None:
        async with turns:
            try:
                return await find_results(services, project_id, experiment.id)
            except Refusal:
                return None
            except Problem as problem:
                if problem.name != "not_counted_yet":
                    raise
                return None

    async def row(experiment: Experiment) -> Row:
        if experiment.started_at is None:
            return Row(experiment, None)
        found = await services.recent.get(experiment, last_position, lambda: find(experiment))
        return Row(experiment, found)

    return list(await asyncio.gather(*map(row, experiments)))
