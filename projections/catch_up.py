"""Catching up: the next range of a project's log into the tallies, rows and checkpoint together.

A step takes only events that stand under one plan: it ends before the next management fact, and
such facts are steps of their own. So the result never depends on where steps happen to end.
"""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, LiteralString, NamedTuple, cast
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier

from projections import conversions, experiments, exposures, steps
from projections.archived_log import show_log
from projections.queries import queries
from projections.registry import PROJECTIONS
from projections.steps import Step, make_call, run_queries, stage_in, step_parameters

STEP_FACTS_MAX = 1_000
# A larger step is planned for what it holds: that takes less time than a plan for any other would lose.
PLANNED_ONCE_EVENTS_MAX = 2_500
# Of a step that counts one experiment most events are left out.
PLANNED_ONCE_OF_ONE_EVENTS_MAX = 12_500
# Where temporary tables live: a replay that leaves nothing behind.
TEMPORARY = "pg_temp"
# The tables of the projections' own progress, which say nothing of any experiment.
OWN_TABLES: tuple[LiteralString, ...] = ("projection_checkpoint", "projection_snapshot")

_STAGING = ("stage_events",)


class LogGapError(Exception):
    """The log does not hold every position of a range: nothing more is derived from it."""


class Progress(NamedTuple):
    """Where a project's derived tables stand, and where its log ends."""

    position: int
    head: int


async def catch_up(
    connection: AsyncConnection[Any],
    project_id: UUID,
    schema: str,
    *,
    limit: int | None = None,
    events_max: int | None = None,
    archive: Path | None = None,
    ends: Sequence[int] | None = None,
    only: UUID | None = None,
    seed: Callable[[Step], Awaitable[None]] | None = None,
) -> Progress:
    """Take one step, never beyond position `limit`; when progress.position stays, there was nothing to do.

    `archive` is the directory of what was archived. No step goes past one of the `ends`, which are in order; if
    given, snapshots are left there and where generations end together, nowhere else. With `only`, one experiment
    is counted; `seed` may bring what staged events need before they are applied. Raises LogGapError when a
    position is missing, ArchiveError when an archived file is. Another projector at work on the same project
    costs this step, not the result.
    """
    parameters: dict[str, Any] = {"project_id": project_id}
    sql = queries("catch_up")
    async with connection.transaction():
        async with connection.pipeline():
            await use_schema(connection, schema)
            await connection.execute(sql["let_sort_in_memory"])
            await connection.execute(sql["let_commit_later"])
            row = await (await connection.execute(sql["counted"], parameters)).fetchone()
            after, snapshot, left_at = row or (0, 0, 0)
        shown_until = await show_log(connection, project_id, after + 1, archive)
        async with connection.pipeline():
            row = await (await connection.execute(sql["ahead"], {**parameters, "after": after})).fetchone()
            if row is None:  # the log is empty
                return Progress(after, 0)
            log_end, received_until, received_from, next_fact = row
            head = log_end if limit is None else min(log_end, limit)
            if head <= after:
                return Progress(after, head)
            if ends is None and only is None:
                # A short step ends before it matters how many experiments run.
                is_short = head - after <= steps.LARGE_STEP_EVENTS_MIN
                running = 0 if is_short else await _running(connection, project_id)
                end = steps.live_end(after, head, left_at, running)
            else:
                end = steps.common_end(after)
            until = min(head, end, shown_until or head, *_next_of(ends, after))
            if events_max is not None:
                until = min(until, after + events_max)
            are_facts = next_fact == after + 1
            if are_facts:
                received = {"received_from": received_from, "received_until": received_until}
                until = min(until, await _facts_end(connection, {**parameters, **received, "after": after}))
            elif next_fact is not None:
                until = min(until, next_fact - 1)
            step = Step(project_id, after, until, received_from, received_until, snapshot + 1, only)
            once_max = PLANNED_ONCE_EVENTS_MAX if only is None else PLANNED_ONCE_OF_ONE_EVENTS_MAX
            is_small = until - after <= once_max
            await connection.execute(sql["plan_once" if is_small else "plan_each_time"])
            if after == 0:
                await connection.execute(sql["begin_checkpoint"], parameters)
            moved = await connection.execute(
                sql["move_checkpoint"], {**parameters, "after": after, "until": until}
            )
            if await moved.fetchone() is None:
                return Progress(await checkpoint(connection, project_id), head)
            await _assert_complete(connection, step)
            if are_facts:
                await _apply_facts(connection, step)
            else:
                await _apply_events(connection, step, seed)
            await _leave_snapshot(connection, step, left_at, ends)
    return Progress(until, head)


async def checkpoint(connection: AsyncConnection[Any], project_id: UUID) -> int:
    """How far the tables in use have come in a project's log."""
    parameters = {"project_id": project_id}
    row = await (await connection.execute(queries("catch_up")["checkpoint"], parameters)).fetchone()
    return int(row[0]) if row else 0


async def _running(connection: AsyncConnection[Any], project_id: UUID) -> int:
    row: Any = await (
        await connection.execute(queries("catch_up")["running"], {"project_id": project_id})
    ).fetchone()
    return int(row[0])


