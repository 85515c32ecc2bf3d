"""POST /server-events: one event of a backend, exactly once under its idempotencyKey."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from syrupy.assertion import SnapshotAssertion

from tests.app.everything_stored import everything_stored
from tests.app.http_project import API, HttpProject, open_project
from tests.app.wire_shape import wire

NOW = datetime.now(UTC).replace(microsecond=0)


async def test_an_event_is_answered_with_its_id(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """201 when it is new, 200 and the same eventId when it is sent again, 409 when its key stood for another."""
    first = await project.server_event(idempotencyKey="evt_1")
    again = await project.server_event(idempotencyKey="evt_1")
    other = await project.server_event(idempotencyKey="evt_1", properties={"amount": 1})
    assert [wire(first), wire(again), wire(other)] == snapshot
    assert first.json()["eventId"] == again.json()["eventId"]


async def test_twenty_equal_requests_at_once_are_one_event(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """However they race, one is new, the others are told its id, and the log holds one row."""
    answers = await asyncio.gather(*(project.server_event(idempotencyKey="race") for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.json()["eventId"] for answer in answers}) == 1
    [row] = await server_rows(connection)
    assert str(row["event_id"]) == answers[0].json()["eventId"]


async def test_two_bodies_that_race_for_a_key_are_one_event_and_conflicts(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """Whoever is first keeps the key; the other body hears 409 each time."""
    answers = await asyncio.gather(
        *(project.server_event(idempotencyKey="race", page=f"/{number % 2}") for number in range(20))
    )
    found = Counter(answer.status_code for answer in answers)
    assert found == {201: 1, 200: 9, 409: 10}
    assert len(await server_rows(connection)) == 1


async def test_the_same_key_of_two_projects_is_two_events(project: HttpProject) -> None:
    """A key belongs to its project."""
    other = await open_project(project.client)
    answers = [await each.server_event(idempotencyKey="k") for each in (project, other)]
    assert [answer.status_code for answer in answers] == [201, 201]


async def test_order_of_keys_and_white_space_do_not_matter(project: HttpProject) -> None:
    """A backend may write the same body in another way when it tries again."""
    body = {
        "eventType": "conversion",
        "eventName": "purchase",
        "idempotencyKey": "k",
        "properties": {"a": 1, "b": {"c": [1, 2], "d": None}},
    }
    turned = {
        "properties": {"b": {"d": None, "c": [1, 2]}, "a": 1},
        **{name: body[name] for name in ("idempotencyKey", "eventName", "eventType")},
    }
    answers = [
        await project.server_event(json.dumps(body)),
        await project.server_event(json.dumps(turned, indent=3)),
        await project.server_event(json.dumps(turned | {"properties": {"b": {"d": None, "c": [2, 1]}, "a": 1}})),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 409]


@pytest.mark.parametrize("number", ["1e999", "-1e400000", "9" * 5_000])
async def test_a_body_beyond_floats_is_replayed_like_any_other(project: HttpProject, number: str) -> None:
    """The log keeps what was sent as text, so that a number no float holds is no reason to fail."""
    body = json.dumps({"eventType": "x", "eventName": "x", "idempotencyKey": "k", "properties": {"n": "@"}})
    body = body.replace('"@"', number)
    answers = [await project.server_event(body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["eventId"] == answers[1].json()["eventId"]


async def test_without_a_key_every_call_is_a_new_event(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """Nobody can tell a retry from a second purchase then."""
    answers = [await project.server_event(idempotencyKey=key) for key in (None, None)]
    answers += [await project.server_event() for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["eventId"] for answer in answers}) == len(await server_rows(connection)) == 4


async def test_every_documented_field_is_kept(project: HttpProject, connection: psycopg.AsyncConnection) -> None:
    """What the reference lists is read back from the log; of the address only a hash."""
    experiment = await project.running()
    chosen = {"experimentId": experiment["id"], "variantId": experiment["variants"][1]["id"]}
    await project.server_event(
        eventName="Größe 42",
        timestamp=NOW.isoformat(),
        visitor={"id": "user-7", "ip": "203.0.113.77", "userAgent": "Mozilla/5.0 (X11)"},
        page="/checkout",
        properties={"amount": 49.9, "nested": {"list": [1, None]}},
        **chosen,
    )
    [row] = await server_rows(connection)
    context = row.pop("context")
    row.pop("event_id")
    assert row == {
        "event_type": "conversion",
        "event_name": "Größe 42",
        "occurred_at": NOW,
        "visitor_id": "user-7",
        "pathname": "/checkout",
        "event_data": {"amount": 49.9, "nested": {"list": [1, None]}},
        "experiment_id": chosen["experimentId"],
        "variant_id": chosen["variantId"],
    }
    assert set(context) == {"userAgent", "addressHash"}
    assert context["userAgent"] == "Mozilla/5.0 (X11)"


async def test_an_address_is_stored_nowhere(project: HttpProject, connection: psycopg.AsyncConnection) -> None:
    """No table of any schema holds it, in no column."""
    address = "203.0.113.77"
    await project.server_event(visitor={"id": "u", "ip": address}, idempotencyKey="k")
    await project.results(await project.running())
    text = await everything_stored(connection)
    assert "purchase" in text
    assert address not in text


async def test_a_time_may_be_written_in_any_iso_way(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """With Z, an offset or neither (which is UTC), in long or short form."""
    written = {
        NOW.strftime("%Y-%m-%dT%H:%M:%SZ"): NOW,
        NOW.strftime("%Y-%m-%dT%H:%M:%S.123456Z"): NOW + timedelta(microseconds=123456),
        (NOW + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"): NOW,
        (NOW - timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S-0530"): NOW,
        NOW.strftime("%Y-%m-%dT%H:%M:%S"): NOW,
        NOW.strftime("%Y%m%dT%H%M%SZ"): NOW,
        NOW.strftime("%Y-%m-%d"): NOW.replace(hour=0, minute=0, second=0),
    }
    for timestamp in written:
        assert (await project.server_event(timestamp=timestamp)).status_code == 201
    times = [row["occurred_at"] for row in await server_rows(connection)]
    assert dict(zip(written, times, strict=True)) == written


async def test_without_a_time_an_event_happens_when_it_arrives(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """Absent and null are the same."""
    before = datetime.now(UTC)
    await project.server_event()
    await project.server_event(timestamp=None)
    times = [row["occurred_at"] for row in await server_rows(connection)]
    assert all(before <= time <= datetime.now(UTC) for time in times)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"properties": {"a": 1}}, {"a": 1}),
        ({"eventData": {"b": 2}}, {"b": 2}),
        ({"properties": {"a": 1}, "eventData": {"b": 2}}, {"a": 1}),
        ({"properties": {}, "eventData": {"b": 2}}, {}),
        ({"properties": None, "eventData": {"b": 2}}, {"b": 2}),
        ({}, None),
    ],
)
async def test_properties_may_be_called_event_data_and_win(
    project: HttpProject, connection: psycopg.AsyncConnection, sent: dict[str, Any], kept: Any
) -> None:
    """The guide and the reference name the object differently; the reference wins."""
    await project.server_event(**sent)
    [row] = await server_rows(connection)
    assert row["event_data"] == kept


async def test_any_content_type_will_do(project: HttpProject) -> None:
    """A body is JSON, whatever it is called."""
    body = b'{"eventType": "conversion", "eventName": "x"}'
    headers = {**project.auth, "content-type": "text/plain"}
    answer = await project.client.post(f"{API}/server-events", content=body, headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"eventType": "conversion"},
        {"eventType": "", "eventName": "x"},
        {"eventType": "conversion", "eventName": "x", "timestamp": "yesterday"},
        {"eventType": "conversion", "eventName": "x", "timestamp": 1_700_000_000_000},
        {"eventType": "conversion", "eventName": "x", "timestamp": "1970-01-01T00:00:00Z"},
        {"eventType": "conversion", "eventName": "x", "timestamp": "9999-12-31T23:59:59-14:00"},
        {"eventType": "conversion", "eventName": "x", "properties": [1]},
        {"eventType": "conversion", "eventName": "x", "visitor": {"id": 7}},
        {"eventType": "conversion", "eventName": "x", "page": "\0"},
    ],
)
async def test_an_event_that_cannot_be_kept_is_refused_with_its_path(
    project: HttpProject, snapshot: SnapshotAssertion, body: dict[str, Any]
) -> None:
    """400 says where and why."""
    assert wire(await project.server_event(json.dumps(body))) == snapshot


async def test_without_a_key_that_works_nothing_is_taken(
    project: HttpProject, connection: psycopg.AsyncConnection, snapshot: SnapshotAssertion
) -> None:
    """401 for none, for another scheme, for nonsense and for an unknown key; 403 for a replaced one."""
    unknown = project.secret_key[:-1] + ("A" if project.secret_key[-1] != "A" else "B")
    answers = []
    for value in (None, "Basic abc", "Bearer", "Bearer nonsense", f"Bearer {unknown}"):
        headers = {"Authorization": value} if value else {}
        answer = await project.client.post(f"{API}/server-events", content=b"{}", headers=headers)
        answers.append(wire(answer))
    await connection.execute("update secret_key set valid_until = now() - interval '1 second'")
    answers.append(wire(await project.server_event()))
    assert answers == snapshot
    assert [answer["status"] for answer in answers] == [401] * 5 + [403]
    assert await server_rows(connection) == []


async def server_rows(connection: psycopg.AsyncConnection) -> list[dict[str, Any]]:
    """What the log keeps of server events, in order."""
    names = (
        "event_id, event_type, event_name, occurred_at, visitor_id, pathname, event_data,"
        " experiment_id::text, variant_id::text, context"
    )
    cursor = await connection.execute(f"select {names} from event_log where source = 'server' order by position")
    columns = [column.name for column in cursor.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in await cursor.fetchall()]


async def test_a_backend_may_expose_a_visitor_too(project: HttpProject) -> None:
    """An experiment_impression from a server counts, its ids beside the event or inside its properties."""
    experiment = await project.running()
    ids = {"experimentId": experiment["id"], "variantId": experiment["variants"][1]["id"]}
    seen = {"eventType": "experiment_impression", "eventName": "assigned"}
    await project.server_event({**seen, **ids, "visitor": {"id": "ann"}})
    await project.server_event({**seen, "properties": ids, "visitor": {"id": "bob"}})

    found = await project.results(experiment)

    assert [variant["visitors"] for variant in found["variants"]] == [0, 2]
