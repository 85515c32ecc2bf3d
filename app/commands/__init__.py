"""What `prooflog` can do from a shell; exit code 0, 1 failed, 2 wrong usage."""

import logging

import click

from app.commands import analysis, log, management, people, serving
from app.main import VERSION
from app.settings import read_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="prooflog")
@click.pass_context
def main(context: click.Context) -> None:
    """Event-sourced experimentation: results that are right, provable and fast."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        context.obj = read_settings()
    except ValueError as error:
        raise click.UsageError(str(error)) from None


for command in (
    serving.serve,
    serving.process,
    serving.worker,
    serving.demo,
    serving.migrate,
    management.project,
    management.key,
    management.experiment,
    people.user,
    analysis.results,
    analysis.projections,
    log.log,
    analysis.simulate,
    analysis.export,
    analysis.power,
):
    main.add_command(command)
