"""The months of the log: what they hold, where that is, and which of them are over."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from projections.partitions import Partition, log_partitions
from projections.queries import queries

# A month is over some time after its end: clocks differ, and a commit may be under way.
CLOSED_AFTER = timedelta(days=2)


class PartitionSize(NamedTuple):
    """What a span of the log holds, and where that is: attached, detaching, archived, or both."""

    begin: datetime
    end: datetime
    events: int
    size_bytes: int
    state: str


async def sizes(connection: AsyncConnection[Any]) -> list[PartitionSize]:
    """The log by months, oldest first: what is archived, then what is in the database."""
    sql = queries("archive")
    found = [
        PartitionSize(begin, end, events, size_bytes, "archived")
        for begin, end, events, size_bytes in await (await connection.execute(sql["archived_months"])).fetchall()
    ]
    for partition in await log_partitions(connection):
        parameters = partition._asdict()
        row: Any = await (await connection.execute(sql["attached_size"], parameters)).fetchone()
        events, archived, size_bytes = row
        state = "detaching" if partition.is_leaving else "attached"
        if archived:
            state = f"{state}, {archived} events archived too"
        found.append(PartitionSize(partition.begin, partition.end, events, size_bytes, state))
    return found


async def closed_partitions(
    connection: AsyncConnection[Any], now: datetime, before: datetime | None = None
) -> list[Partition]:
    """The log's partitions that are over, oldest first; with `before` only those that ended until then."""
    until = now - CLOSED_AFTER
    if before is not None:
        until = min(until, before)
    return [partition for partition in await log_partitions(connection) if partition.end <= until]
