"""Months of the log and of the ledger: made ahead of time, made when one is missing, dropped when forgotten.

The log is partitioned by the time of receipt, the ledger by the events' own time, which is in front
of their ids. What is attached is read from the catalog: a migrated database may have one partition
that spans many months.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import CheckViolation
from psycopg.sql import SQL, Identifier
from psycopg.sql import Literal as SqlLiteral

from projections.event_ids import first_id_of, time_of
from projections.queries import queries

Parent = Literal["event_log", "event_ledger"]

# Which events are accepted where nobody says otherwise.
LEDGER_PAST = timedelta(days=30)
LEDGER_FUTURE = timedelta(days=1)
MONTHS_AHEAD = 2
# Ids stay known for this much longer than their events are accepted: clocks differ, requests queue.
LEDGER_MARGIN = timedelta(days=2)
# Far more than any horizon asks for: where it is exceeded, ids are not what they should be.
MONTHS_AT_ONCE_MAX = 200

_ADDING_LOCK = 7_306_087_157
_DROPPING_LOCKS: dict[Parent, int] = {"event_log": 7_306_087_158, "event_ledger": 7_306_087_159}
_NAMES_MAX = 100


class Partition(NamedTuple):
    """An attached partition; `is_leaving` when a detach was begun and not finished."""

    table: str
    begin: datetime
    end: datetime
    is_leaving: bool


class ForgottenError(Exception):
    """Whether some event of an append is known cannot be told: ids of its time were dropped."""

    def __init__(self, before: datetime) -> None:
        super().__init__(f"ids before {before:%Y-%m-%d} were dropped from the ledger")
        self._before = before

    def covers(self, event_id: bytes) -> bool:
        """Whether an id is of that time."""
        return time_of(event_id) < self._before


async def ensure_partitions(
    connection: AsyncConnection[Any],
    now: datetime,
    past: timedelta = LEDGER_PAST,
    future: timedelta = LEDGER_FUTURE,
) -> list[str]:
    """Make the months that events received or accepted from now on need; the tables made.

    `past` and `future` say how old and how far ahead accepted events may be.
    """
    ahead = _next_month(_next_month(now))
    horizon = [*_months(now - past, _next_month(_next_month(now + future)))]
    return await _ensure(connection, [*_months(now, ahead)], horizon)


async def make_room(
    connection: AsyncConnection[Any], ids: Iterable[bytes], times: Iterable[datetime]
) -> list[str]:
    """Make the months of these ids and of these times of receipt; the tables made.

    For an append that found no partition: after months without `ensure_partitions`, or a clock that
    stepped. Raises ForgottenError when the ledger has dropped ids of such a month.
    """
    ledger = {month_of(time_of(event_id)) for event_id in ids}
    forgotten = await forgotten_before(connection)
    if forgotten is not None and ledger and min(ledger) < forgotten:
        raise ForgottenError(forgotten)
    return await _ensure(connection, sorted({month_of(time) for time in times}), sorted(ledger))


def lacks_partition(error: CheckViolation) -> bool:
    """Whether a row found no partition, rather than broke a rule of its table."""
    return error.diag.constraint_name is None


async def log_partitions(connection: AsyncConnection[Any]) -> list[Partition]:
    """The log's attached partitions, oldest first."""
    return await _partitions(connection, "event_log")


async def forget_old_ids(
    connection: AsyncConnection[Any], now: datetime, past: timedelta = LEDGER_PAST
) -> list[str]:
    """Drop the ledger's oldest partition if its events are refused as too old by now; the tables dropped.

    Dedupe stays exact: from before the drop, events of that time are refused whatever the clock says.
    Therefore it is one partition a day, which bounds what a clock that is far ahead can do. Needs a
    connection in autocommit; only one process at a time does it.
    """
    async with alone(connection, "event_ledger") as is_alone:
        if not is_alone:
            return []
        for partition in (await _partitions(connection, "event_ledger"))[:1]:
            if partition.end <= now - past - LEDGER_MARGIN and await _may_forget(connection, partition):
                await connection.execute(queries("partitions")["forget_before"], {"before": partition.end})
                await detach(connection, "event_ledger", partition)
        dropped = await detached(connection, "event_ledger")
        for table in dropped:
            await drop(connection, table)
        return dropped


async def _may_forget(connection: AsyncConnection[Any], partition: Partition) -> bool:
    if partition.is_leaving:
        return True
    row = await (await connection.execute(queries("partitions")["forgot_today"])).fetchone()
    return not (row and row[0])


@asynccontextmanager
async def alone(connection: AsyncConnection[Any], parent: Parent) -> AsyncIterator[bool]:
    """Whether this process may take partitions out now; the others wait for another time."""
    lock = (_DROPPING_LOCKS[parent],)
    row = await (await connection.execute("select pg_try_advisory_lock(%s)", lock)).fetchone()
    is_alone = bool(row and row[0])
    try:
        yield is_alone
    finally:
        if is_alone and not connection.closed:
            await connection.execute("select pg_advisory_unlock(%s)", lock)


