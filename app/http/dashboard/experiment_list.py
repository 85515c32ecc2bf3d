"""The experiments of a project: status, health and verdict in a line each."""

import asyncio
from collections import Counter
from typing import Any, NamedTuple, get_args
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Redirect

from app.experiments import read_experiments
from app.find_results import find_counted_of
from app.http.dashboard.access import require_role
from app.http.dashboard.pages import HOME, AnyRequest, own_path, page, services_of, turned
from app.projects import parse_project_id
from app.results_shape import Results
from app.services import Services
from domain.experiment import Experiment
from domain.plan import ExperimentStatus
from projections.event_log import read_head

STATUSES: tuple[ExperimentStatus, ...] = get_args(ExperimentStatus)
ROWS_MAX = 30


class Row(NamedTuple):
    """An experiment in the list; results are None for a draft, and where projections have not come to it."""

    experiment: Experiment
    results: Results | None


@get("/projects/{project_id:str}/experiments", include_in_schema=False)
async def back_to_experiments(project_id: FromPath[str]) -> Response[Any]:
    """What stands before the address of a form leads to the list."""
    return Redirect(own_path(f"{HOME}/projects/{project_id}"), status_code=303)


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
    sheet = turned(request, "page", chosen, ROWS_MAX)
    return page(
        request,
        "experiments.html",
        project=project,
        rows=await _with_results(services, wanted, sheet.rows),
        counts=Counter(each.status for each in experiments),
        total=len(experiments),
        only=status if status in STATUSES else None,
        statuses=STATUSES,
        sheet=sheet,
        may_edit=login.may(wanted, "editor"),
    )


async def _with_results(services: Services, project_id: UUID, experiments: list[Experiment]) -> list[Row]:
    async with services.pool.connection() as connection:
        last_position = (await read_head(connection, project_id)).next_position - 1

    async def find(experiment_ids: list[UUID]) -> dict[UUID, Results]:
        found = await find_counted_of(
            services.pool.connection, project_id, experiment_ids, hint=services.worker.hint
        )
        computed = await asyncio.to_thread(lambda: list(map(services.results.at_once, found.values())))
        return dict(zip(found, computed, strict=True))

    started = [each for each in experiments if each.started_at is not None]
    found = await services.recent.get(started, last_position, find)
    return [Row(each, found.get(each.id)) for each in experiments]
