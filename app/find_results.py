"""Finds results: the live tallies, or those of any past moment derived from the log."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import NamedTuple, cast, get_args
from uuid import UUID

from app.experiments import read_experiment
from app.kept import Kept
from app.problems import RETRY_AFTER_SECONDS, Problem
from app.replay_sessions import Connection
from app.replays import Moment, Past, Replays
from app.results import Asked, results_of
from app.results_shape import Lag, Method, Results
from domain import refusals
from domain.refusals import FieldError
from projections.event_log import position_at, read_head, received_at, settle
from projections.generations import live_mark, live_position
from projections.queries import queries
from projections.results import Counted, Detail, read_live_of
from stats.decision import GUARDRAIL_MARGIN

# A result shows what was acknowledged before it was asked for, if projections are that close behind.
FRESHNESS_WAIT_SECONDS = 0.3
FRESHNESS_EVENTS_MAX = 20_000
_POLL_SECONDS = 0.01
SETTLED_AFTER_SECONDS = 2.0
PLANNED_VISITORS_MAX = 10**12
# A position is a 64-bit number.
_POSITION_DIGITS_MAX = 18
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")

OpenConnection = Callable[[], AbstractAsyncContextManager[Connection]]


class Found(NamedTuple):
    """What is counted, when its newest event was received, what is not counted yet, and what was asked."""

    counted: Counted
    time: datetime | None
    lag: Lag
    asked: Asked

    def results(self, digest: str | None = None) -> Results:
        """The results that follow; their digest may be known."""
        return results_of(self.counted, self.time, self.lag, self.asked, digest=digest)


async def find_results(
    open_connection: OpenConnection,
    replays: Replays,
    project_id: UUID,
    experiment_id: UUID,
    *,
    as_of: str | None = None,
    goal: str | None = None,
    method: str = "always_valid",
    planned_visitors: int | None = None,
    guardrail_margin: float | None = None,
    hint: Callable[[set[UUID]], None] = lambda _projects: None,
) -> Results:
    """Results now or as of a moment, by `find_counted`; Problem 400 or a Refusal says why there are none."""
    found = await find_counted(
        open_connection,
        replays,
        project_id,
        experiment_id,
        as_of=as_of,
        asked=asked_for(goal, method, planned_visitors, guardrail_margin),
        hint=hint,
    )
    return found.results()


async def find_counted(
    open_connection: OpenConnection,
    replays: Replays,
    project_id: UUID,
    experiment_id: UUID,
    *,
    as_of: str | None = None,
    asked: Asked,
    detail: Detail | None = None,
    hint: Callable[[set[UUID]], None] = lambda _projects: None,
) -> Found:
    """What results are made of, now or as of a moment; Problem 400 or a Refusal says why there is nothing.

    `open_connection` lends one for short reads; `replays` have a session of their own. `hint` wakes a projection
    worker of this process, if there is one. QueryCanceled where the segments of `detail` take too long.
    """
    lag = Lag(0, 0.0)
    if as_of is None:
        async with open_connection() as connection:
            if detail is not None and detail.by is not None:
                past, lag = await _now_by_segment(
                    connection, replays.known, project_id, experiment_id, detail, hint
                )
            else:
                several, lag = await _now(connection, project_id, [experiment_id], detail, hint)
                past = several.get(experiment_id)
            if past is None:
                await _refuse_not_counted(connection, project_id, experiment_id)
    else:
        moment = await _settled(as_of)
        async with open_connection() as connection:
            position = await _position(connection, project_id, moment)
            generation, counted_until = await live_mark(connection, project_id)
        asked_moment = Moment(project_id, experiment_id, position, detail, generation)
        past = replays.known.get(asked_moment)
        if past is None:
            if counted_until == position:
                async with open_connection() as connection:
                    live = await read_live_of(connection, project_id, [experiment_id], detail)
                    counted = live.counted.get(experiment_id)
                    past = None if counted is None else Past(counted, live.received_at)
            if past is None or past.counted.position != position:
                past = await replays.derive(asked_moment)
            else:
                replays.known.put(asked_moment, past)
    if past is None:
        async with open_connection() as connection:
            later = await read_experiment(connection, project_id, experiment_id)
        raise refusals.ExperimentNotFound if later is None else refusals.ExperimentNotCreatedYet
    if asked.goal is not None and all(known.name != asked.goal for known in past.counted.plan.goals):
        raise _bad_query("goal", "names no goal of this experiment")
    return Found(past.counted, past.time, lag, asked)


async def find_counted_of(
    open_connection: OpenConnection,
    project_id: UUID,
    experiment_ids: list[UUID],
    *,
    hint: Callable[[set[UUID]], None] = lambda _projects: None,
) -> dict[UUID, Found]:
    """What results of several experiments are made of now, of one moment; without those not counted yet."""
    async with open_connection() as connection:
        found, lag = await _now(connection, project_id, experiment_ids, None, hint)
    return {experiment_id: Found(*past, lag, Asked()) for experiment_id, past in found.items()}


def asked_for(
    goal: str | None, method: str, planned_visitors: int | None, guardrail_margin: float | None
) -> Asked:
    """What results are asked for, if that can be; Problem 400 says why not."""
    if method not in get_args(Method):
        raise _bad_query("method", "is none of always_valid, group_sequential and fixed")
    if planned_visitors is not None and not 0 < planned_visitors <= PLANNED_VISITORS_MAX:
        raise _bad_query("plannedVisitors", f"must lie between 1 and {PLANNED_VISITORS_MAX:,}")
    if method == "group_sequential" and planned_visitors is None:
        raise _bad_query("plannedVisitors", "is what group_sequential needs: the horizon stated before the start")
    margin = GUARDRAIL_MARGIN if guardrail_margin is None else guardrail_margin
    if not 0.0 <= margin < 1.0:
        raise _bad_query("guardrailMargin", "must be a share of the control's mean, at least 0 and below 1")
    return Asked(goal, cast("Method", method), planned_visitors, margin)


async def owner_of(connection: Connection, experiment_id: UUID) -> UUID:
    """The project of an experiment; refuses as not found when there is none."""
    parameters = {"experiment_id": experiment_id}
    row = await (await connection.execute(queries("projects")["owner_of_experiment"], parameters)).fetchone()
    if row is None:
        raise refusals.ExperimentNotFound
    return cast("UUID", row[0])


def as_position(text: str) -> int | None:
    """A position of the log as exports or, with commas between thousands, as pages write it."""
    digits = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    is_one = digits.isascii() and digits.isdigit() and len(digits) <= _POSITION_DIGITS_MAX
    return int(digits) if is_one else None


async def _now(
    connection: Connection,
    project_id: UUID,
    experiment_ids: list[UUID],
    detail: Detail | None,
    hint: Callable[[set[UUID]], None],
) -> tuple[dict[UUID, Past], Lag]:
    """What is counted now, and how much is not, once projections have had their moment to catch up."""
    live = await read_live_of(connection, project_id, experiment_ids, detail)
    if live.position < live.head:
        hint({project_id})
        await _await_projections(connection, project_id, live.head)
        live = await read_live_of(connection, project_id, experiment_ids, detail)
    lag = await _lag(connection, project_id, live.position, live.head)
    return {id_: Past(counted, live.received_at) for id_, counted in live.counted.items()}, lag


async def _now_by_segment(
    connection: Connection,
    known: Kept[Past],
    project_id: UUID,
    experiment_id: UUID,
    detail: Detail,
    hint: Callable[[set[UUID]], None],
) -> tuple[Past | None, Lag]:
    """The same of one experiment by segment, which takes as long as it has visitors: read once for a position.

    And for a generation of tables: a rebuild may have mended what was read.
    """
    generation, position = await live_mark(connection, project_id)
    head = await _head(connection, project_id)
    if position < head:
        hint({project_id})
        await _await_projections(connection, project_id, head)
        generation, position = await live_mark(connection, project_id)
        head = await _head(connection, project_id)
    past = known.get(Moment(project_id, experiment_id, position, detail, generation))
    if past is None:
        live = await read_live_of(connection, project_id, [experiment_id], detail)
        position, head = live.position, live.head
        if (counted := live.counted.get(experiment_id)) is not None:
            past = Past(counted, live.received_at)
            known.put(Moment(project_id, experiment_id, position, detail, generation), past)
    return past, await _lag(connection, project_id, position, head)


async def _head(connection: Connection, project_id: UUID) -> int:
    return (await read_head(connection, project_id)).next_position - 1


async def _refuse_not_counted(connection: Connection, project_id: UUID, experiment_id: UUID) -> None:
    if await read_experiment(connection, project_id, experiment_id) is not None:
        raise Problem(
            503,
            "not_counted_yet",
            "projections have not reached this experiment yet; try again",
            headers={"Retry-After": RETRY_AFTER_SECONDS},
        )


async def _await_projections(connection: Connection, project_id: UUID, head: int) -> None:
    deadline = asyncio.get_running_loop().time() + FRESHNESS_WAIT_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        behind = head - await live_position(connection, project_id)
        if behind <= 0 or behind > FRESHNESS_EVENTS_MAX:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _lag(connection: Connection, project_id: UUID, position: int, head: int) -> Lag:
    events = head - position
    if events <= 0:
        return Lag(0, 0.0)
    since = await received_at(connection, project_id, position + 1)
    waiting = (datetime.now(UTC) - since).total_seconds() if since else 0.0
    return Lag(events, round(max(0.0, waiting), 3))


async def _settled(as_of: str) -> int | datetime:
    """A position or a past time that no commit can change any more."""
    text = as_of.strip()
    position = as_position(text)
    if position is not None:
        return position
    time = _parse_time(text)
    age_seconds = (datetime.now(UTC) - time).total_seconds()
    if age_seconds < -SETTLED_AFTER_SECONDS:
        raise _bad_query("asOf", "lies in the future")
    # What is being committed now may carry a time just before it: wait until that is over, so that the
    # same question has the same answer later.
    await asyncio.sleep(max(0.0, SETTLED_AFTER_SECONDS - age_seconds))
    return time


async def _position(connection: Connection, project_id: UUID, moment: int | datetime) -> int:
    if isinstance(moment, datetime):
        await settle(connection, project_id, moment)
        return await position_at(connection, project_id, moment)
    if moment >= (await read_head(connection, project_id)).next_position:
        raise _bad_query("asOf", "is beyond the end of the log")
    return moment


def _parse_time(text: str) -> datetime:
    try:
        # A plus sign in a query arrives as a space.
        time = datetime.fromisoformat(text.replace(" ", "+") if text.count(":") > 1 else text)
    except ValueError:
        raise _bad_query("asOf", "is neither an ISO 8601 time nor a position of the log") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _bad_query(path: str, reason: str) -> Problem:
    errors = [FieldError(path=path, reason=reason)]
    return Problem(400, "invalid_query", f"{path} {reason}", errors=errors)