async def forgotten_before(connection: AsyncConnection[Any]) -> datetime | None:
    """Until when the ledger has dropped ids; None when it has all."""
    row = await (await connection.execute(queries("partitions")["forgotten_before"])).fetchone()
    return row[0] if row else None


async def detach(connection: AsyncConnection[Any], parent: Parent, partition: Partition) -> None:
    """Take a partition out without holding up writers; goes on with a detach that was interrupted.

    Needs a connection in autocommit. Waits for transactions that began before; on Citus writers wait too.
    """
    row = await (await connection.execute(queries("partitions")["is_on_citus"])).fetchone()
    beside_writers = SQL("") if row and row[0] else SQL("concurrently")
    how = SQL("finalize") if partition.is_leaving else beside_writers
    await connection.execute(
        SQL("alter table public.{} detach partition public.{} {}").format(
            Identifier(parent), Identifier(partition.table), how
        )
    )


async def detached(connection: AsyncConnection[Any], parent: Parent) -> list[str]:
    """Tables that were partitions, which nobody reads any more."""
    cursor = await connection.execute(queries("partitions")["detached"], {"parent": parent})
    return [table for (table,) in await cursor.fetchall()]


async def attach_again(connection: AsyncConnection[Any], table: str) -> None:
    """Put a table of the log back that was detached, for the months of its rows."""
    query = SQL(queries("partitions")["span_of"]).format(table=Identifier(table))
    row = await (await connection.execute(query)).fetchone()
    if row and row[0]:
        await _attach(connection, "event_log", table, month_of(row[0]), _next_month(row[1]))


async def drop(connection: AsyncConnection[Any], table: str) -> None:
    """Drop a table that was detached."""
    await connection.execute(SQL("drop table public.{}").format(Identifier(table)))


def month_of(time: datetime) -> datetime:
    """When the month of a time began, in UTC."""
    return time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(time: datetime) -> datetime:
    return month_of(month_of(time) + timedelta(days=32))


def _months(begin: datetime, end: datetime) -> Iterable[datetime]:
    month = month_of(begin)
    while month <= end:
        yield month
        month = _next_month(month)


async def _ensure(connection: AsyncConnection[Any], log: list[datetime], ledger: list[datetime]) -> list[str]:
    wanted: list[tuple[Parent, list[datetime]]] = [("event_log", log), ("event_ledger", ledger)]
    if not [month for parent, months in wanted for month in await _missing(connection, parent, months)]:
        return []
    made = []
    async with connection.transaction():
        # To attach takes no lock that a writer would wait for, but on Citus.
        # Two at once would make the same table.
        await connection.execute("select pg_advisory_xact_lock(%s)", (_ADDING_LOCK,))
        for parent, months in wanted:
            for month in await _missing(connection, parent, months):
                made.append(await _add(connection, parent, month))  # noqa: PERF401  (one after another)
    return made


async def _missing(connection: AsyncConnection[Any], parent: Parent, months: list[datetime]) -> list[datetime]:
    known = await _partitions(connection, parent)
    forgotten = await forgotten_before(connection) if parent == "event_ledger" else None
    missing = [
        month
        for month in months
        if not any(partition.begin <= month < partition.end for partition in known)
        and (forgotten is None or month >= forgotten)
    ]
    if len(missing) > MONTHS_AT_ONCE_MAX:
        raise ValueError(f"{parent} would need {len(missing)} partitions more")
    return missing


async def _partitions(connection: AsyncConnection[Any], parent: Parent) -> list[Partition]:
    query = queries("partitions")["log_partitions" if parent == "event_log" else "ledger_partitions"]
    return [Partition(*row) for row in await (await connection.execute(query)).fetchall()]


async def _add(connection: AsyncConnection[Any], parent: Parent, month: datetime) -> str:
    table = await _free_name(connection, f"{parent}_{month:%Y_%m}")
    await connection.execute(
        SQL("create table public.{} (like public.{} including defaults including constraints)").format(
            Identifier(table), Identifier(parent)
        )
    )
    await _attach(connection, parent, table, month, _next_month(month))
    return table


async def _attach(
    connection: AsyncConnection[Any], parent: Parent, table: str, begin: datetime, end: datetime
) -> None:
    bounds = [time.isoformat() if parent == "event_log" else first_id_of(time).hex() for time in (begin, end)]
    await connection.execute(
        SQL("alter table public.{} attach partition public.{} for values from ({}) to ({})").format(
            Identifier(parent), Identifier(table), *map(SqlLiteral, bounds)
        )
    )


async def _free_name(connection: AsyncConnection[Any], name: str) -> str:
    """The name, or one with a number behind it while a detached table of that name waits to be dropped."""
    cursor = await connection.execute(queries("partitions")["tables_named"], {"pattern": f"{name}%"})
    taken = {row[0] for row in await cursor.fetchall()}
    return next(
        candidate
        for candidate in (name, *(f"{name}_{number}" for number in range(2, _NAMES_MAX)))
        if candidate not in taken
    )
