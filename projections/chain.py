"""The hash chain over the log: computed anew from the stored rows, it shows any row that was changed."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.archived_log import show_log
from projections.event_log import ROW_FIELDS_HASHED, chain_digest
from projections.queries import queries

BATCHES_AT_ONCE = 500

_COPY_HEADER_BYTES = 19


class ChainReport(NamedTuple):
    """How much of a log was checked, and what is wrong with it, if anything."""

    batches: int
    events: int
    fault: str | None


async def verify_chain(
    connection: AsyncConnection[Any],
    project_id: UUID,
    on_progress: Callable[[int], None] = lambda _position: None,
    archive: Path | None = None,
) -> ChainReport:
    """Check that positions are dense, that no row is missing, and that every digest follows from the rows."""
    previous, position, batches = bytes(32), 0, 0
    while True:
        async with connection.transaction():
            shown_until = await show_log(connection, project_id, position + 1, archive)
            found = await _batches(connection, project_id, position, shown_until)
            if not found:
                return ChainReport(batches, position, await _beyond(connection, project_id, position))
            rows = await stored_rows(connection, project_id, position, found[-1][0] + found[-1][1] - 1)
        at = 0
        for first, count, received, digest in found:
            if first != position + 1:
                return ChainReport(batches, position, f"positions {position + 1} to {first - 1} are missing")
            batch, at = rows[at : at + count], at + count
            previous = chain_digest(previous, project_id, first, received, batch)
            if len(batch) != count or previous != bytes(digest):
                fault = f"positions {first} to {first + count - 1} are not what was written"
                return ChainReport(batches, position, fault)
            position, batches = first + count - 1, batches + 1
        on_progress(position)


async def _batches(
    connection: AsyncConnection[Any], project_id: UUID, after: int, shown_until: int | None
) -> list[Any]:
    parameters = {"project_id": project_id, "after": after, "batches_max": BATCHES_AT_ONCE}
    found = await (await connection.execute(queries("event_log")["batches_after"], parameters)).fetchall()
    if shown_until is None:
        return found
    return found[:1] + [batch for batch in found[1:] if batch[0] <= shown_until]


async def _beyond(connection: AsyncConnection[Any], project_id: UUID, position: int) -> str | None:
    parameters = {"project_id": project_id, "after": position}
    row = await (await connection.execute(queries("event_log")["first_after"], parameters)).fetchone()
    return f"position {row[0]} belongs to no batch" if row and row[0] is not None else None


async def stored_rows(connection: AsyncConnection[Any], project_id: UUID, after: int, until: int) -> list[bytes]:
    """What follows received_at in each stored row, in PostgreSQL's own binary form."""
    parameters = {"project_id": project_id, "after": after, "until": until}
    async with (
        connection.cursor() as cursor,
        cursor.copy(queries("event_log")["copy_out"], parameters) as copy,
    ):
        data = b"".join([bytes(part) async for part in copy])
    rows, at = [], _COPY_HEADER_BYTES
    while struct.unpack_from(">h", data, at)[0] != -1:
        begin = at = at + 2
        for _ in range(ROW_FIELDS_HASHED):
            at += 4 + max(0, struct.unpack_from(">i", data, at)[0])
        rows.append(data[begin:at])
    return rows
