"""A log that goes back for months, with every column filled and left out."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from domain.events import Fact, encode_fact, fact_type
from projections.event_ids import new_event_id
from projections.event_log import NewEvent, append, encode_row, postgres_us
from projections.partitions import ensure_partitions
from tests.projections.log_of_events import Plan, Seen, new_project

MARCH, APRIL, MAY = (datetime(2026, month, 10, 9, 30, 0, 123_457, UTC) for month in (3, 4, 5))


async def past_log(connection: psycopg.AsyncConnection[Any], experiment: Plan) -> uuid.UUID:
    """A project with an experiment since March, visits and purchases until May, and one visit now."""
    project_id = await new_project(connection)
    await ensure_partitions(connection, MARCH)
    await write_at(connection, project_id, MARCH, experiment.created(), experiment.started())
    for number, month in enumerate((MARCH, APRIL, MAY)):
        await write_at(connection, project_id, month, *_visits(experiment, number * 30), _odd())
        await write_at(
            connection, project_id, month + timedelta(hours=1), experiment.reweighted(600, 1, number + 2)
        )
        await write_at(connection, project_id, month + timedelta(hours=2), *_purchases(number * 30))
    await write_at(connection, project_id, datetime.now(UTC), *_visits(experiment, 100)[:1])
    return project_id


async def write_at(
    connection: psycopg.AsyncConnection[Any],
    project_id: uuid.UUID,
    time: datetime,
    *entries: Seen | Fact | NewEvent,
) -> None:
    """Append events and facts as received at a time, in one commit."""
    events = [_event(entry, time) for entry in entries]
    async with connection.transaction():
        await append(connection, {project_id: events}, lambda: time)


def _event(entry: Seen | Fact | NewEvent, time: datetime) -> NewEvent:
    if isinstance(entry, NewEvent):
        return entry
    if isinstance(entry, Seen):
        return entry.row()
    event_id = new_event_id(time)
    return NewEvent(
        event_id,
        encode_row(
            occurred_us=postgres_us(entry.at),
            event_id=event_id,
            source="management",
            event_type=fact_type(entry),
            experiment_id=getattr(entry, "experiment_id", None),
            event_data=encode_fact(entry),
        ),
    )


def _visits(experiment: Plan, first: int) -> list[Seen]:
    return [
        Seen(f"v{n}", n, experiment=experiment.experiment_id, variant=experiment.variants[n % 2].id)
        for n in range(first, first + 20)
    ]


def _purchases(first: int) -> list[Seen]:
    return [
        Seen(f"v{n}", n + 5, "conversion", "purchase", data=json.dumps({"amount": n / 7}))
        for n in range(first, first + 20, 3)
    ]


def _odd() -> NewEvent:
    """Text that does not survive a careless copy."""
    event_id = new_event_id(MARCH)
    row = encode_row(
        occurred_us=-1_234_567_890_123,
        event_id=event_id,
        source="server",
        event_type="päge\tview",
        event_name="",
        variant_id=uuid.UUID(int=7),
        visitor_id="zoë\n\\N",
        session_id=" ",
        pathname="/é",
        full_url="https://shop.example/?q=%00",
        referrer="🛒",
        utm=b'{ "source":\t"a" }',
        event_data=b'{"amount": 1.10, "amount":1e400, "n": 12345678901234567890123}',
        context=b"null",
    )
    return NewEvent(event_id, row)
