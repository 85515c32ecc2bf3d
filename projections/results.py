"""What a results page needs of one experiment, read at one position: the plan and its tallies."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection

from domain.experiment import Experiment, Goal
from projections.breakdown import Dimension, Segments, read_segments
from projections.conversions import DayOutcomes, Outcomes, in_order, read_outcomes_by_day
from projections.experiments import PlacedFact, placed_facts
from projections.exposures import DayVisitors, Visitors
from projections.generations import FLIP_TRIES, ask_live, own_schema, read_from_live
from projections.queries import queries
from projections.snapshots import replaying
from projections.steps import NIL

# What a reader of the live tables may meet when a rebuild drops them.
_FLIPPED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.DeadlockDetected,
)
# Picks a goal of a plan; None for none. Those that are equal pick alike.
ChooseGoal = Callable[[Experiment], Goal | None]
_ReadSegments = Callable[[UUID, Goal, Dimension], Awaitable[Segments]]


class Detail(NamedTuple):
    """What is wanted beside totals: tallies by day of one goal, and its segments by the values of a dimension."""

    choose: ChooseGoal
    by: Dimension | None = None


class Days(NamedTuple):
    """The days (UTC) of first exposures: the first, the last, and how many there are.

    Those with a fiftieth of the visitors of the busiest one at least: fewer may have clocks that are wrong.
    """

    first: date
    last: date
    with_visitors: int


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
    days: Days | None = None
    by_day: ByDay | None = None
    segments: Segments | None = None


class CountedAt(NamedTuple):
    """What is counted of some experiments at a checkpoint, and how far that is.

    `received_at` is when the event there was received, `head` where the log ends; both of the same moment.
    """

    counted: dict[UUID, Counted]
    position: int
    received_at: datetime | None
    head: int


class _Told(msgspec.Struct, frozen=True):
    """What the database tells of some experiments: plans and rows of tallies by experiment."""

    position: int
    received_at: datetime | None
    head: int
    plans: dict[UUID, Experiment]
    visitors: dict[UUID, list[Visitors]]
    visitors_by_day: dict[UUID, list[DayVisitors]] | None
    days: dict[UUID, Days]
    impressions: dict[UUID, dict[UUID, int]]
    outcomes: dict[UUID, list[Outcomes]]
    unattributed: dict[UUID, dict[str, int]]


_decode_told = msgspec.json.Decoder(_Told).decode


async def read_live(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, detail: Detail | None = None
) -> Counted | None:
    """The experiment at the live checkpoint, all of one moment; None when it is not known there."""
    return (await read_live_of(connection, project_id, [experiment_id], detail)).counted.get(experiment_id)


async def read_live_of(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_ids: list[UUID],
    detail: Detail | None = None,
) -> CountedAt:
    """The same of several experiments, of one moment; without those not known there.

    In one round trip, but for detail. QueryCanceled where segments take too long.
    """
    if detail is None:
        asked = _asked(project_id, experiment_ids, by_day=False)
        rows = await ask_live(connection, queries("results")["tallies"], asked)
        return _counted_at(_decode_told(rows[0][0]))

    async def segments(experiment_id: UUID, goal: Goal, by: Dimension) -> Segments:
        named = {"project_id": project_id, "experiment_id": experiment_id, "goal": goal.name, "dimension": by}
        return await read_segments(connection, "now", named)

    return await read_from_live(
        connection, lambda: _read(connection, project_id, experiment_ids, detail, segments)
    )


async def read_past(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    position: int,
    archive: Path | None = None,
    detail: Detail | None = None,
) -> Counted | None:
    """The experiment as it was known at a position; None when it was not known there."""
    found = read_pasts(connection, project_id, experiment_id, [position], archive, detail)
    [past] = [each async for each in found]
    return past.counted.get(experiment_id)


async def read_pasts(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    positions: Sequence[int],
    archive: Path | None = None,
    detail: Detail | None = None,
) -> AsyncGenerator[CountedAt, None]:
    """The same at several positions, each at least the one before, at the cost of the events between them.

    The first use gives the connection tables of its own, which later ones find empty; close it after an error.
    What is yielded is told before the end of the transaction, after which they are empty.
    """
    at, flips_left = 0, FLIP_TRIES
    while at < len(positions):
        try:
            async with replaying(connection, project_id, experiment_id, positions[at], archive) as replay:
                while at < len(positions) and replay.is_near(positions[at]):
                    await replay.go_to(positions[at])
                    read = await _read(connection, project_id, [experiment_id], detail, replay.read_segments)
                    at += 1
                    yield read
        except _FLIPPED:
            await own_schema(connection)  # says so when there is none
            flips_left -= 1
            if not flips_left:  # else a rebuild has flipped: the new tables say the same of any position
                raise


async def read_history(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, until: int
) -> list[PlacedFact]:
    """Who changed what of an experiment, up to a position, which the live tables need not have come to."""
    sql = queries("experiments")
    asked = {"project_id": project_id, "experiment_id": experiment_id, "until": until}
    rows = await ask_live(connection, sql["history"], asked)
    counted = rows[0][0]
    facts = [(position, fact) for _, position, fact in rows if position is not None]
    if counted < until:  # a query of every month of the log, which others need not wait for
        facts += await (await connection.execute(sql["later"], {**asked, "after": counted})).fetchall()
    return placed_facts(facts)


async def _read(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_ids: list[UUID],
    detail: Detail | None,
    read_segments_of: _ReadSegments,
) -> CountedAt:
    asked = _asked(project_id, experiment_ids, by_day=detail is not None)
    row: Any = await (await connection.execute(queries("results")["tallies"], asked)).fetchone()
    told = _decode_told(row[0])
    read = _counted_at(told)
    if detail is None:
        return read
    for experiment_id, counted in read.counted.items():
        goal = detail.choose(counted.plan)
        if goal is not None:
            visitors = (told.visitors_by_day or {}).get(experiment_id, [])
            outcomes = await read_outcomes_by_day(connection, project_id, experiment_id, goal.name)
            segments = await read_segments_of(experiment_id, goal, detail.by) if detail.by else None
            read.counted[experiment_id] = counted._replace(
                by_day=ByDay(goal, visitors, outcomes), segments=segments
            )
    return read


def _asked(project_id: UUID, experiment_ids: list[UUID], *, by_day: bool) -> dict[str, Any]:
    # Under NIL stands what is unattributed of the whole project.
    return {"project_id": project_id, "experiment_ids": [*experiment_ids, NIL], "by_day": by_day}


def _counted_at(told: _Told) -> CountedAt:
    found = {}
    for experiment_id, plan in told.plans.items():
        reasons = Counter(told.unattributed.get(experiment_id, {}))
        reasons.update(told.unattributed.get(NIL, {}))
        found[experiment_id] = Counted(
            position=told.position,
            plan=plan,
            visitors=told.visitors.get(experiment_id, []),
            impressions=told.impressions.get(experiment_id, {}),
            outcomes=told.outcomes.get(experiment_id, []),
            unattributed=in_order([(reason, events) for reason, events in reasons.items() if events]),
            days=told.days.get(experiment_id),
        )
    return CountedAt(found, told.position, told.received_at, told.head)
