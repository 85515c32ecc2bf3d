"""Past states of one experiment: the snapshot before a position, and the events from there.

A snapshot is the state after every SNAPSHOT_EVENTS events. It is no copy: rows of the live tables know
since which snapshot they stand, and tables with `_past` keep what stood before. So a state as of any
position costs the tallies of the snapshot, the events behind it and what is known of their visitors.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from projections import steps
from projections.catch_up import TEMPORARY, checkpoint, create_temporary, go_on, use_schema
from projections.experiments import put_parts, read_plan
from projections.generations import FLIP_TRIES, live_schema, read_from_live
from projections.queries import queries
from projections.steps import Step, run_queries, step_parameters


async def derive(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    position: int,
    archive: Path | None = None,
) -> None:
    """Bring one experiment's tables as of a position into temporary tables of this connection.

    The connection's search path shows them afterwards; close the connection to be rid of them. Nothing is
    counted there for other experiments.
    """
    await create_temporary(connection)
    await connection.execute(queries("snapshots")["tables"])
    snapshot = await read_from_live(connection, lambda: _copy(connection, project_id, experiment_id, position))

    async def seed(step: Step) -> None:
        """Bring what the snapshot knows of the visitors whose events the step has."""
        await _show(connection, await live_schema(connection))
        names = ("stage_units", "copy_exposures", "copy_goal_events", "copy_outcomes", "copy_reasons")
        parameters = {**step_parameters(step), **_parameters(project_id, experiment_id, snapshot)}
        await run_queries(connection, "snapshots", names, parameters)
        await use_schema(connection, TEMPORARY)

    tries_left = FLIP_TRIES
    while True:
        tries_left -= 1
        try:
            return await go_on(
                connection, project_id, position, archive, experiment_id, seed if snapshot else None
            )
        except (psycopg.errors.UndefinedTable, psycopg.errors.DeadlockDetected):
            if not tries_left:  # else a rebuild has flipped: the new tables have the same snapshots
                raise


async def _copy(connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, position: int) -> int:
    """Copy plans and tallies of the newest snapshot up to a position; its number."""
    await _show(connection, await live_schema(connection))
    snapshot = min(position, await checkpoint(connection, project_id)) // steps.SNAPSHOT_EVENTS
    if snapshot == 0:
        return 0
    names = (
        "copy_checkpoint",
        "copy_plans",
        "copy_visitors",
        "copy_impressions",
        "copy_outcome_tallies",
        "copy_unattributed",
    )
    await run_queries(connection, "snapshots", names, _parameters(project_id, experiment_id, snapshot))
    await use_schema(connection, TEMPORARY)
    plan = await read_plan(connection, project_id, experiment_id)
    if plan is not None:
        await put_parts(connection, project_id, plan)
    return snapshot


def _parameters(project_id: UUID, experiment_id: UUID, snapshot: int) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "experiment_id": experiment_id,
        "snapshot": snapshot,
        "position": snapshot * steps.SNAPSHOT_EVENTS,
        "nil": steps.NIL,
    }


async def _show(connection: AsyncConnection[Any], schema: str) -> None:
    """Let unqualified names mean the live tables, and those with pg_temp before them the temporary ones."""
    await connection.execute(SQL("set local search_path to {}, public, pg_temp").format(Identifier(schema)))
