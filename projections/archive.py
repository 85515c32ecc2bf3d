"""The archive: months of the log that are over, written to files, proven, recorded, and only then dropped.

After each step the month is in the log or in files that were read back and follow from the hash
chain; a run that was interrupted anywhere is finished by the next one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from projections.archive_files import Manifest, read_checked
from projections.archive_write import PositionRange, write_range
from projections.archived_log import ArchiveError
from projections.log_months import closed_partitions
from projections.partitions import (
    Partition,
    alone,
    attach_again,
    detach,
    detached,
    drop,
)
from projections.queries import queries

# Steps that read the log are short; whatever else holds the table delays nobody for longer than this.
_LOCK_WAIT_MS = 1_000
_LOCK_TRIES = 20
_LOCK_PAUSE_SECONDS = 0.5


class ArchiveRunningError(ArchiveError):
    """Two at once would write the same files."""


class Archived(NamedTuple):
    """A partition that was archived and dropped: the events and bytes of the files written for it now."""

    table: str
    events: int
    file_bytes: int


async def archive_closed(
    connection: AsyncConnection[Any],
    directory: Path,
    now: datetime,
    before: datetime | None = None,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> AsyncIterator[Archived]:
    """Move closed partitions into files below `directory`, one after another.

    Needs a connection in autocommit. `on_progress` hears how many events more were written. Raises
    ArchiveError when something cannot be written or proven: that partition is still there then.
    """
    if not directory.is_dir():  # noqa: ASYNC240  (one look)
        raise ArchiveError(
            f"the archive directory {directory} does not exist: make it first (it is not made for you, "
            "because it may be a mount that is missing)"
        )
    async with alone(connection, "event_log") as is_alone:
        if not is_alone:
            raise ArchiveRunningError("another process archives or drops partitions of this database now")
        for table in await detached(connection, "event_log"):
            await _check_files(connection, directory, table)
            await _drop_archived(connection, table)
        for partition in await closed_partitions(connection, now, before):
            yield await _archive(connection, directory, partition, on_progress)


async def _archive(
    connection: AsyncConnection[Any], directory: Path, partition: Partition, on_progress: Callable[[int], None]
) -> Archived:
    events = file_bytes = 0
    if not partition.is_leaving:
        for missing in await _not_archived(connection, partition.table):
            place, manifest = await write_range(connection, directory, missing, on_progress)
            await _record(connection, place, manifest)
            events += missing.last - missing.first + 1
            file_bytes += sum(entry.bytes for entry in manifest.files)
    await _check_files(connection, directory, partition.table)
    await detach(connection, "event_log", partition)
    await _drop_archived(connection, partition.table)
    return Archived(partition.table, events, file_bytes)


async def _not_archived(connection: AsyncConnection[Any], table: str) -> list[PositionRange]:
    ranges = []
    query = SQL(queries("archive")["projects_in"]).format(table=Identifier(table))
    for project_id, first, last in await (await connection.execute(query)).fetchall():
        parameters = {"project_id": project_id}
        row = await (await connection.execute(queries("archive")["archived_until"], parameters)).fetchone()
        until = (row[0] if row else None) or 0
        if first > until + 1:
            raise ArchiveError(
                f"{table} begins at position {first} of project {project_id}, but what is before {first} "
                f"is archived up to {until} only"
            )
        if last > until:
            ranges.append(PositionRange(project_id, until + 1, last))
    return ranges


async def _record(connection: AsyncConnection[Any], place: str, manifest: Manifest) -> None:
    """From here on readers use the files; those at work finish first, with all of the log in its table."""
    for _ in range(_LOCK_TRIES):
        try:
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = {_LOCK_WAIT_MS}")
                await connection.execute(queries("archive")["let_readers_finish"])
                for entry in manifest.files:
                    await connection.execute(
                        queries("archive")["add_archived"],
                        {
                            "project_id": manifest.project_id,
                            "first_position": entry.first_position,
                            "last_position": entry.last_position,
                            "received_from": entry.received_from,
                            "received_until": entry.received_until,
                            "file": f"{place}/{entry.name}",
                            "file_bytes": entry.bytes,
                            "file_sha256": bytes.fromhex(entry.sha256),
                        },
                    )
                return
        except LockNotAvailable:
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
    raise ArchiveError("the archive is written, but long transactions read the log: run it again later")


async def _drop_archived(connection: AsyncConnection[Any], table: str) -> None:
    """Drop a detached table whose every row is archived."""
    if await _not_archived(connection, table):
        # A server whose clock runs behind wrote to a month that was over.
        await attach_again(connection, table)
        raise ArchiveError(f"{table} got events while it was being archived; it is attached again: run it again")
    await drop(connection, table)


async def _check_files(connection: AsyncConnection[Any], directory: Path, table: str) -> None:
    """Raise ArchiveError unless the files of what is archived of a table are there and unchanged."""
    query = SQL(queries("archive")["projects_in"]).format(table=Identifier(table))
    for project_id, first, last in await (await connection.execute(query)).fetchall():
        parameters = {"project_id": project_id, "first": first, "last": last}
        for file, sha256 in await (
            await connection.execute(queries("archive")["files_of"], parameters)
        ).fetchall():
            read_checked(directory / file, bytes(sha256))
