"""The page of one experiment: its results, now or as they were known at a moment."""

from litestar import Response, get
from litestar.params import FromPath

from app.experiments import read_experiment
from app.http.dashboard.access import require_experiment
from app.http.dashboard.pages import AnyRequest, page, services_of
from app.http.results import find_results


@get("/experiments/{experiment_id:str}", include_in_schema=False)
async def experiment_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The results of one experiment, now or with `asOf` as they were known at a moment."""
    services = services_of(request)
    project_id, wanted = await require_experiment(request, experiment_id, "viewer")
    as_of = request.query_params.get("asOf", "").strip() or None
    method = request.query_params.get("method", "") or "always_valid"
    async with services.pool.connection() as connection:
        experiment = await read_experiment(connection, project_id, wanted)
    project = await services.projects.get(services.pool, project_id)
    found = await find_results(services, project_id, wanted, as_of=as_of, method=method)
    return page(
        request,
        "experiment.html",
        project=project,
        experiment=experiment,
        results=found,
        as_of=as_of,
        method=method,
    )
