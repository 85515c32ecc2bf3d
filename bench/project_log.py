"""A log to project: visitors of 50 experiments, written straight into the log as the writer writes it."""

import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import psycopg

from domain.events import ExperimentCreated, ExperimentStarted, Fact
from domain.experiment import Goal, Variant
from projections.event_ids import VERSION_8, time_ordered
from projections.event_log import NewEvent, append, append_facts, encode_row, postgres_us

EXPERIMENTS = 50
VARIANTS = 2
# What a visitor does, as the browser script reports it: looks at pages and stays on them, sees two experiments,
# and every tenth one buys.
PAGES_PER_VISITOR = 6
EXPERIMENTS_PER_VISITOR = 2
BUYERS_SHARE = 0.1
EVENTS_PER_VISITOR = 2 * PAGES_PER_VISITOR + EXPERIMENTS_PER_VISITOR + BUYERS_SHARE
BATCH_EVENTS = 50_000

_POSTGRES_EPOCH_MS = 946_684_800_000

_GOALS = (
    Goal(name="purchase", event_type="conversion", event_name="purchase", kind="conversion", role="primary"),
    Goal(name="revenue", event_type="conversion", event_name="purchase", kind="value", value_field="amount"),
)


def experiment_id(number: int) -> uuid.UUID:
    """The id of an experiment of the bench."""
    return uuid.UUID(int=(7 << 64) + number)


def variant_id(number: int, variant: int) -> uuid.UUID:
    """The id of a variant of the bench."""
    return uuid.UUID(int=(8 << 64) + number * VARIANTS + variant)


async def start_experiments(connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID) -> None:
    """Write the facts of all experiments."""
    now = datetime.now(UTC) - timedelta(hours=1)
    async with connection.transaction():
        facts = [fact for number in range(EXPERIMENTS) for fact in _facts(number, now)]
        await append_facts(connection, project_id, facts, now)


def _facts(number: int, now: datetime) -> list[Fact]:
    variants = tuple(
        Variant(id=variant_id(number, at), name=f"variant {at}", is_control=at == 0, weight=1)
        for at in range(VARIANTS)
    )
    created = ExperimentCreated(
        at=now,
        actor="bench",
        experiment_id=experiment_id(number),
        name=f"experiment {number}",
        experiment_type="copy",
        target_url="",
        url_match_type="all",
        traffic_percentage=100,
        variants=variants,
        goals=_GOALS,
        hypothesis=None,
        attribution_window_hours=24,
    )
    return [created, ExperimentStarted(at=now, actor="bench", experiment_id=experiment_id(number))]


async def write_log(
    connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID, events: int, seed: int = 1
) -> int:
    """Append about that many events of visitors; how many it were."""
    random = Random(seed)
    began_us = postgres_us(datetime.now(UTC) - timedelta(minutes=30))
    batch: list[NewEvent] = []
    written = 0
    for visitor in range(int(events / EVENTS_PER_VISITOR)):
        batch += _visit(random, began_us + visitor * 100)
        if len(batch) >= BATCH_EVENTS:
            await _write(connection, project_id, batch)
            written += len(batch)
            batch = []
    await _write(connection, project_id, batch)
    return written + len(batch)


async def _write(connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID, batch: list[NewEvent]) -> None:
    async with connection.transaction():
        await append(connection, {project_id: batch}, lambda: datetime.now(UTC))


def _visit(random: Random, occurred_us: int) -> list[NewEvent]:
    visitor, session = (str(uuid.UUID(int=random.getrandbits(128))) for _ in range(2))
    shown = random.sample(range(EXPERIMENTS), EXPERIMENTS_PER_VISITOR)
    events: list[NewEvent] = []

    def add(event_type: str, **fields: Any) -> None:
        at_us = occurred_us + len(events) * 1000
        event_id = time_ordered(at_us // 1000 + _POSTGRES_EPOCH_MS, random.randbytes(10), VERSION_8)
        row = encode_row(
            occurred_us=at_us,
            event_id=event_id,
            source="browser",
            event_type=event_type,
            visitor_id=visitor,
            session_id=session,
            pathname="/products/42",
            full_url="https://shop.example/products/42?color=blue",
            referrer="https://search.example/",
            **fields,
        )
        events.append(NewEvent(event_id, row))

    for number in shown:
        named = {"experiment_id": experiment_id(number), "variant_id": variant_id(number, random.getrandbits(1))}
        data = msgspec.json.encode({name: str(value) for name, value in named.items()})
        add("experiment_impression", **named, event_data=data)
    for _ in range(PAGES_PER_VISITOR):
        add("pageview")
        add("engagement", event_data=b'{"engagedSeconds":12}')
    if random.random() < BUYERS_SHARE:
        add("conversion", event_name="purchase", event_data=b'{"amount":%d.5}' % random.randint(5, 200))
    return events
