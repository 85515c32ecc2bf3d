"""What a results page needs of one experiment, read at one position: the plan and its tallies."""

from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from domain.experiment import Experiment
from projections.catch_up import checkpoint
from projections.conversions import Outcomes, read_outcomes, read_unattributed
from projections.experiments import read_plan
from projections.exposures import Visitors, read_impressions, read_visitors
from projections.generations import read_from_live
from projections.snapshots import derive


class Counted(NamedTuple):
    """What is counted of one experiment as of a position of its project's log."""

    position: int
    plan: Experiment
    visitors: list[Visitors]
    impressions: dict[UUID, int]
    outcomes: list[Outcomes]
    unattributed: list[tuple[str, int]]


async def read_live(connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID) -> Counted | None:
    """The experiment at the live checkpoint, all of one moment; None when it is not known there."""
    return await read_from_live(connection, lambda: _read(connection, project_id, experiment_id))


async def read_past(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    position: int,
    archive: Path | None = None,
) -> Counted | None:
    """The experiment as it was known at a position; takes a connection for itself."""
    await derive(connection, project_id, experiment_id, position, archive)
    return await _read(connection, project_id, experiment_id)


async def live_position(connection: AsyncConnection[Any], project_id: UUID) -> int:
    """How far the live tables have come in a project's log."""
    return await read_from_live(connection, lambda: checkpoint(connection, project_id))


async def _read(connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID) -> Counted | None:
    plan = await read_plan(connection, project_id, experiment_id)
    if plan is None:
        return None
    return Counted(
        position=await checkpoint(connection, project_id),
        plan=plan,
        visitors=await read_visitors(connection, project_id, experiment_id),
        impressions=await read_impressions(connection, project_id, experiment_id),
        outcomes=await read_outcomes(connection, project_id, experiment_id),
        unattributed=await read_unattributed(connection, project_id, experiment_id),
    )
