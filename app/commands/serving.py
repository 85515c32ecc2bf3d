"""Commands that run or prepare the server."""

import asyncio
import os
import socket
import subprocess
import sys

import click

from app.commands.session import Connection, told_in_one_line, with_database
from app.database import database_url, prepare_database
from app.demo import BASELINE, TRUE_LIFT, VISITORS, Demo, ensure_demo
from app.main import create_app
from app.serve import admin_token, end_with_parent, run_process, run_worker
from app.serve import serve as serve_forever
from app.settings import Settings


@click.command()
@click.option("--demo/--no-demo", "with_demo", default=True, help="Seed a demo project at first start.")
@click.option("--worker/--no-worker", default=True, help="Project here too, or leave it to `prooflog worker`.")
@click.pass_obj
def serve(settings: Settings, *, with_demo: bool, worker: bool) -> None:
    """Serve HTTP, with projections, until Ctrl-C."""
    made: list[Demo] = []
    visitors: list[subprocess.Popen[bytes]] = []

    async def prepare(connection: Connection) -> None:
        if with_demo:
            demo, is_new = await ensure_demo(connection, settings.data_dir)
            if is_new:
                made.append(demo)

    def ready(address: str) -> None:
        _welcome(settings, address, with_demo=with_demo)
        if made:
            click.echo(f"  {VISITORS} simulated visitors arrive now, with a true lift of {TRUE_LIFT:+.0%}")
            visitors.append(_send_visitors(address, made[0]))

    try:
        with told_in_one_line():
            serve_forever(settings, with_worker=worker, prepare=prepare, on_ready=ready)
    finally:
        for process_ in visitors:
            process_.terminate()
            process_.wait()
        if sys.exc_info()[0] is SystemExit:
            click.echo("stopped")


@click.command(hidden=True)
@click.option("--socket", "descriptor", type=int, required=True)
@click.option("--parent", type=int, required=True)
@click.pass_obj
def process(settings: Settings, descriptor: int, parent: int) -> None:
    """One HTTP process of several, on a socket inherited from `serve`."""
    end_with_parent(parent)
    listener = socket.socket(fileno=descriptor)
    url = os.environ["PROOFLOG_DATABASE_URL"]
    run_process(create_app(settings, url, admin_token(settings), with_worker=False), listener, settings)


@click.command()
@click.option("--parent", type=int, hidden=True)
@click.pass_obj
def worker(settings: Settings, parent: int | None) -> None:
    """Keep the projections close behind the log, until Ctrl-C."""
    if parent is not None:
        end_with_parent(parent)
    with told_in_one_line():
        url, embedded = database_url(settings)
        try:
            asyncio.run(prepare_database(url, settings.allow_unsafe, settings.archive_dir))
            click.echo("projecting")
            asyncio.run(run_worker(url, settings))
        finally:
            if embedded is not None:
                embedded.close()


@click.command()
@click.pass_obj
def demo(settings: Settings) -> None:
    """Make the demo project with its running experiment, if it is not there yet."""

    async def work(connection: Connection, _url: str) -> tuple[Demo, bool]:
        return await ensure_demo(connection, settings.data_dir)

    made, is_new = with_database(settings, work)
    click.echo("made the demo project" if is_new else "the demo project is there already")
    click.echo(f"  project     {made.project_id}")
    click.echo(f"  experiment  {made.experiment_id}")
    click.echo("start `prooflog serve`, open /demo, or send visitors with `prooflog simulate`")


@click.command()
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema."""
    with told_in_one_line():
        url, embedded = database_url(settings)
        try:
            applied = asyncio.run(prepare_database(url, settings.allow_unsafe, settings.archive_dir))
        finally:
            if embedded is not None:
                embedded.close()
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the schema is the newest already")


def _welcome(settings: Settings, address: str, *, with_demo: bool) -> None:
    click.echo("prooflog is running; Ctrl-C stops everything")
    click.echo(f"  dashboard  {address}/dashboard")
    if with_demo:
        click.echo(f"  demo shop  {address}/demo")
    click.echo(f"  API docs   {address}/schema")
    if settings.admin_token:
        click.echo("  log in with the admin token in PROOFLOG_ADMIN_TOKEN")
    else:
        click.echo(f"  log in with the admin token {admin_token(settings)}")
        click.echo(f"  (kept in {settings.data_dir / 'admin-token'})")


def _send_visitors(address: str, made: Demo) -> subprocess.Popen[bytes]:
    arguments = [
        *("--url", address, "--project", str(made.project_id), "--experiment", str(made.experiment_id)),
        *("--visitors", str(VISITORS), "--baseline", str(BASELINE), "--lift", str(TRUE_LIFT), "--quiet"),
    ]
    environment = {**os.environ, "PROOFLOG_SECRET_KEY": made.secret_key}
    return subprocess.Popen(  # noqa: S603  (our own command)
        [sys.executable, "-m", "app", "simulate", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
