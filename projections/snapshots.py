"""Past states of one experiment: the snapshot before a position, and the events from there.

A snapshot is a state that a step has left to be read for ever (`steps.leaves_snapshot`). It is no copy: rows of
the live tables know since which snapshot they stand, and tables with `_past` keep what stood before. So a state
as of any position costs the tallies of the snapshot, the events behind it and what is known of their visitors.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from domain.experiment import Goal
from projections.archived_log import show_log
from projections.breakdown import Dimension, Segments, read_segments
from projections.catch_up import (
    OWN_TABLES,
    TEMPORARY,
    catch_up,
    create_staging,
    derived_tables,
    use_schema,
)
from projections.exchange import exchange
from projections.experiments import put_parts, read_plan
from projections.generations import own_schema
from projections.queries import queries
from projections.registry import LAYOUT
from projections.steps import NIL, Step, forget_calls, make_call, run_queries, stage_in, step_parameters

# More than the statements of a replay, so that each is planned once for a session.
_PREPARED_MAX = 300
# To begin at a snapshot, and to come to the end before, takes as long as to count so many events.
BEGINNING_EVENTS = 5_000
# What replays may leave in the files of a session's tables before these are made anew.
LEFT_BYTES_MAX = 32 * 1024 * 1024
_COPYING = (
    "copy_checkpoint",
    "copy_plans",
    "copy_visitors",
    "copy_impressions",
    "copy_outcome_tallies",
    "copy_unattributed",
)
_SEEDING = (
    "stage_units",
    "stage_histories",
    "copy_exposures",
    "copy_goal_event",
    "copy_goal_events",
    "copy_outcomes",
    "copy_reasons",
)


# The sessions that have the tables and calls of replays.
_ready: WeakSet[AsyncConnection[Any]] = WeakSet()


class Replay:
    """One experiment on its way through the log, in temporary tables, from a snapshot on."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        begin: "_Begin",
        project_id: UUID,
        experiment_id: UUID,
        archive: Path | None,
    ) -> None:
        """Begin with the tallies of a snapshot, which the temporary tables hold already."""
        self._connection, self._live, self._archive = connection, begin.live, archive
        self._at, self._next_at = begin.position, begin.next_at
        self._has_snapshot, self._is_first = begin.snapshot > 0, True
        self._project_id, self._experiment_id = project_id, experiment_id
        self._parameters = _parameters(project_id, experiment_id, begin)

    def is_near(self, wanted: int) -> bool:
        """Whether to go on to a position takes no longer than to begin anew at a snapshot before it."""
        return self._next_at is None or wanted < self._next_at or wanted - self._at <= BEGINNING_EVENTS

    async def go_to(self, wanted: int) -> None:
        """Take the experiment on to a position, never back."""
        while True:
            if not self._is_first:  # no commit empties the staging tables in between
                await self._connection.execute(queries("snapshots")["empty_staged"], prepare=False)
            self._is_first = False
            progress = await catch_up(
                self._connection,
                self._project_id,
                TEMPORARY,
                limit=wanted,
                archive=self._archive,
                only=self._experiment_id,
                seed=self._seed if self._has_snapshot else None,
            )
            self._at = progress.position
            if progress.position >= progress.head:
                return

    async def read_segments(self, experiment_id: UUID, goal: Goal, by: Dimension) -> Segments:
        """The experiment's segments where the replay has come to; QueryCanceled where that takes too long."""
        asked = {**self._parameters, "experiment_id": experiment_id, "goal": goal.name, "dimension": by}
        async with self._connection.pipeline():
            # It reads many rows, not by keys.
            await self._connection.execute(queries("catch_up")["plan_each_time"])
            await _show(self._connection, self._live)
            found = await read_segments(self._connection, "then", asked)
            await use_schema(self._connection, TEMPORARY)
        return found

    async def _seed(self, step: Step) -> None:
        """Bring what the snapshot knows of the visitors whose events the step has."""
        await _show(self._connection, self._live)
        parameters = {**step_parameters(step), **self._parameters}
        await run_queries(self._connection, "snapshots", _SEEDING, parameters)
        await use_schema(self._connection, TEMPORARY)