def _next_of(ends: Sequence[int] | None, after: int) -> Sequence[int]:
    """The first end behind a position, if there is one."""
    return ends[(at := bisect_right(ends, after)) : at + 1] if ends else ()


async def _leave_snapshot(
    connection: AsyncConnection[Any], step: Step, newest_at: int, ends: Sequence[int] | None
) -> None:
    if ends is None:
        is_due = steps.leaves_snapshot(step.until, newest_at)
    else:
        is_due = step.until in (steps.common_end(step.until - 1), *_next_of(ends, step.until - 1))
    if is_due and step.only is None:
        await connection.execute(queries("catch_up")["leave_snapshot"], step_parameters(step))


async def create_tables(connection: AsyncConnection[Any], schema: str) -> None:
    """Make an empty set of projection tables in a schema, or temporary ones in TEMPORARY."""
    async with connection.transaction():
        await use_schema(connection, schema)
        for file in ("catch_up", *PROJECTIONS):
            await connection.execute(queries(file)["tables"])


async def create_staging(connection: AsyncConnection[Any]) -> None:
    """Make the session's staging tables, which every step empties, and the calls that run a step's statements."""
    await stage_in(connection, "catch_up", "staging")
    for name, projection in PROJECTIONS.items():
        for table in projection.STAGING:
            await stage_in(connection, name, table)
    await make_call(connection, "catch_up", _STAGING, {})
    for name, projection in PROJECTIONS.items():
        for names in projection.CALLS:
            await make_call(connection, name, names, projection.NEEDS)


async def replay(
    connection: AsyncConnection[Any],
    project_id: UUID,
    position: int,
    archive: Path | None = None,
    ends: Sequence[int] | None = None,
) -> None:
    """Derive a project's tables as of a position into temporary tables of this connection.

    The connection's search path shows them afterwards; close the connection to be rid of them. `ends` are as for
    `catch_up`.
    """
    await create_temporary(connection)
    await _go_on(connection, project_id, position, archive, ends)


async def create_temporary(connection: AsyncConnection[Any]) -> None:
    """Give the connection empty tables of its own, which its search path shows."""
    await connection.execute("set search_path to pg_temp, public")
    await create_tables(connection, TEMPORARY)
    await create_staging(connection)


async def _go_on(
    connection: AsyncConnection[Any],
    project_id: UUID,
    position: int,
    archive: Path | None = None,
    ends: Sequence[int] | None = None,
) -> None:
    """Take steps in the connection's own tables up to a position or the end of the log."""
    steps_taken, analyse_at = 0, 1
    while True:
        progress = await catch_up(connection, project_id, TEMPORARY, limit=position, archive=archive, ends=ends)
        if progress.position >= progress.head:
            return
        steps_taken += 1
        if steps_taken == analyse_at:  # nothing else gathers statistics of temporary tables
            await connection.execute("analyze visitor_exposure, goal_event, visitor_outcome")
            analyse_at *= 2


async def use_schema(connection: AsyncConnection[Any], schema: str) -> None:
    """Let unqualified names mean one generation's tables until the transaction ends."""
    await connection.execute(_search_path(schema))


def _search_path(schema: str) -> SQL | Composed:
    if schema == TEMPORARY:
        return SQL("set local search_path to pg_temp, public")
    return SQL("set local search_path to {}, public").format(Identifier(schema))


async def _assert_complete(connection: AsyncConnection[Any], step: Step) -> None:
    row = await (await connection.execute(queries("catch_up")["count"], step_parameters(step))).fetchone()
    if row is None or row[0] != step.until - step.after:
        found = row[0] if row else 0
        raise LogGapError(
            f"project {step.project_id}: positions {step.after + 1} to {step.until} hold {found} events"
        )


async def _facts_end(connection: AsyncConnection[Any], parameters: dict[str, Any]) -> int:
    parameters = {**parameters, "facts_max": STEP_FACTS_MAX}
    row: Any = await (await connection.execute(queries("catch_up")["facts_end"], parameters)).fetchone()
    return int(row[0])


async def _apply_facts(connection: AsyncConnection[Any], step: Step) -> None:
    for void in await experiments.apply_facts(connection, step):
        await exposures.forget(connection, step, void)
        await conversions.forget(connection, step, void)


async def _apply_events(
    connection: AsyncConnection[Any], step: Step, seed: Callable[[Step], Awaitable[None]] | None
) -> None:
    await run_queries(connection, "catch_up", _STAGING, step_parameters(step))
    if seed is not None:
        await seed(step)
    await exposures.apply(connection, step)
    await conversions.apply(connection, step)


def derived_tables() -> list[LiteralString]:
    """The derived tables, in the order of the registry."""
    return [cast("LiteralString", table) for module in PROJECTIONS.values() for table in module.TABLES]


def past_tables() -> list[LiteralString]:
    """The tables of what older snapshots show."""
    return [cast("LiteralString", table) for module in PROJECTIONS.values() for table in module.PAST_TABLES]
