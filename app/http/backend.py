"""What a customer's backend calls with its secret key: server events, keys, experiments, results."""

from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.decoding import decode_server_event
from app.experiments import change_experiment, create_experiment, execute, read_experiment, read_experiments
from app.http.auth import require_admin
from app.json_body import inflate, not_json
from app.problems import Problem, not_usable
from app.projects import create_project
from app.secret_keys import authenticate, rotate_key
from app.services import Services
from domain import refusals
from domain.experiment import (
    Command,
    Experiment,
    ExperimentPatch,
    NewExperiment,
    PauseExperiment,
    ResumeExperiment,
    StartExperiment,
    StopExperiment,
)

ACTOR = "secret key"
_COMMANDS: dict[str, type[StartExperiment | PauseExperiment | ResumeExperiment | StopExperiment]] = {
    "start": StartExperiment,
    "pause": PauseExperiment,
    "resume": ResumeExperiment,
    "stop": StopExperiment,
}

AnyRequest = Request[Any, Any, Any]
_Body = TypeVar("_Body")


class NewProject(msgspec.Struct, rename="camel"):
    """The body that creates a project."""

    name: str
    allowed_origins: list[str] = []


class NewProjectAnswer(msgspec.Struct, rename="camel"):
    """A project's public key, and its secret key this once."""

    project_id: UUID
    secret_key: str


class EventAnswer(msgspec.Struct, rename="camel"):
    """The id of a server event, and whether its idempotencyKey was used before."""

    event_id: UUID
    duplicate: bool


class RotatedKey(msgspec.Struct, rename="camel"):
    """A new secret key, and until when the older ones work."""

    secret_key: str
    previous_keys_valid_until: datetime


