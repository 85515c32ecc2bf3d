"""Generations: complete sets of derived tables, each in a schema of its own; one of them is live.

A rebuild fills a new generation beside the live one, compares both at an equal position and flips.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, LiteralString, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from projections import steps
from projections.archived_log import ArchiveError
from projections.catch_up import (
    OWN_TABLES,
    TEMPORARY,
    LogGapError,
    Progress,
    catch_up,
    create_staging,
    create_tables,
    derived_tables,
    past_tables,
    replay,
    use_schema,
)
from projections.comparison import Difference, compare
from projections.event_log import read_head
from projections.queries import queries
from projections.registry import LAYOUT

_GENERATION_LOCK = 7_306_087_156
FLIP_TRIES = 5
_Answer = TypeVar("_Answer")


class OtherLayoutError(Exception):
    """The live tables are those of another version: what is read there may mean something else than it seems."""

    def __init__(self, layout: int) -> None:
        which = (
            "a newer version of prooflog: replace this server"
            if layout > LAYOUT
            else "an older version of prooflog: start this one again"
        )
        super().__init__(f"results stand in tables of {which}, or run `prooflog projections rebuild` with it")


class RebuildRunningError(Exception):
    """Two rebuilds at once would only wait for each other."""


class ProjectStatus(NamedTuple):
    """How far a project's derived tables are behind its log."""

    project_id: UUID
    name: str
    position: int
    head: int
    waiting_since: datetime | None


class Log(NamedTuple):
    """A log: its project's name, or None where that is gone, how far it was counted, and where it ends."""

    project_id: UUID
    name: str | None
    counted: int
    head: int


class Standing(NamedTuple):
    """How far a project is counted, and where its log ends."""

    project_id: UUID
    position: int
    head: int


def schema_of(generation: int) -> str:
    """The schema that holds a generation's tables."""
    return f"projection_{generation}"


async def live_schema(connection: AsyncConnection[Any]) -> str:
    """The schema that answers now."""
    return schema_of((await _live(connection))[0])


async def ensure_live(connection: AsyncConnection[Any]) -> None:
    """Make the first generation when there is none."""
    live = queries("catch_up")["live_generation"]
    if await (await connection.execute(live)).fetchone() is not None:
        return  # without the lock, which a rebuild holds for as long as it takes
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(%s)", (_GENERATION_LOCK,))
        if await (await connection.execute(live)).fetchone() is None:
            await _create(connection, "live")


async def live_layout(connection: AsyncConnection[Any]) -> int:
    """Which tables the live generation has; this program knows those of LAYOUT."""
    return (await _live(connection))[1]


async def own_schema(connection: AsyncConnection[Any]) -> str:
    """The schema that answers now, if this program knows its tables.

    Else OtherLayoutError: what it read there might not mean what it thinks, and what it wrote would be wrong.
    """
    generation, layout = await _live(connection)
    if layout != LAYOUT:
        raise OtherLayoutError(layout)
    return schema_of(generation)


async def _live(connection: AsyncConnection[Any]) -> tuple[int, int]:
    """The live generation and its layout."""
    row = await (await connection.execute(queries("catch_up")["live_generation"])).fetchone()
    if row is None:
        raise RuntimeError("there is no live generation of projections: run `prooflog migrate`")
    return int(row[0]), int(row[1])


async def ask_live(
    connection: AsyncConnection[Any], query: LiteralString, parameters: dict[str, Any] | None = None
) -> list[Any]:
    """The rows of one query of the live generation, in one round trip; for a connection without a transaction.

    Raises OtherLayoutError where this program does not know its tables.
    """
    return await _unless_flipped(connection, lambda: _ask(connection, "show_own", query, parameters), own_schema)


