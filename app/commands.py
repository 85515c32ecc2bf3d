"""What `prooflog` can do from a shell; exit code 0, 1 failed, 2 wrong usage."""

import asyncio
import logging
import os
import socket

import click

from app.database import database_url, prepare_database
from app.main import VERSION
from app.serve import admin_token, run_process, run_worker
from app.serve import serve as serve_forever
from app.settings import Settings, read_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="prooflog")
@click.pass_context
def main(context: click.Context) -> None:
    """Event-sourced experimentation: results that are right, provable and fast."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        context.obj = read_settings()
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@click.option("--demo/--no-demo", default=True, help="Seed a demo project at first start.")
@click.option("--worker/--no-worker", default=True, help="Project in this process too.")
@click.pass_obj
def serve(settings: Settings, *, demo: bool, worker: bool) -> None:
    """Serve HTTP, with projections, until Ctrl-C."""

    def ready(address: str) -> None:
        click.echo(f"prooflog listens on {address}")

    serve_forever(settings, with_worker=worker, on_ready=ready)


@main.command(hidden=True)
@click.option("--socket", "descriptor", type=int, required=True)
@click.pass_obj
def process(settings: Settings, descriptor: int) -> None:
    """One HTTP process of several, on a socket inherited from `serve`."""
    listener = socket.socket(fileno=descriptor)
    run_process(settings, os.environ["PROOFLOG_DATABASE_URL"], admin_token(settings), listener, with_worker=False)


@main.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Keep the projections close behind the log, until Ctrl-C."""
    url, embedded = database_url(settings)
    try:
        asyncio.run(prepare_database(url))
        asyncio.run(run_worker(url))
    finally:
        if embedded is not None:
            embedded.close()
