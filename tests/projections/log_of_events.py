"""Makes logs for tests: visitors' events and experiments' facts, appended as the server appends them."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import psycopg

from app.decoding import decode_track
from app.event_rows import Horizon
from domain.events import ExperimentCreated, ExperimentStarted, ExperimentStopped, Fact, VariantWeightsChanged
from domain.experiment import Goal, Variant
from projections.event_ids import new_event_id
from projections.event_log import NewEvent, append, append_facts, encode_row, postgres_us

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HORIZON = Horizon(timedelta(days=30), timedelta(days=1))


class Seen(NamedTuple):
    """One visitor event as a test speaks of it; `minute` counts from START."""

    visitor: str | None
    minute: int
    event_type: str = "experiment_impression"
    event_name: str | None = None
    experiment: uuid.UUID | None = None
    variant: uuid.UUID | None = None
    data: str | None = None
    referrer: str | None = None

    @property
    def occurred_at(self) -> datetime:
        """The client's time."""
        return START + timedelta(minutes=self.minute)

    def row(self) -> NewEvent:
        """The event as the writer takes it, with an id of its own."""
        event_id = new_event_id(self.occurred_at)
        row = encode_row(
            occurred_us=postgres_us(self.occurred_at),
            event_id=event_id,
            source="browser",
            event_type=self.event_type,
            event_name=self.event_name,
            experiment_id=self.experiment,
            variant_id=self.variant,
            visitor_id=self.visitor,
            event_data=self.data.encode() if self.data is not None else None,
            referrer=self.referrer,
        )
        return NewEvent(event_id, row)


class Plan(NamedTuple):
    """An experiment of a test."""

    experiment_id: uuid.UUID
    variants: tuple[Variant, ...]
    goals: tuple[Goal, ...]
    window_hours: int

    def created(self) -> Fact:
        """The fact that it exists."""
        return ExperimentCreated(
            at=START,
            actor="test",
            experiment_id=self.experiment_id,
            name="test",
            experiment_type="copy",
            target_url="",
            url_match_type="all",
            traffic_percentage=100,
            variants=self.variants,
            goals=self.goals,
            hypothesis=None,
            attribution_window_hours=self.window_hours,
        )

    def started(self, minute: int = 0) -> Fact:
        """The fact that it runs."""
        return ExperimentStarted(
            at=START + timedelta(minutes=minute), actor="test", experiment_id=self.experiment_id
        )

    def stopped(self, minute: int) -> Fact:
        """The fact that it has ended."""
        return ExperimentStopped(
            at=START + timedelta(minutes=minute), actor="test", experiment_id=self.experiment_id
        )

    def reweighted(self, minute: int, *weights: int) -> Fact:
        """The fact that its weights changed."""
        named = {str(variant.id): weight for variant, weight in zip(self.variants, weights, strict=True)}
        return VariantWeightsChanged(
            at=START + timedelta(minutes=minute), actor="test", experiment_id=self.experiment_id, weights=named
        )


PURCHASE = Goal(name="purchase", event_type="conversion", event_name="purchase", kind="conversion", role="primary")
CONVERSIONS = Goal(name="conversions", event_type="conversion", kind="count")
REVENUE = Goal(name="revenue", event_type="conversion", event_name="purchase", kind="value", value_field="amount")


def plan(number: int = 1, *, variants: int = 2, window_hours: int = 1) -> Plan:
    """An experiment with ids that follow from its number."""
    arms = tuple(
        Variant(id=uuid.UUID(int=number * 100 + index), name=f"variant {index}", is_control=index == 1, weight=1)
        for index in range(1, variants + 1)
    )
    return Plan(uuid.UUID(int=number * 100), arms, (PURCHASE, CONVERSIONS, REVENUE), window_hours)


async def new_project(connection: psycopg.AsyncConnection[Any]) -> uuid.UUID:
    """A project without keys and facts."""
    project_id = uuid.uuid4()
    await connection.execute("insert into project values (%s, 'test', '{}', ''::bytea, now())", (project_id,))
    return project_id


async def write(connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID, *entries: Seen | Fact) -> None:
    """Append events and facts in this order."""
    for entry in entries:
        async with connection.transaction():
            if isinstance(entry, Seen):
                await append(connection, {project_id: [entry.row()]}, lambda: datetime.now(UTC))
            else:
                await append_facts(connection, project_id, [entry], datetime.now(UTC))


def browser_event(**changes: Any) -> dict[str, Any]:
    """A track event as a browser sends it."""
    return {
        "eventType": "pageview",
        "pathname": "/",
        "fullUrl": "https://shop.example/",
        "sessionId": "session",
        "visitorId": "visitor",
        "timestamp": int(START.timestamp() * 1000),
        **changes,
    }


def decoded(project_id: uuid.UUID, *events: dict[str, Any]) -> list[NewEvent]:
    """Track events as the server decodes them."""
    body = msgspec.json.encode({"projectId": str(project_id), "events": events})
    track = decode_track(body, START, HORIZON)
    assert track is not None
    assert not track.rejected
    return track.events