async def _ask_checkpoints(
    connection: AsyncConnection[Any], query: LiteralString, parameters: dict[str, Any] | None = None
) -> list[Any]:
    """The same of one that reads nothing but checkpoints, which have the same shape in every layout."""
    return await _unless_flipped(connection, lambda: _ask(connection, "show_live", query, parameters), live_schema)


async def _ask(
    connection: AsyncConnection[Any],
    show: Literal["show_own", "show_live"],
    query: LiteralString,
    parameters: dict[str, Any] | None,
) -> list[Any]:
    # Sent together they are one transaction, for which the names are shown; one query sees one moment anyway.
    # Prepared from the first time on: one that fails the first time it is to be prepared later on, without a
    # transaction whose end tells psycopg, would count as prepared for ever.
    async with connection.pipeline():
        await connection.execute(queries("catch_up")[show], {"layout": LAYOUT}, prepare=True)
        return await (await connection.execute(query, parameters, prepare=True)).fetchall()


async def read_from_live(connection: AsyncConnection[Any], read: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """What `read` finds with several queries in one snapshot of the live generation.

    Raises OtherLayoutError where this program does not know its tables.
    """

    async def ask() -> _Answer:
        async with connection.pipeline(), connection.transaction():
            await connection.execute("set transaction isolation level repeatable read")
            await connection.execute(queries("catch_up")["show_own"], {"layout": LAYOUT})
            return await read()

    return await _unless_flipped(connection, ask, own_schema)


async def _unless_flipped(
    connection: AsyncConnection[Any],
    ask: Callable[[], Awaitable[_Answer]],
    must_be_there: Callable[[AsyncConnection[Any]], Awaitable[str]],
) -> _Answer:
    """What is asked; tried again when a rebuild flips meanwhile."""
    tries_left = FLIP_TRIES
    while True:
        tries_left -= 1
        try:
            return await ask()
        except (psycopg.errors.UndefinedTable, psycopg.errors.DeadlockDetected):
            await must_be_there(connection)  # says so when it is not
            if not tries_left:
                raise


async def status(connection: AsyncConnection[Any]) -> list[ProjectStatus]:
    """Every project's lag in the live generation."""
    return [ProjectStatus(*row) for row in await _ask_checkpoints(connection, queries("catch_up")["status"])]


async def logs(connection: AsyncConnection[Any]) -> list[Log]:
    """Every log that there are traces of, whether its project stands in the table or not."""
    return [Log(*row) for row in await _ask_checkpoints(connection, queries("catch_up")["logs"])]


async def standings(connection: AsyncConnection[Any], project_ids: list[UUID]) -> list[Standing]:
    """How far some projects are counted in the live generation."""
    rows = await _ask_checkpoints(connection, queries("catch_up")["standings"], {"project_ids": project_ids})
    return [Standing(*row) for row in rows]


async def lagging(connection: AsyncConnection[Any]) -> list[UUID]:
    """Projects that have something to catch up."""
    rows = await _ask_checkpoints(connection, queries("catch_up")["lagging"])
    return [project_id for project_id, _, _ in rows]


async def live_position(connection: AsyncConnection[Any], project_id: UUID) -> int:
    """How far the live tables have come in a project's log."""
    _, position = await live_mark(connection, project_id)
    return position


async def live_mark(connection: AsyncConnection[Any], project_id: UUID) -> tuple[int, int]:
    """What tells the live generation from any other, as a rebuild may mend tallies, and how far it has come."""
    rows = await _ask_checkpoints(connection, queries("catch_up")["mark"], {"project_id": project_id})
    return rows[0] if rows else (0, 0)


async def catch_up_live(connection: AsyncConnection[Any], project_id: UUID, archive: Path | None = None) -> None:
    """Count everything that a project's log holds now, beside any worker that does the same."""
    await create_staging(connection)
    head = (await read_head(connection, project_id)).next_position - 1
    await _catch_up_to(connection, project_id, await own_schema(connection), head, archive=archive)


async def rebuild(
    builder: AsyncConnection[Any],
    keeper: AsyncConnection[Any],
    on_progress: Callable[[UUID, Progress], None] = lambda _project, _progress: None,
    archive: Path | None = None,
    on_broken: Callable[[UUID, Exception], None] | None = None,
) -> list[Difference]:
    """Derive everything anew beside the live tables, compare, flip; what the live ones had otherwise.

    `builder` fills the new generation, `keeper` holds the live one still for the moment of the flip. Live
    tables of another layout are not compared. `archive` is the directory of what was archived. A project whose
    log cannot be read raises LogGapError or ArchiveError, and nothing is flipped; unless `on_broken` hears of it:
    then it is counted up to there, like all others.
    """

    async def derive(project_id: UUID, schema: str, position: int, ends: Sequence[int] | None = None) -> None:
        try:
            await _catch_up_to(builder, project_id, schema, position, on_progress, archive, ends)
        except (LogGapError, ArchiveError) as error:
            if on_broken is None:
                raise
            on_broken(project_id, error)

    if not await _lock_rebuilds(keeper):
        raise RebuildRunningError("another rebuild is at work on this database")
    try:
        await _drop_abandoned(keeper)
        old = await live_schema(builder)
        async with builder.transaction():
            generation = await _create(builder, "building")
        await _fill(builder, old, schema_of(generation), derive)
        differences = await _flip(builder, keeper, old, generation, derive)
        await _drop_abandoned(keeper)
    finally:
        await keeper.execute("select pg_advisory_unlock(%s)", (_GENERATION_LOCK,))
    return differences


async def _fill(builder: AsyncConnection[Any], old: str, new: str, derive: Callable[..., Awaitable[None]]) -> None:
    await create_staging(builder)
    for _ in range(2):  # the first round takes long, the second what came meanwhile
        for project_id, position in (await _positions(builder, old)).items():
            await derive(project_id, new, position, await _rebuilt_ends(builder, project_id, old, position))


async def _flip(
    builder: AsyncConnection[Any],
    keeper: AsyncConnection[Any],
    old: str,
    generation: int,
    derive: Callable[..., Awaitable[None]],
) -> list[Difference]:
    """Hold the live generation still, bring the new one to the same positions, compare, make it live."""
    new = schema_of(generation)
    async with keeper.transaction():
        positions = await _hold_still(keeper, old)
        for project_id, position in positions.items():
            await derive(project_id, new, position, await _rebuilt_ends(builder, project_id, old, position))
        differences = []
        if await live_layout(builder) == LAYOUT:
            for project_id in positions:
                differences += await compare(builder, project_id, old, new)
        for project_id, _, head in await _lagging(builder, new):  # what nobody has counted yet
            await derive(project_id, new, head)
        await keeper.execute(queries("catch_up")["retire_live"])
        await keeper.execute(queries("catch_up")["make_live"], {"generation": generation})
    return differences


async def _hold_still(keeper: AsyncConnection[Any], schema: str) -> dict[UUID, int]:
    """Let no step commit in a generation until the transaction ends, not even a project's first; its positions."""
    # The builder works while this transaction waits, for as long as it takes.
    await keeper.execute("set local idle_in_transaction_session_timeout = 0")
    await use_schema(keeper, schema)
    await keeper.execute(queries("catch_up")["lock_checkpoints"])
    return await _positions(keeper, schema)


async def _lock_rebuilds(keeper: AsyncConnection[Any]) -> bool:
    row = await (await keeper.execute("select pg_try_advisory_lock(%s)", (_GENERATION_LOCK,))).fetchone()
    return bool(row and row[0])


async def _drop_abandoned(connection: AsyncConnection[Any]) -> None:
    """Drop generations that are not live, also those of a rebuild that was killed.

    One table at a time: a reader that holds one and asks for the next can then never deadlock with us.
    """
    sql = queries("catch_up")
    for (generation,) in await (await connection.execute(sql["abandoned_generations"])).fetchall():
        schema = Identifier(schema_of(generation))
        for table in [*OWN_TABLES, *derived_tables(), *past_tables()]:
            await connection.execute(SQL("drop table if exists {}.{}").format(schema, Identifier(table)))
        await connection.execute(SQL("drop schema if exists {} cascade").format(schema))
        await connection.execute(sql["forget_generation"], {"generation": generation})


async def verify(
    replayer: AsyncConnection[Any],
    keeper: AsyncConnection[Any],
    project_id: UUID,
    archive: Path | None = None,
) -> tuple[int, list[Difference]]:
    """Replay a project's log into temporary tables and compare; the position and what differs.

    `keeper` holds the live checkpoint still while the two are compared.
    """
    live = await live_schema(keeper)
    ends = await _ends(keeper, project_id, live)
    await replay(replayer, project_id, (await _positions(keeper, live)).get(project_id, 0), archive, ends)
    async with keeper.transaction():
        position = (await _hold_still(keeper, live)).get(project_id, 0)
        ends = await _ends(keeper, project_id, live)
        await _catch_up_to(replayer, project_id, TEMPORARY, position, archive=archive, ends=ends)
        return position, await compare(replayer, project_id, live, TEMPORARY)


async def _create(connection: AsyncConnection[Any], state: str) -> int:
    row = await (await connection.execute(queries("catch_up")["next_generation"])).fetchone()
    generation = int(row[0]) if row else 1
    await connection.execute(SQL("create schema {}").format(Identifier(schema_of(generation))))
    await create_tables(connection, schema_of(generation))
    parameters = {"generation": generation, "state": state, "layout": LAYOUT}
    await connection.execute(queries("catch_up")["add_generation"], parameters)
    return generation


async def _positions(connection: AsyncConnection[Any], schema: str) -> dict[UUID, int]:
    cursor = await connection.execute(
        SQL("select project_id, position from {}.projection_checkpoint order by project_id").format(
            Identifier(schema)
        )
    )
    return dict(await cursor.fetchall())


async def _rebuilt_ends(
    connection: AsyncConnection[Any], project_id: UUID, schema: str, position: int
) -> list[int]:
    """Where a rebuild up to a position leaves snapshots: at those of the live tables, or where they would be due.

    Of those of a long log it leaves fewer.
    """
    ends = await _ends(connection, project_id, schema)
    return steps.rebuilt_ends(steps.due_ends(position) if ends is None else ends)


async def _ends(connection: AsyncConnection[Any], project_id: UUID, schema: str) -> list[int] | None:
    """Where a project has snapshots in a generation, for another to have them too; None in other layouts."""
    if await live_layout(connection) != LAYOUT:
        return None
    cursor = await connection.execute(
        SQL("select position from {}.projection_snapshot where project_id = %s order by position").format(
            Identifier(schema)
        ),
        (project_id,),
    )
    return [position for (position,) in await cursor.fetchall()]


async def _lagging(connection: AsyncConnection[Any], schema: str) -> list[tuple[UUID, int, int]]:
    async with connection.transaction():
        await use_schema(connection, schema)
        cursor = await connection.execute(queries("catch_up")["lagging"])
        return [(project_id, position, head) for project_id, position, head in await cursor.fetchall()]


async def _catch_up_to(
    connection: AsyncConnection[Any],
    project_id: UUID,
    schema: str,
    position: int,
    on_progress: Callable[[UUID, Progress], None] = lambda _project, _progress: None,
    archive: Path | None = None,
    ends: Sequence[int] | None = None,
) -> None:
    while True:
        progress = await catch_up(connection, project_id, schema, limit=position, archive=archive, ends=ends)
        on_progress(project_id, progress)
        if progress.position >= position:
            return
        if progress.head < position:
            raise LogGapError(f"project {project_id}: the log ends at {progress.head}, tallies at {position}")
