"""The results of an experiment over HTTP, now or as of any past moment."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from app import find_results as finding
from app.find_results import Found, owner_of
from app.http.auth import find_login
from app.http.backend import parse_experiment_id
from app.results import Asked
from app.results_shape import Results
from app.secret_keys import authenticate
from app.services import Services
from domain import refusals
from projections.results import Detail

PLANNED = "The horizon of group_sequential: visitors of all variants together, stated before the start."
MARGIN = "The share of the control's mean that a guardrail may lose; 0.05 unless said."


@get("/api/analytics/experiments/{experiment_id:str}/results", summary="Results", tags=["experiments"])
async def results(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    experiment_id: FromPath[str],
    as_of: Annotated[str | None, QueryParameter(name="asOf")] = None,
    goal: FromQuery[str | None] = None,
    method: FromQuery[str] = "always_valid",
    planned_visitors: Annotated[int | None, QueryParameter(name="plannedVisitors", description=PLANNED)] = None,
    guardrail_margin: Annotated[float | None, QueryParameter(name="guardrailMargin", description=MARGIN)] = None,
) -> Response[bytes]:
    """Visitors, conversions, lift, verdict and decision; with `asOf`, what was known at that moment.

    `asOf` is an ISO time or a position of the project's log (18120 or 18,120), `goal` the name of one goal.
    `method` gives the verdict: `always_valid` (holds at every look), `group_sequential` (at every look until
    `plannedVisitors`, of all variants together, stated before the start; narrower) or `fixed` (one look).
    `guardrailMargin` is the share of the control's mean that a guardrail may lose, .05 unless said. Every
    p-value and interval comes with its method, alpha and regime; a number that does not exist is null with
    a reason. The same position always gives the same digest.
    """
    wanted = parse_experiment_id(experiment_id)
    project_id = await _project_of(request, services, wanted)
    found = await find_results(
        services,
        project_id,
        wanted,
        as_of=as_of,
        goal=goal,
        method=method,
        planned_visitors=planned_visitors,
        guardrail_margin=guardrail_margin,
    )
    return Response(
        msgspec.json.encode(found), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def find_results(
    services: Services,
    project_id: UUID,
    experiment_id: UUID,
    *,
    as_of: str | None = None,
    goal: str | None = None,
    method: str = "always_valid",
    planned_visitors: int | None = None,
    guardrail_margin: float | None = None,
) -> Results:
    """Results now or as of a moment; Problem 400 or a Refusal says why there are none."""
    asked = finding.asked_for(goal, method, planned_visitors, guardrail_margin)
    found = await find_counted(services, project_id, experiment_id, as_of=as_of, asked=asked)
    return await services.results.of(found)


async def find_counted(
    services: Services,
    project_id: UUID,
    experiment_id: UUID,
    *,
    as_of: str | None = None,
    asked: Asked,
    detail: Detail | None = None,
) -> Found:
    """What results are made of, now or as of a moment; Problem 400 or a Refusal says why there is nothing."""
    return await finding.find_counted(
        services.pool.connection,
        services.replays,
        project_id,
        experiment_id,
        as_of=as_of,
        asked=asked,
        detail=detail,
        hint=services.worker.hint,
    )


async def _project_of(request: Request[Any, Any, Any], services: Services, experiment_id: UUID) -> UUID:
    authorization = request.headers.get("authorization")
    login = await find_login(request, services) if authorization is None else None
    async with services.pool.connection() as connection:
        if login is None:
            return await authenticate(connection, authorization)
        project_id = await owner_of(connection, experiment_id)
    if not login.sees(project_id):
        raise refusals.ExperimentNotFound
    return project_id
