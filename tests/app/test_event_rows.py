"""Rows from decoded events: their times and what they name, whatever the machine and the spelling."""

import struct
import time
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.decoding import decode_server_event, decode_track
from app.event_rows import NO_SUCH_ID, Horizon
from tests.projections.log_of_events import START, browser_event

HORIZON = Horizon(timedelta(days=30), timedelta(days=1))
EXPERIMENT, VARIANT = uuid.UUID(int=7), uuid.UUID(int=8)


@pytest.fixture
def in_tokyo(monkeypatch):
    """A machine whose local time is nine hours ahead."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize(
    "timestamp", ["2026-03-01T12:00:00", "2026-03-01T12:00:00Z", "2026-03-01T13:30:00+01:30", "20260301T120000Z"]
)
def test_a_time_without_an_offset_is_utc_on_any_machine(timestamp) -> None:
    """The machine's own time zone plays no part."""
    body = msgspec.json.encode({"eventType": "conversion", "eventName": "purchase", "timestamp": timestamp})

    row = decode_server_event(body, START, HORIZON, str).row

    assert _occurred_at(row) == datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (f'{{"experimentId": "{EXPERIMENT}", "variantId": "{VARIANT}"}}', (EXPERIMENT, VARIANT)),
        (f'{{"\\u0065xperimentId": "{EXPERIMENT}", "variant\\u0049d": "{VARIANT}"}}', (EXPERIMENT, VARIANT)),
        (f'{{"experimentId": "{EXPERIMENT}"}}', (EXPERIMENT, None)),
        ('{"experimentId": "hero", "variantId": 3}', (NO_SUCH_ID, NO_SUCH_ID)),
        ('{"experimentId": null, "variantId": ""}', (None, None)),
        ('{"other": {"experimentId": "hero"}}', (None, None)),
    ],
)
def test_what_an_event_names_is_found_however_it_is_spelled(data, named) -> None:
    """Ids stand at the top of eventData; what cannot be an id names nothing that exists."""
    event = browser_event(eventData=msgspec.Raw(data.encode()))
    body = msgspec.json.encode({"projectId": str(uuid.uuid4()), "events": [event]})

    track = decode_track(body, START, HORIZON)

    assert track is not None
    assert _named(track.events[0].row) == named


def _occurred_at(row: bytes) -> datetime:
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=struct.unpack_from(">iq", row)[1])


def _named(row: bytes) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """The fourth and fifth field: after time, id and source."""
    fields, at = [], 0
    for _ in range(5):
        length = struct.unpack_from(">i", row, at)[0]
        at += 4
        fields.append(None if length < 0 else row[at : at + length])
        at += max(0, length)
    experiment, variant = (None if field is None else uuid.UUID(bytes=field) for field in fields[3:])
    return experiment, variant
