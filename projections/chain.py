"""The hash chain over the log: computed anew from the stored rows, it shows any row that was changed."""

import hashlib
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.archived_log import show_log
from projections.event_log import ROW_FIELDS_HASHED, postgres_us
from projections.queries import queries

# What is held in memory at once; a batch alone may hold some megabytes.
BATCHES_AT_ONCE = 100
EVENTS_AT_ONCE = 20_000

_COPY_HEADER_BYTES = 19
# The number of fields, then position and received_at, each behind its length.
_ROW_START = struct.Struct(">hiqiq")


class StoredRow(NamedTuple):
    """A row of the log: where it stands, when it was received (as `postgres_us`), and its other fields."""

    position: int
    received_us: int
    row: bytes


class ChainReport(NamedTuple):
    """How much of a log was checked, what is wrong with it, if anything, and the digest of what is right."""

    batches: int
    events: int
    fault: str | None
    digest: bytes


async def verify_chain(
    connection: AsyncConnection[Any],
    project_id: UUID,
    on_progress: Callable[[int], None] = lambda _position: None,
    archive: Path | None = None,
) -> ChainReport:
    """Check that positions are dense, that no row is missing or too many, and that every digest follows."""
    previous, position, batches = bytes(32), 0, 0

    def report(fault: str | None) -> ChainReport:
        return ChainReport(batches, position, fault, previous)

    while True:
        async with connection.transaction():
            shown_until = await show_log(connection, project_id, position + 1, archive)
            found = await _batches(connection, project_id, position, shown_until)
            if not found:
                return report(await _outside(connection, project_id))
            rows = await stored_rows(connection, project_id, position, found[-1][0] + found[-1][1] - 1)
        at = 0
        for first, count, received, digest in found:
            if first != position + 1:
                return report(f"positions {position + 1} to {first - 1} are missing")
            batch, at = rows[at : at + count], at + count
            if not follows(previous, project_id, first, count, received, bytes(digest), batch):
                return report(f"positions {first} to {first + count - 1} are not what was written")
            previous, position, batches = bytes(digest), first + count - 1, batches + 1
        if at < len(rows):
            return report(f"position {rows[at].position} is there more than once")
        on_progress(position)


def follows(
    previous: bytes,
    project_id: UUID,
    first_position: int,
    count: int,
    received: datetime,
    digest: bytes,
    rows: Sequence[StoredRow],
) -> bool:
    """Whether rows are those of a batch: as many, each in its place and of its time, with the batch's digest."""
    received_us = postgres_us(received)
    return (
        len(rows) == count
        and all(row[:2] == (position, received_us) for position, row in enumerate(rows, first_position))
        and digest == chain_digest(previous, project_id, first_position, received, [row.row for row in rows])
    )


def chain_digest(
    previous: bytes, project_id: UUID, first_position: int, received: datetime, rows: Sequence[bytes]
) -> bytes:
    """The digest of a batch: sha256 over the digest before it, its place, its time and its rows.

    For writers `batch_digest` computes the same, where the log is (migrations/0008).
    """
    content = hashlib.sha256(b"".join(rows)).digest()
    place = struct.pack(">qqq", first_position, len(rows), postgres_us(received))
    return hashlib.sha256(previous + project_id.bytes + place + content).digest()


async def knows_digest(connection: AsyncConnection[Any], digest: str) -> bool:
    """Whether some batch has a digest (hexadecimal): then all before it is as it was, if the chain is intact."""
    row = await (await connection.execute(queries("event_log")["digest_known"], {"digest": digest})).fetchone()
    return bool(row and row[0])


async def _batches(
    connection: AsyncConnection[Any], project_id: UUID, after: int, shown_until: int | None
) -> list[Any]:
    parameters = {"project_id": project_id, "after": after, "batches_max": BATCHES_AT_ONCE}
    found = await (await connection.execute(queries("event_log")["batches_after"], parameters)).fetchall()
    events = 0
    taken: list[Any] = []
    for batch in found:
        events += batch[1]
        beyond = events > EVENTS_AT_ONCE or (shown_until is not None and batch[0] > shown_until)
        if taken and beyond:
            break
        taken.append(batch)
    return taken


async def _outside(connection: AsyncConnection[Any], project_id: UUID) -> str | None:
    parameters = {"project_id": project_id}
    row = await (await connection.execute(queries("event_log")["first_outside"], parameters)).fetchone()
    return f"position {row[0]} belongs to no batch" if row and row[0] is not None else None


async def stored_rows(
    connection: AsyncConnection[Any], project_id: UUID, after: int, until: int
) -> list[StoredRow]:
    """The rows of a range of positions in order, their fields in PostgreSQL's own binary form."""
    parameters = {"project_id": project_id, "after": after, "until": until}
    async with (
        connection.cursor() as cursor,
        cursor.copy(queries("event_log")["copy_out"], parameters) as copy,
    ):
        data = b"".join([bytes(part) async for part in copy])
    rows, at = [], _COPY_HEADER_BYTES
    while struct.unpack_from(">h", data, at)[0] != -1:
        _, _, position, _, received_us = _ROW_START.unpack_from(data, at)
        begin = at = at + _ROW_START.size
        for _ in range(ROW_FIELDS_HASHED):
            at += 4 + max(0, struct.unpack_from(">i", data, at)[0])
        rows.append(StoredRow(position, received_us, data[begin:at]))
    return rows
