"""The page of one experiment: its results, now or as they were known at a moment."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from app.experiments import read_experiment
from app.http.dashboard.access import require_experiment
from app.http.dashboard.pages import HOME, AnyRequest, page, services_of
from app.http.results import find_results


@get("/experiments/{experiment_id:str}", include_in_schema=False)
async def experiment_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The results of one experiment, now or with `asOf` as they were known at a moment."""
    project_id, wanted = await require_experiment(request, experiment_id, "viewer")
    return await results_page(request, project_id, wanted, here=f"{HOME}/experiments/{wanted}")


async def results_page(
    request: AnyRequest, project_id: UUID, experiment_id: UUID, *, here: str
) -> Response[bytes]:
    """The page of results at the address `here`: an experiment's own, or that of a share link.

    Behind a share link nobody is logged in: `login` is None in the template, which then shows nothing that
    changes something or leads elsewhere.
    """
    services = services_of(request)
    as_of = request.query_params.get("asOf", "").strip() or None
    method = request.query_params.get("method", "") or "always_valid"
    async with services.pool.connection() as connection:
        experiment = await read_experiment(connection, project_id, experiment_id)
    project = await services.projects.get(services.pool, project_id)
    found = await find_results(services, project_id, experiment_id, as_of=as_of, method=method)
    return page(
        request,
        "experiment.html",
        here=here,
        project=project,
        experiment=experiment,
        results=found,
        as_of=as_of,
        method=method,
    )
