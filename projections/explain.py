"""Why an event was counted, or not: one visitor's exposure and events, judged by the rules of the tallies.

Everything is found through keys: exposures, goal events and misnamed events by unit, the rest of an event by
its position. Only an event id needs a search, which is bounded.
"""

import hashlib
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from domain.attribution import UnattributedReason
from domain.experiment import Experiment
from projections.conversions import Judgement, judge
from projections.event_ids import time_of
from projections.event_log import position_at, read_head, received_at
from projections.experiments import StoredPlan, read_plan
from projections.generations import read_from_live
from projections.queries import queries

# A list has no more events, and no more of them than are judged so often: one may count for each of 50 goals.
EVENTS_MAX = 50
JUDGEMENTS_MAX = 150
# An event is searched by its id among so many that were received from its time on.
SEARCH_EVENTS_MAX = 200_000
_SEARCH_STEP = 20_000
_CLOCK_SKEW = timedelta(seconds=5)


class Exposure(NamedTuple):
    """A first exposure: to an experiment, or to one variant of those that a visitor saw."""

    variant_id: UUID
    exposed_at: datetime
    position: int


class Outcome(NamedTuple):
    """What an event counts for with one goal; `reason` says why it does not."""

    goal: str
    variant_id: UUID | None
    reason: UnattributedReason | None


class Explained(NamedTuple):
    """One event that touches the experiment; `outcomes` is empty where `reason` holds for all goals.

    Neither: the event came while nothing was counted, as `counts` says.
    """

    position: int
    received_at: datetime
    occurred_at: datetime
    event_type: str
    event_name: str | None
    explicit: bool
    outcomes: list[Outcome]
    reason: UnattributedReason | None
    counts: bool


class Visitor(NamedTuple):
    """What an experiment knows of one visitor, or of one event without a visitor.

    Of its events those from `first_position` on, as many as a list has; `goes_on_at` is the next one.
    """

    unit_id: str
    plan: Experiment
    exposure: Exposure | None
    epoch: int | None
    multiple: bool
    variants: list[Exposure]
    received: dict[int, datetime]
    first_position: int
    events: list[Explained]
    goes_on_at: int | None


class LogEvent(NamedTuple):
    """An event as the log holds it."""

    position: int
    received_at: datetime
    occurred_at: datetime
    event_id: UUID
    source: str
    event_type: str
    event_name: str | None
    visitor_id: str | None
    experiment_id: UUID | None
    variant_id: UUID | None

    @property
    def unit_id(self) -> str:
        """Whom it counts for: its visitor, or itself."""
        return self.visitor_id if self.visitor_id is not None else str(self.event_id)


async def explain(
    connection: AsyncConnection[Any],
    project_id: UUID,
    experiment_id: UUID,
    unit_id: str,
    *,
    first_position: int = 0,
) -> Visitor | None:
    """What the live tables know of a unit in an experiment; None when they do not know the experiment."""
    return await read_from_live(
        connection, lambda: _explain(connection, project_id, experiment_id, unit_id, first_position)
    )


async def event_at(connection: AsyncConnection[Any], project_id: UUID, position: int) -> LogEvent | None:
    """The event at a position; None where there is none, or where it is archived."""
    received = await received_at(connection, project_id, position)
    parameters = {"project_id": project_id, "position": position, "received_at": received}
    row = await (await connection.execute(queries("explain")["event_at"], parameters)).fetchone()
    return LogEvent(*row) if row else None


async def id_of_key(connection: AsyncConnection[Any], project_id: UUID, key: str) -> UUID | None:
    """The id of the event that an idempotency key stands for."""
    key_hash = UUID(bytes=hashlib.blake2b(key.encode(), digest_size=16).digest())
    parameters = {"project_id": project_id, "key_hash": key_hash}
    row = await (await connection.execute(queries("explain")["id_of_key"], parameters)).fetchone()
    return row[0] if row else None


async def is_known(connection: AsyncConnection[Any], project_id: UUID, event_id: UUID) -> bool:
    """Whether the ledger has an event id."""
    parameters = {"project_id": project_id, "event_id": event_id}
    row = await (await connection.execute(queries("explain")["is_known"], parameters)).fetchone()
    return bool(row and row[0])


