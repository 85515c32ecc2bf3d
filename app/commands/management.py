"""Commands that manage projects, keys and experiments."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec

from app.commands.session import Connection, find_project, parse_id, with_database
from app.experiments import create_experiment, documented, execute, read_experiments
from app.find_results import owner_of
from app.projects import create_project, read_projects
from app.script import render_async_snippet, render_snippet
from app.secret_keys import GRACE, rotate_key
from app.settings import Settings
from domain.experiment import (
    Command,
    Experiment,
    NewExperiment,
    PauseExperiment,
    ResumeExperiment,
    StartExperiment,
    StopExperiment,
)

ACTOR = "command line"


@click.group()
def project() -> None:
    """Projects."""


@project.command("create")
@click.argument("name")
@click.option("--origin", "origins", multiple=True, help="Allow browser events from this origin only; repeatable.")
@click.pass_obj
def create(settings: Settings, name: str, origins: tuple[str, ...]) -> None:
    """Create a project and show its secret key, this once."""

    async def work(connection: Connection, _url: str) -> tuple[str, str]:
        project_id, secret_key = await create_project(connection, name, origins, actor=ACTOR)
        return str(project_id), secret_key

    project_id, secret_key = with_database(settings, work)
    click.echo(f"project id  {project_id}")
    click.echo(f"secret key  {secret_key}")
    click.echo("The secret key is shown only now.", err=True)


@project.command("list")
@click.pass_obj
def list_projects(settings: Settings) -> None:
    """List all projects."""

    async def work(connection: Connection, _url: str) -> list[tuple[str, str]]:
        return [(str(known.project_id), known.name) for known in await read_projects(connection)]

    for project_id, name in with_database(settings, work):
        click.echo(f"{project_id}  {name}")


@project.command("snippet")
@click.argument("project_name", metavar="PROJECT")
@click.option("--async", "is_async", is_flag=True, help="Do not hold up the page; hides what may change, briefly.")
@click.pass_obj
def snippet(settings: Settings, project_name: str, *, is_async: bool) -> None:
    """Print what a page puts first into its head."""

    async def work(connection: Connection, _url: str) -> str:
        found = await find_project(connection, project_name)
        project_id, base_url = (
            str(found.project_id),
            settings.public_url or f"http://{settings.host}:{settings.port}",
        )
        if not is_async:
            return render_snippet(project_id, base_url)
        running = await read_experiments(connection, found.project_id, running_only=True)
        return render_async_snippet(project_id, base_url, [documented(each) for each in running])

    click.echo(with_database(settings, work))


@click.group()
def key() -> None:
    """Secret keys."""


@key.command("rotate")
@click.argument("project_name", metavar="PROJECT")
@click.option("--at-once", is_flag=True, help="The older ones stop at once, as after a leak.")
@click.pass_obj
def rotate(settings: Settings, project_name: str, *, at_once: bool) -> None:
    """Issue a new secret key; the older ones work for 24 hours more."""
    grace = timedelta(0) if at_once else GRACE

    async def work(connection: Connection, _url: str) -> tuple[str, datetime]:
        found = await find_project(connection, project_name)
        return await rotate_key(connection, found.project_id, actor=ACTOR, grace=grace)

    secret_key, valid_until = with_database(settings, work)
    click.echo(f"secret key  {secret_key}")
    click.echo(f"older keys work until {valid_until.isoformat(timespec='seconds')}", err=True)


@click.group()
def experiment() -> None:
    """Experiments."""


@experiment.command("create")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--project", "project_name", help="Id or name; not needed when there is only one.")
@click.pass_obj
def create_from_file(settings: Settings, file: Path, project_name: str | None) -> None:
    """Create a draft from a JSON file (`-` reads standard input)."""
    text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        body = msgspec.json.decode(text, type=NewExperiment)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{file} does not describe an experiment: {error}") from None

    async def work(connection: Connection, _url: str) -> Experiment:
        found = await find_project(connection, project_name)
        return await create_experiment(connection, found.project_id, body, actor=ACTOR)

    _show(with_database(settings, work))


@experiment.command("list")
@click.option("--project", "project_name", help="Id or name; without it all projects.")
@click.pass_obj
def list_experiments(settings: Settings, project_name: str | None) -> None:
    """List experiments, the one changed last first."""

    async def work(connection: Connection, _url: str) -> list[Experiment]:
        if project_name is None:
            projects = await read_projects(connection)
        else:
            projects = [await find_project(connection, project_name)]
        return [found for owner in projects for found in await read_experiments(connection, owner.project_id)]

    for found in with_database(settings, work):
        click.echo(f"{found.id}  {found.status:8}  {found.name}")


def _step(name: str, command: type[StartExperiment | PauseExperiment | ResumeExperiment | StopExperiment]) -> None:
    @experiment.command(name, help=f"{name.capitalize()} an experiment.")
    @click.argument("experiment_id", metavar="EXPERIMENT")
    @click.pass_obj
    def step(settings: Settings, experiment_id: str) -> None:
        wanted = parse_id(experiment_id)

        def decided(now: datetime) -> Command:
            return command(at=now, actor=ACTOR)

        async def work(connection: Connection, _url: str) -> Experiment:
            return await execute(connection, await owner_of(connection, wanted), wanted, decided)

        _show(with_database(settings, work))


for _name, _command in (
    ("start", StartExperiment),
    ("pause", PauseExperiment),
    ("resume", ResumeExperiment),
    ("stop", StopExperiment),
):
    _step(_name, _command)


def _show(found: Experiment) -> None:
    click.echo(f"{found.id}  {found.status:8}  {found.name}")
