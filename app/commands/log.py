"""Commands that look after the event log: proof, partitions, archive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from app.commands.session import Connection, with_database
from app.progress import progress
from app.settings import Settings
from projections import generations
from projections.archived_log import ArchiveError
from projections.chain import knows_digest, verify_chain
from projections.log_months import PartitionSize, closed_partitions, sizes


@click.group()
def log() -> None:
    """The event log."""


@log.command("verify")
@click.option(
    "--noted",
    metavar="DIGEST",
    multiple=True,
    help="A digest that an earlier run showed, kept elsewhere: the log must go on from there; repeatable.",
)
@click.pass_obj
def verify(settings: Settings, noted: tuple[str, ...]) -> None:
    """Check that positions are dense and that the hash chain follows from the rows; exit code 1 when not.

    Who may write to the database could make a whole chain anew: only a digest kept elsewhere shows that.
    """

    async def work(connection: Connection, _url: str) -> bool:
        intact = True
        for found in await generations.logs(connection):
            name = found.name or "(no project)"
            try:
                with progress(f"checking {name}", found.head) as advance:
                    report = await verify_chain(connection, found.project_id, advance, settings.archive_dir)
            except ArchiveError as error:  # the other logs are looked at all the same
                click.echo(f"{found.project_id}  {error}  {name}")
                intact = False
                continue
            fault = report.fault
            if fault is None and report.events < found.counted:
                fault = f"events up to {found.counted} were counted, and the log ends before"
            if fault is None and found.name is None:
                fault = "the log follows from its rows, and its project is gone from the table project"
            click.echo(
                f"{found.project_id}  {report.events} events in {report.batches} batches"
                f"  {fault or 'intact'}  {report.digest.hex()}  {name}"
            )
            intact = intact and fault is None
        for digest in noted:
            if not await knows_digest(connection, digest):
                click.echo(f"{digest} is the digest of no batch: the log is not the one that showed it")
                intact = False
        return intact

    if not with_database(settings, work):
        raise click.exceptions.Exit(1)


@log.command("partitions")
@click.pass_obj
def partitions(settings: Settings) -> None:
    """List the months of the log: what they hold, and whether it is in the database or archived."""

    async def work(connection: Connection, _url: str) -> list[PartitionSize]:
        return await sizes(connection)

    for size in with_database(settings, work):
        click.echo(
            f"{size.begin:%Y-%m-%d} to {size.end:%Y-%m-%d}  {size.events:>12} events"
            f"  {size.size_bytes / 1e6:>10.1f} MB  {size.state}"
        )


@log.command("archive")
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only months that ended by this day (UTC). Default: PROOFLOG_RETENTION_DAYS ago, or all that are over.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be archived, and change nothing.")
@click.pass_obj
def archive(settings: Settings, before: datetime | None, *, dry_run: bool) -> None:
    """Move months that are over into files under PROOFLOG_ARCHIVE_DIR, prove them, and drop them here."""
    directory = settings.archive_dir
    if directory is None:
        raise click.UsageError("set PROOFLOG_ARCHIVE_DIR: where should archived events be?")
    now = datetime.now(UTC)
    until = None if before is None else before.replace(tzinfo=UTC)
    if until is None and settings.retention_days is not None:
        until = now - timedelta(days=settings.retention_days)

    async def work(connection: Connection, _url: str) -> int:
        closed = await closed_partitions(connection, now, until)
        found = [size for size in await sizes(connection) if size.begin in {month.begin for month in closed}]
        if dry_run:
            for size in found:
                click.echo(f"would archive {size.begin:%Y-%m-%d} to {size.end:%Y-%m-%d}, {size.events} events")
            return len(found)
        return await _archive(connection, directory, now, until, sum(size.events for size in found))

    if not with_database(settings, work):
        click.echo("there is nothing to archive")


async def _archive(
    connection: Connection, directory: Path, now: datetime, until: datetime | None, events: int
) -> int:
    from projections.archive import archive_closed  # noqa: PLC0415  (slow to import)

    months = written = 0
    with progress("archiving", events) as advance:

        def on_progress(count: int) -> None:
            nonlocal written
            written += count
            advance(written)

        async for archived in archive_closed(connection, directory, now, until, on_progress):
            months += 1
            click.echo(
                f"archived {archived.table}: {archived.events} events, {archived.file_bytes / 1e6:.1f} MB written"
            )
    return months