@post("/server-events", status_code=201, summary="Submit one server event", tags=["backend"])
async def server_event(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Append one event of a backend; the same idempotencyKey again answers with the first eventId.

    201 for a new event, 200 for a replay, 409 when the key came with another body before.
    """
    services.shed_load()
    project_id = await _authenticate(request, services)
    body = inflate(await request.body(), request.headers.get("content-encoding"))
    project = await services.projects.get(services.pool, project_id)
    now = datetime.now(UTC)
    try:
        event = decode_server_event(
            body, now, services.horizon, lambda address: project.hash_address(address, now)
        )
    except Problem as problem:
        services.told.add(project_id, 0, [problem.detail if problem.name == "invalid_event" else "is not JSON"])
        raise
    [outcome] = await services.writer.write(project_id, [event])
    if outcome.refused:
        services.told.add(project_id, 0, [outcome.refused])
        raise Problem(400, "invalid_event", outcome.refused)
    if outcome.conflict:
        services.told.add(project_id, 0, ["idempotencyKey was used with another body before"])
        raise Problem(409, "idempotency_conflict", "this idempotencyKey was used with another body before")
    # Without a key every call is a new event; its id can only be known from our own lost first try.
    duplicate = outcome.duplicate and event.idempotency is not None
    if duplicate:
        services.told.add(project_id, 1)
    return _json(EventAnswer(UUID(bytes=outcome.event_id), duplicate), 200 if duplicate else 201)


@post("/projects", status_code=201, summary="Create a project", tags=["management"])
async def new_project(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Create a project; the answer is the only time that its secret key is shown. Needs the admin token."""
    require_admin(request.headers.get("authorization"), services.admin_token)
    body = await decode_body(request, NewProject)
    async with services.pool.connection() as connection:
        project_id, secret_key = await create_project(
            connection, body.name, tuple(body.allowed_origins), actor="admin"
        )
    services.changed(project_id)
    return _json(NewProjectAnswer(project_id, secret_key), 201)


@post("/secret-keys/rotate", status_code=201, summary="Replace the secret key", tags=["management"])
async def rotate(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Issue a new secret key; every older one keeps working for 24 hours."""
    project_id = await _authenticate(request, services)
    async with services.pool.connection() as connection:
        issued = await rotate_key(connection, project_id, actor=ACTOR)
    services.changed(project_id)
    return _json(RotatedKey(issued.secret_key, issued.previous_keys_valid_until), 201)


@post("/experiments", status_code=201, summary="Create an experiment", tags=["experiments"])
async def new_experiment(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Create a draft: the documented Experiment less ids, with goals and an attribution window if wanted."""
    project_id = await _authenticate(request, services)
    body = await decode_body(request, NewExperiment)
    async with services.pool.connection() as connection:
        experiment = await create_experiment(connection, project_id, body, actor=ACTOR)
    services.changed(project_id)
    return _json(experiment, 201)


@get("/experiments", summary="All experiments of the project", tags=["experiments"])
async def experiments(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """All experiments of the project, the one changed last first."""
    project_id = await _authenticate(request, services)
    async with services.pool.connection() as connection:
        return _json({"experiments": await read_experiments(connection, project_id)}, 200)


@get("/experiments/{experiment_id:str}", summary="One experiment", tags=["experiments"])
async def one_experiment(
    request: AnyRequest, services: NamedDependency[Services], experiment_id: FromPath[str]
) -> Response[bytes]:
    """One experiment with its status, goals and epochs."""
    project_id = await _authenticate(request, services)
    async with services.pool.connection() as connection:
        experiment = await read_experiment(connection, project_id, parse_experiment_id(experiment_id))
    if experiment is None:
        raise refusals.ExperimentNotFound
    return _json(experiment, 200)


@patch("/experiments/{experiment_id:str}", summary="Change an experiment", tags=["experiments"])
async def patch_experiment(
    request: AnyRequest, services: NamedDependency[Services], experiment_id: FromPath[str]
) -> Response[bytes]:
    """Change what the body sets; once started, only name, hypothesis, traffic and weights can change."""
    project_id = await _authenticate(request, services)
    wanted = parse_experiment_id(experiment_id)
    body = await decode_body(request, ExperimentPatch)
    async with services.pool.connection() as connection:
        experiment = await change_experiment(connection, project_id, wanted, body, actor=ACTOR)
    services.changed(project_id)
    return _json(experiment, 200)


@post(
    "/experiments/{experiment_id:str}/{step:str}",
    summary="Start, pause, resume or stop",
    tags=["experiments"],
)
async def step_experiment(
    request: AnyRequest, services: NamedDependency[Services], experiment_id: FromPath[str], step: FromPath[str]
) -> Response[bytes]:
    """Take a step of the lifecycle: draft, running, paused, stopped; 409 names why one is forbidden."""
    project_id = await _authenticate(request, services)
    if step not in _COMMANDS:
        raise Problem(404, "not_found", f"there is no step {step!r}: use start, pause, resume or stop")
    experiment = await take_step(services, project_id, parse_experiment_id(experiment_id), step, ACTOR)
    return _json(experiment, 200)


async def take_step(
    services: Services, project_id: UUID, experiment_id: UUID, step: str, actor: str
) -> Experiment:
    """Start, pause, resume or stop an experiment."""

    def command(now: datetime) -> Command:
        return _COMMANDS[step](at=now, actor=actor)

    async with services.pool.connection() as connection:
        experiment = await execute(connection, project_id, experiment_id, command)
    services.changed(project_id)
    return experiment


async def decode_body(request: AnyRequest, kind: type[_Body]) -> _Body:
    """The body as one of our records; Problem 400 says what is wrong with it."""
    body = inflate(await request.body(), request.headers.get("content-encoding"))
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise not_usable(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json(body, error) from None


def parse_experiment_id(text: str) -> UUID:
    """An experiment's id from a path; what is no id names no experiment."""
    try:
        return UUID(text)
    except ValueError:
        raise refusals.ExperimentNotFound from None


def _json(value: object, status: int) -> Response[bytes]:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=headers)


async def _authenticate(request: AnyRequest, services: Services) -> UUID:
    async with services.pool.connection() as connection:
        return await authenticate(connection, request.headers.get("authorization"))


backend_router = Router(
    "/api/analytics",
    route_handlers=[
        server_event,
        new_project,
        rotate,
        new_experiment,
        experiments,
        one_experiment,
        patch_experiment,
        step_experiment,
    ],
)
