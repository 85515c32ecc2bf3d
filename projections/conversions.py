"""Conversions: goal events attributed to variants, whatever the order in which events arrive.

A step touches only pairs of experiment and visitor that it can change. Where the exposure stands, the
step's goal events are added to the outcome; where it changed, every goal event of the visitor is judged
anew and the tallies move by the difference, so that a late, earlier exposure corrects what was counted.
"""

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.queries import queries
from projections.steps import Step, names_for_one, run_step, stage_in

TABLES = (
    "goal_event",
    "visitor_outcome",
    "goal_tally",
    "visitor_unattributed",
    "misnamed_event",
    "unattributed_tally",
)
PAST_TABLES = ("visitor_outcome_past", "goal_tally_past", "visitor_unattributed_past", "unattributed_tally_past")
STAGING = (
    "staging_goal_events",
    "staging_pairs",
    "staging_judgements",
    "staging_old_outcomes",
    "staging_outcomes",
    "staging_outcome_changes",
    "staging_old_reasons",
    "staging_reasons",
    "staging_misnamed",
    "staging_unattributed",
)
# What changes a table that no result is read from.
_EXPLAINING = ("put_misnamed", "forget_misnamed")
# The statements of a step in their order, behind each the staged rows without which it has nothing to do.
NEEDS = {
    "stage_goal_events": "staged_event",
    "stage_pairs": "staged_event",
    "put_goal_events": "staged_goal_event",
    "stage_judgements": "staged_pair",
    "stage_old_outcomes": "staged_pair",
    "stage_outcomes": "staged_pair",
    "stage_old_reasons": "staged_pair",
    "stage_reasons": "staged_pair",
    "stage_outcome_changes": "staged_pair",
    "keep_outcome_tallies": "staged_outcome_change",
    "tally_outcomes": "staged_outcome_change",
    "keep_outcomes": "staged_old_outcome",
    "clear_outcomes": "staged_old_outcome where rejudged",
    "put_outcomes": "staged_outcome where is_new",
    "change_outcomes": "staged_outcome where not is_new",
    "keep_reasons": "staged_reason where place is not null",
    "put_reasons": "staged_reason where place is null",
    "change_reasons": "staged_reason where place is not null",
    "stage_unattributed": "staged_reason",
    "stage_exposed": "staged_pair",
    "stage_misnamed": "staged_event",
    "count_misnamed": "staged_misnamed",
    "put_misnamed": "staged_misnamed",
    "stage_candidates": "staged_goal_event",
    "keep_unattributed": "staged_unattributed",
    "tally_unattributed": "staged_unattributed",
}
_APPLYING = tuple(NEEDS)
# The statements that a session runs by one call.
CALLS = (_APPLYING, names_for_one(_APPLYING, _EXPLAINING))


class Outcomes(NamedTuple):
    """What one variant's visitors of one epoch achieved for one goal.

    `value_sum` and `value_squares` are exact sums over visitors of what the goal's kind measures.
    """

    goal: str
    variant_id: UUID
    epoch: int
    converters: int
    conversions: int
    value_sum: Decimal
    value_squares: Decimal


class Judgement(NamedTuple):
    """One goal event and what it counts for: a variant of a goal, unless there is a reason why not."""

    position: int
    goal: str
    variant_id: UUID
    epoch: int | None
    amount: Decimal | None
    reason: str | None


class DayOutcomes(NamedTuple):
    """Outcomes by the day of the visitors' first exposure, or of the first conversion without one (UTC)."""

    outcomes: Outcomes
    day: date


async def apply(connection: AsyncConnection[Any], step: Step) -> None:
    """Attribute the step's goal events, and earlier ones whose exposure arrived or moved in this step."""
    await run_step(connection, "conversions", _APPLYING, step, explaining=_EXPLAINING)


async def judge(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, unit_id: str, after: int, until: int
) -> list[Judgement]:
    """How one unit's goal events in a range of positions are judged, by the statement that tallies rest on.

    In the caller's transaction, which shows the tables in question; it leaves nothing behind.
    """
    sql = queries("conversions")
    parameters = {"project_id": project_id, "experiment_id": experiment_id, "unit_id": unit_id}
    parameters |= {"after": after, "until": until}
    for table in ("staging_goal_events", "staging_pairs", "staging_judgements"):
        await stage_in(connection, "conversions", table)
    for name in ("stage_pair", "stage_unit_events", "stage_judgements"):
        await connection.execute(sql[name], parameters)
    cursor = await connection.execute(sql["judgements"])
    return [Judgement(*row) for row in await cursor.fetchall()]


async def forget(connection: AsyncConnection[Any], step: Step, experiment_id: UUID) -> None:
    """Drop all that was derived for an experiment; its goal events stay for what comes."""
    names = (
        "keep_forgotten_outcomes",
        "forget_outcomes",
        "keep_forgotten_goal_tallies",
        "forget_goal_tallies",
        "keep_forgotten_reasons",
        "forget_reasons",
        "forget_misnamed",
        "keep_forgotten_unattributed",
        "forget_unattributed",
    )
    await run_step(connection, "conversions", names, step, explaining=_EXPLAINING, experiment_id=experiment_id)


async def read_outcomes_by_day(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, goal: str
) -> list[DayOutcomes]:
    """One goal's tallies by variant, epoch and day, the first day first."""
    parameters = {"project_id": project_id, "experiment_id": experiment_id, "goal": goal}
    cursor = await connection.execute(queries("conversions")["goal_by_day"], parameters)
    return [DayOutcomes(Outcomes(*row), day) for *row, day in await cursor.fetchall()]


def in_order(unattributed: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Events that count for no variant, by reason; in an order that no database's collation changes."""
    return sorted(unattributed)