@asynccontextmanager
async def replaying(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    position: int,
    archive: Path | None = None,
) -> AsyncIterator[Replay]:
    """Begin at the snapshot before a position.

    In temporary tables, which unqualified names mean until this ends: it is a transaction, after which they show
    nothing. Other experiments are not counted there. UndefinedTable or InvalidSchemaName when a rebuild drops the
    generation that the snapshot is read from: begin anew.
    """
    await make_ready(connection)
    async with connection.transaction():
        begin = await _begin(connection, project_id, position)
        # A file of the archive is shown before what is rolled back, so that the next replay finds it shown.
        shown_until = await show_log(connection, project_id, begin.position + 1, archive)
        async with _forgotten(connection):
            await _copy(connection, begin, project_id, experiment_id)
            yield Replay(connection, begin, project_id, experiment_id, archive)
        if shown_until is not None:  # what was planned after that file, for the log itself, would read this again
            await connection.execute("discard plans")


@asynccontextmanager
async def _forgotten(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Roll back what is written to derived tables; the staging tables are emptied by the end of the transaction.

    To empty a table that has an index makes PostgreSQL forget every plan that names it, and to plan the statements
    of a replay anew took as long as half of them. What is rolled back stays in the files, unseen through the
    indexes, until it is much.
    """
    await connection.execute("savepoint nothing")
    yield
    # Not by `execute`, which would forget the prepared statements: of what these name nothing was made here.
    await exchange(connection, ["rollback to nothing"])
    kept = [*OWN_TABLES, *derived_tables()]
    row: Any = await (await connection.execute(queries("snapshots")["left_bytes"], {"tables": kept})).fetchone()
    if row[0] > LEFT_BYTES_MAX:
        names = [Identifier(TEMPORARY, table) for table in kept]
        await connection.execute(SQL("truncate {}").format(SQL(", ").join(names)))


async def make_ready(connection: AsyncConnection[Any]) -> None:
    """Give a session the tables and calls of replays, if it has none; that takes longer than a small replay."""
    if connection not in _ready:
        await _make_tables(connection, await own_schema(connection))
        _ready.add(connection)


async def _make_tables(connection: AsyncConnection[Any], live: str) -> None:
    """Give the session tables like the live ones, those of a step, which every commit empties, and its calls."""
    connection.prepared_max = _PREPARED_MAX
    try:
        async with connection.transaction():
            await connection.execute(queries("catch_up")["let_commit_later"])
            for table in map(Identifier, (*OWN_TABLES, *derived_tables())):
                like = SQL("create temporary table {} (like {}.{} including indexes)")
                await connection.execute(like.format(table, Identifier(live), table))
            await create_staging(connection)
            await stage_in(connection, "snapshots", "tables")
            await make_call(connection, "snapshots", _COPYING, {})
            await make_call(connection, "snapshots", _SEEDING, dict.fromkeys(_SEEDING, "staged_event"))
    except BaseException:
        forget_calls(connection)
        raise
    connection.prepare_threshold = 0


async def _begin(connection: AsyncConnection[Any], project_id: UUID, position: int) -> "_Begin":
    """The newest snapshot up to a position; shows the live tables."""
    sql = queries("snapshots")
    async with connection.pipeline():
        await connection.execute(queries("catch_up")["plan_once"])
        await connection.execute(sql["show_own"], {"layout": LAYOUT})
        newest = await connection.execute(sql["around"], {"project_id": project_id, "wanted": position})
        shown: Any = await (await connection.execute(sql["shown"])).fetchone()
        around: Any = await newest.fetchone()
    [live] = shown
    # Where the live table is gone, or not ours, its name means the session's own.
    if live.startswith(TEMPORARY):
        raise psycopg.errors.UndefinedTable("a rebuild has dropped the tables that were live")
    return _Begin(live, *around)


async def _copy(connection: AsyncConnection[Any], begin: "_Begin", project_id: UUID, experiment_id: UUID) -> None:
    """Copy plans and tallies of a snapshot from the live tables, which are shown."""
    if begin.snapshot == 0:
        return
    async with connection.pipeline():
        await run_queries(connection, "snapshots", _COPYING, _parameters(project_id, experiment_id, begin))
        await use_schema(connection, TEMPORARY)
        plan = await read_plan(connection, project_id, experiment_id)
        if plan is not None:
            await put_parts(connection, project_id, plan.state, None)


class _Begin(NamedTuple):
    """A snapshot of the live tables, the position that it shows, and that of the next one; 0 is the empty log."""

    live: str
    snapshot: int
    position: int
    next_at: int | None


def _parameters(project_id: UUID, experiment_id: UUID, begin: _Begin) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "experiment_id": experiment_id,
        "snapshot": begin.snapshot,
        "position": begin.position,
        "nil": NIL,
    }


async def _show(connection: AsyncConnection[Any], schema: str) -> None:
    """Let unqualified names mean the live tables, and those with pg_temp before them the temporary ones."""
    await connection.execute(SQL("set local search_path to {}, public, pg_temp").format(Identifier(schema)))
