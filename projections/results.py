"""What a results page needs of one experiment, read at one position: the plan and its tallies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from domain.experiment import Experiment, Goal
from projections.catch_up import checkpoint
from projections.conversions import DayOutcomes, Outcomes, in_order, read_outcomes_by_day
from projections.experiments import PlacedFact, decode_plan, read_facts
from projections.exposures import DayVisitors, Visitors, read_visitors_by_day
from projections.generations import read_from_live
from projections.snapshots import derive
from projections.steps import NIL, ask

_ASKED = (
    ("experiments", "plan"),
    ("catch_up", "checkpoint"),
    ("exposures", "visitors"),
    ("exposures", "impressions"),
    ("conversions", "goals"),
    ("conversions", "unattributed"),
)
# Picks a goal of a plan; None for none. Those that are equal pick alike.
ChooseGoal = Callable[[Experiment], Goal | None]


class ByDay(NamedTuple):
    """The same tallies by the day of the first exposure: all visitors, and what they did for one goal."""

    goal: Goal
    visitors: list[DayVisitors]
    outcomes: list[DayOutcomes]


class Counted(NamedTuple):
    """What is counted of one experiment as of a position of its project's log."""

    position: int
    plan: Experiment
    visitors: list[Visitors]
    impressions: dict[UUID, int]
    outcomes: list[Outcomes]
    unattributed: list[tuple[str, int]]
    by_day: ByDay | None = None


async def read_live(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, choose: ChooseGoal | None = None
) -> Counted | None:
    """The experiment at the live checkpoint, all of one moment; None when it is not known there.

    `choose` picks the goal whose tallies are wanted by day too.
    """
    return await read_from_live(connection, lambda: _read(connection, project_id, experiment_id, choose))


async def read_past(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    position: int,
    archive: Path | None = None,
    choose: ChooseGoal | None = None,
) -> Counted | None:
    """The experiment as it was known at a position; takes a connection for itself."""
    await derive(connection, project_id, experiment_id, position, archive)
    return await _read(connection, project_id, experiment_id, choose)


async def read_history(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, until: int
) -> list[PlacedFact]:
    """Who changed what of an experiment, up to a position."""
    return await read_from_live(connection, lambda: read_facts(connection, project_id, experiment_id, until))


async def live_position(connection: AsyncConnection[Any], project_id: UUID) -> int:
    """How far the live tables have come in a project's log."""
    return await read_from_live(connection, lambda: checkpoint(connection, project_id))


async def _read(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, choose: ChooseGoal | None = None
) -> Counted | None:
    parameters = {"project_id": project_id, "experiment_id": experiment_id, "nil": NIL}
    plans, positions, visitors, impressions, outcomes, unattributed = await ask(connection, _ASKED, parameters)
    if not plans:
        return None
    plan = decode_plan(plans[0][0])
    goal = choose(plan) if choose else None
    by_day = None
    if goal is not None:
        visitors_by_day = await read_visitors_by_day(connection, project_id, experiment_id)
        outcomes_by_day = await read_outcomes_by_day(connection, project_id, experiment_id, goal.name)
        by_day = ByDay(goal, visitors_by_day, outcomes_by_day)
    return Counted(
        position=positions[0][0],
        plan=plan,
        visitors=[Visitors(*row) for row in visitors],
        impressions=dict(impressions),
        outcomes=[Outcomes(*row) for row in outcomes],
        unattributed=in_order(unattributed),
        by_day=by_day,
    )