async def search_event(connection: AsyncConnection[Any], project_id: UUID, event_id: UUID) -> int | None:
    """The position of an event, among SEARCH_EVENTS_MAX that were received from the time in its id on."""
    head = await read_head(connection, project_id)
    try:
        since = time_of(event_id.bytes) - _CLOCK_SKEW
        after = await position_at(connection, project_id, since)
    except (OverflowError, ValueError):  # a time that no calendar has
        return None
    end = min(head.next_position - 1, after + SEARCH_EVENTS_MAX)
    while after < end:
        until = min(after + _SEARCH_STEP, end)
        parameters = {
            "project_id": project_id,
            "event_id": event_id,
            "after": after,
            "until": until,
            "received_from": await received_at(connection, project_id, after + 1),
            "received_until": await received_at(connection, project_id, until),
        }
        row = await (await connection.execute(queries("explain")["event_between"], parameters)).fetchone()
        if row:
            return int(row[0])
        after = until
    return None


async def _explain(
    connection: AsyncConnection[Any], project_id: UUID, experiment_id: UUID, unit_id: str, first_position: int
) -> Visitor | None:
    plan = await read_plan(connection, project_id, experiment_id)
    if plan is None:
        return None
    sql = queries("explain")
    parameters = {
        "project_id": project_id,
        "experiment_id": experiment_id,
        "unit_id": unit_id,
        "first_position": first_position,
        "events_max": EVENTS_MAX + 1,
    }
    first: Any = await (await connection.execute(sql["exposure"], parameters)).fetchone()
    variants = await (await connection.execute(sql["variants"], parameters)).fetchall()
    rows = await (await connection.execute(sql["events"], parameters)).fetchall()
    judgements: dict[int, list[Judgement]] = {}
    if rows:
        after, until = max(first_position - 1, plan.counted_after), rows[:EVENTS_MAX][-1][0]
        for judgement in await judge(connection, project_id, experiment_id, unit_id, after, until):
            judgements.setdefault(judgement.position, []).append(judgement)
    exposure = Exposure(*first[:3]) if first else None
    listed = rows[: _listed([len(judgements.get(row[0], [])) for row in rows])]
    positions = [
        *(row[0] for row in listed),
        *(row[2] for row in variants),
        *([exposure.position] if exposure else []),
    ]
    cursor = await connection.execute(sql["received"], {"project_id": project_id, "positions": positions})
    received: dict[int, datetime] = dict(await cursor.fetchall())
    return Visitor(
        unit_id=unit_id,
        plan=plan.state,
        exposure=exposure,
        epoch=first[3] if first else None,
        multiple=bool(first and first[4]),
        variants=[Exposure(*row) for row in variants],
        received=received,
        first_position=first_position,
        events=[_explained(row, received, judgements.get(row[0], []), plan) for row in listed],
        goes_on_at=rows[len(listed)][0] if len(listed) < len(rows) else None,
    )


def _listed(judged: list[int]) -> int:
    """How many events a list has that are judged so many times each: one at least."""
    fit = sum(total <= JUDGEMENTS_MAX for total in accumulate(judged[:EVENTS_MAX]))
    return max(fit, 1)


def _explained(
    row: tuple[Any, ...],
    received: dict[int, datetime],
    judgements: list[Judgement],
    plan: StoredPlan,
) -> Explained:
    position, occurred_at, event_type, event_name, _variant, explicit, misnamed = row
    started, stopped = plan.started_position, plan.stopped_position
    counts = position > plan.counted_after
    reason = None
    if misnamed is not None:
        reason = UnattributedReason[misnamed.upper()]
    elif counts and not judgements:
        # An event without an experiment, by somebody who never saw it: named as long as it ran.
        counts = started is not None and started < position and (stopped is None or position < stopped)
        reason = UnattributedReason.NOT_EXPOSED if counts else None
    outcomes = [
        Outcome(each.goal, each.variant_id, UnattributedReason[each.reason.upper()] if each.reason else None)
        for each in judgements
    ]
    return Explained(
        position, received[position], occurred_at, event_type, event_name, explicit, outcomes, reason, counts
    )
