"""The page of one experiment: its results, now or as they were known at a moment."""

from litestar import Response, get
from litestar.params import FromPath

from app.experiments import read_experiment
from app.find_results import owner_of
from app.http.backend import parse_experiment_id
from app.http.dashboard.pages import AnyRequest, page, services_of
from app.http.results import find_results


@get("/experiments/{experiment_id:str}", include_in_schema=False)
async def experiment_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The results of one experiment, now or with `asOf` as they were known at a moment."""
    services = services_of(request)
    wanted = parse_experiment_id(experiment_id)
    as_of = request.query_params.get("asOf", "").strip() or None
    method = request.query_params.get("method", "") or "always_valid"
    async with services.pool.connection() as connection:
        project_id = await owner_of(connection, wanted)
        experiment = await read_experiment(connection, project_id, wanted)
    project = await services.projects.get(services.pool, project_id)
    found = await find_results(services, project_id, wanted, as_of=as_of, method=method)
    return page(
        "experiment.html", project=project, experiment=experiment, results=found, as_of=as_of, method=method
    )
