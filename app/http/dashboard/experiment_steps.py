"""Start, pause, resume and stop an experiment; stopping asks once more on a page of its own."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from app.experiments import read_experiment
from app.http.backend import take_step
from app.http.dashboard.access import login_of, require_experiment
from app.http.dashboard.pages import HOME, AnyRequest, own_path, page, services_of
from domain import refusals

_STEPS = ("start", "pause", "resume", "stop")


@post([f"/experiments/{{experiment_id:str}}/{step}" for step in _STEPS], include_in_schema=False)
async def step_experiment(request: AnyRequest, experiment_id: FromPath[str]) -> Response[Any]:
    """Take a step of the lifecycle, and back to where it was asked for; a refusal says why not."""
    project_id, wanted = await require_experiment(request, experiment_id, "editor")
    step = request.url.path.rpartition("/")[2]
    await take_step(services_of(request), project_id, wanted, step, login_of(request).actor)
    back = (await request.form()).get("back")
    to = own_path(back) if isinstance(back, str) else f"{HOME}/experiments/{wanted}"
    return Redirect(to, status_code=303)


@get([f"/experiments/{{experiment_id:str}}/{step}" for step in _STEPS if step != "stop"], include_in_schema=False)
async def back_to_experiment(experiment_id: FromPath[str]) -> Response[Any]:
    """Who opens the address of a step goes to the experiment, where its buttons are."""
    return Redirect(own_path(f"{HOME}/experiments/{experiment_id}"), status_code=303)


@get("/experiments/{experiment_id:str}/stop", include_in_schema=False)
async def stop_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The question whether to stop it for good."""
    project_id, wanted = await require_experiment(request, experiment_id, "editor")
    async with services_of(request).pool.connection() as connection:
        experiment = await read_experiment(connection, project_id, wanted)
    if experiment is None:
        raise refusals.ExperimentNotFound
    if experiment.status == "stopped":
        raise refusals.ExperimentAlreadyStopped
    return page(request, "stop.html", experiment=experiment)
