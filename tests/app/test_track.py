"""POST /track: what browsers send is kept, each event once, and one bad event costs no neighbour."""

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from syrupy.assertion import SnapshotAssertion

from app import log_writer
from tests.app.conftest import Site
from tests.app.http_project import API, HttpProject, Json, event, open_project
from tests.app.wire_shape import wire

UTM = {
    "source": "news",
    "medium": "e-mail",
    "campaign": "spring ✿",
    "term": "shoes",
    "content": "top",
}
MEBIBYTE = 1024 * 1024


async def test_a_batch_is_answered_with_what_became_of_it(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """Accepted, duplicates and rejections by index, in this shape."""
    twice = event()
    answer = await project.track(twice, twice, event(visitorId=7), event())
    assert wire(answer) == snapshot


async def test_every_documented_field_is_kept(project: HttpProject, connection: psycopg.AsyncConnection) -> None:
    """What the reference lists is read back from the log as it was sent."""
    sent = event(
        eventType="add_to_cart",
        eventName="Größe 42",
        eventData={"sku": "A-1", "nested": {"list": [1, 2.5, None, True]}, "emoji": "🛒"},
        pathname="/shoes",
        fullUrl="https://shop.example/shoes?colour=red#top",
        referrer="https://search.example/?q=shoes",
        sessionId="session-9",
        visitorId="visitor-9",
        utm=UTM,
    )
    await project.accepted(sent)
    [row] = await browser_rows(connection)
    assert row == {
        "event_type": "add_to_cart",
        "event_name": "Größe 42",
        "event_data": sent["eventData"],
        "pathname": "/shoes",
        "full_url": sent["fullUrl"],
        "referrer": sent["referrer"],
        "session_id": "session-9",
        "visitor_id": "visitor-9",
        "occurred_at": datetime.fromtimestamp(sent["timestamp"] / 1000, UTC),
        "utm": UTM,
    }


async def test_optional_fields_may_be_absent_or_null(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """An event of required fields only, and one whose optional ones are null, say the same."""
    optional = ("eventName", "eventData", "referrer", "utm")
    await project.accepted(event(), event(**dict.fromkeys(optional)))
    for row in await browser_rows(connection):
        assert [row[name] for name in ("event_name", "event_data", "referrer", "utm")] == [None] * 4


async def test_a_partial_utm_is_kept_as_far_as_it_goes(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """One campaign parameter does not need the others."""
    await project.accepted(event(utm={"source": "news"}))
    [row] = await browser_rows(connection)
    assert {name: value for name, value in row["utm"].items() if value} == {"source": "news"}


async def test_fractions_of_a_millisecond_are_kept_and_tell_events_apart(
    project: HttpProject, connection: psycopg.AsyncConnection
) -> None:
    """`performance.now()` gives such times: 1.25 ms is not 1.5 ms, and 1.0 is 1."""
    at = event()["timestamp"]
    answer = await project.track(*(event(timestamp=time) for time in (at, at + 0.25, at + 0.5, float(at))))
    assert answer.json() == {"accepted": 3, "duplicates": 1, "rejected": []}
    micros = [row["occurred_at"].microsecond % 1000 for row in await browser_rows(connection)]
    assert micros == [0, 250, 500]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/octet-stream",
        "nonsense",
    ],
)
async def test_any_content_type_is_read_as_json(project: HttpProject, content_type: str) -> None:
    """Beacons cannot choose theirs."""
    answer = await project.track(event(), headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)


async def test_a_gzip_body_is_read(project: HttpProject) -> None:
    """Content-Encoding gzip, however it is spelled."""
    for encoding in ("gzip", "GZIP", " gzip "):
        body = gzip.compress(project.track_body(json.dumps([event()]).encode()))
        answer = await project.client.post(f"{API}/track", content=body, headers={"content-encoding": encoding})
        assert answer.json()["accepted"] == 1


async def test_a_body_that_is_not_what_its_encoding_says_is_refused(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """No gzip, a gzip cut short, and an encoding that is not known."""
    whole = gzip.compress(project.track_body(b"[]"))
    for encoding, body in (("gzip", b"{}"), ("gzip", whole[:-9]), ("br", b"{}")):
        headers = {"content-encoding": encoding}
        assert wire(await project.client.post(f"{API}/track", content=body, headers=headers)) == snapshot


async def test_a_gzip_bomb_is_refused_at_a_mebibyte(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """A gibibyte in a mebibyte is never unpacked."""
    bomb = gzip.compress(b" " * (200 * MEBIBYTE), compresslevel=9)
    assert len(bomb) < MEBIBYTE
    answer = await project.client.post(f"{API}/track", content=bomb, headers={"content-encoding": "gzip"})
    assert wire(answer) == snapshot


async def test_a_body_of_unknown_length_is_cut_off_at_a_mebibyte(project: HttpProject) -> None:
    """Chunks are counted as they come."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65_536

    answer = await project.client.post(f"{API}/track", content=chunks())
    assert (answer.status_code, answer.json()["title"]) == (413, "body too large")


async def test_a_full_queue_says_when_to_try_again(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    """503 with Retry-After to browsers and backends; what is sent again is new."""
    monkeypatch.setattr(log_writer, "QUEUED_EVENTS_MAX", 0)
    sent = event()
    assert wire(await project.track(sent)) == snapshot(name="browser")
    assert wire(await project.server_event()) == snapshot(name="backend")
    monkeypatch.undo()
    await project.accepted(sent)


@pytest.mark.parametrize("zipped", [False, True])
async def test_a_mebibyte_is_taken_and_a_byte_more_is_not(project: HttpProject, zipped: bool) -> None:  # noqa: FBT001
    """The limit is on the JSON text, packed or not."""
    body = project.track_body(json.dumps([event()]).encode())
    headers = {"content-encoding": "gzip"} if zipped else {}
    statuses = []
    for size in (MEBIBYTE, MEBIBYTE + 1):
        content = body.ljust(size)
        content = gzip.compress(content) if zipped else content
        answer = await project.client.post(f"{API}/track", content=content, headers=headers)
        statuses.append(answer.status_code)
    assert statuses == [202, 413]
    assert answer.json()["type"] == "urn:prooflog:problem:body_too_large"


async def test_a_thousand_events_are_taken_and_one_more_is_not(
    project: HttpProject, connection: psycopg.AsyncConnection, snapshot: SnapshotAssertion
) -> None:
    """The batch that is too large leaves nothing behind, whether or not its events are good."""
    await project.accepted(*(event() for _ in range(1_000)))
    assert wire(await project.track(*(event() for _ in range(1_001)))) == snapshot
    bad = await project.track(*(event() for _ in range(1_000)), 5)
    assert bad.status_code == 413
    assert len(await browser_rows(connection)) == 1_000


async def test_an_event_is_the_same_by_exactly_its_four_documented_fields(project: HttpProject) -> None:
    """Another value of any of the four is another event; all else may differ."""
    first = event()
    await project.accepted(first)
    await project.accepted(
        first | {"visitorId": "visitor-2"},
        first | {"timestamp": first["timestamp"] + 1},
        first | {"eventType": "scroll"},
        first | {"pathname": "/other"},
    )
    other = {"fullUrl": "x", "sessionId": "x", "referrer": "x", "eventName": "x", "eventData": {}, "utm": UTM}
    answer = await project.track(*(first | {name: value} for name, value in other.items()))
    assert answer.json() == {"accepted": 0, "duplicates": len(other), "rejected": []}


async def test_the_same_event_of_two_projects_is_two_events(project: HttpProject) -> None:
    """Dedupe never looks across projects."""
    shared = event()
    await project.accepted(shared)
    await (await open_project(project.client)).accepted(shared)


KEYS = st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from("ab"), st.sampled_from(("/", "/a")))
BATCHES = st.lists(st.lists(st.one_of(KEYS, KEYS, KEYS, st.none()), max_size=8), max_size=5)


def test_whatever_repeats_each_distinct_event_stands_in_the_log_once(site: Site, database_url: str) -> None:
    """Accepted, duplicates and rejected add up to what was sent, and positions are 1, 2, 3 ... without a gap."""
    base = event()["timestamp"]

    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    @given(batches=BATCHES)
    def any_batches(batches: list[list[tuple[int, int, str, str] | None]]) -> None:
        project = site.run(open_project, site.project.client)
        counts = {"accepted": 0, "duplicates": 0, "rejected": 0}
        for batch in batches:
            answer = site.run(project.track, *(keyed(base, key) for key in batch)).json()
            counts["accepted"] += answer["accepted"]
            counts["duplicates"] += answer["duplicates"]
            counts["rejected"] += len(answer["rejected"])
            assert [entry["index"] for entry in answer["rejected"]] == [
                index for index, key in enumerate(batch) if key is None
            ]
        sent = [key for batch in batches for key in batch]
        assert sum(counts.values()) == len(sent)
        with psycopg.connect(database_url) as connection:
            rows = connection.execute(
                "select position, visitor_id, occurred_at, event_type, pathname, source::text"
                " from event_log where project_id = %s order by position",
                [project.project_id],
            ).fetchall()
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        stored = [row[1:5] for row in rows if row[5] == "browser"]
        assert len(stored) == len(set(stored)) == counts["accepted"] == len({key for key in sent if key})

    any_batches()


def keyed(base: int, key: tuple[int, int, str, str] | None) -> Json:
    """An event with that dedupe key; a bad one for None."""
    if key is None:
        return event(visitorId=None)
    visitor, offset, kind, path = key
    return event(visitorId=f"v{visitor}", timestamp=base + offset, eventType=kind, pathname=path)


async def test_without_a_list_of_origins_any_page_may_send(project: HttpProject) -> None:
    """The answer may be read by any page."""
    answer = await project.track(event(), headers={"origin": "https://anywhere.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, "*")


async def test_with_a_list_of_origins_other_pages_are_refused(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """A listed origin passes, whatever its capitals; another one hears a refusal that it can read."""
    strict = await open_project(project.client, allowedOrigins=["https://Shop.example", "http://localhost:3000"])
    for origin in ("https://shop.example", "http://localhost:3000"):
        assert (await strict.track(event(), headers={"origin": origin})).json()["accepted"] == 1
    for origin in ("https://evil.example", "http://shop.example", "https://shop.example:8443", "null"):
        assert (await strict.track(event(), headers={"origin": origin})).status_code == 403
    assert (await strict.track(event())).status_code == 202  # a caller without an origin is no browser
    assert wire(await strict.track(event(), headers={"origin": "https://evil.example"})) == snapshot


@pytest.mark.parametrize("path", ["/track", "/experiments/active", "/script.js"])
async def test_a_preflight_is_answered(project: HttpProject, snapshot: SnapshotAssertion, path: str) -> None:
    """A page that sends JSON as JSON asks first."""
    headers = {"origin": "https://anywhere.example", "access-control-request-method": "POST"}
    assert wire(await project.client.options(f"{API}{path}", headers=headers)) == snapshot


async def test_a_batch_for_nobody_is_refused(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """An unknown project, an id that is none, and no id at all."""
    for project_id in ('"0b7b1f9e-0000-4000-8000-000000000000"', '"shop"', "7", "null"):
        body = f'{{"projectId": {project_id}, "events": []}}'
        assert wire(await project.client.post(f"{API}/track", content=body)) == snapshot
    assert wire(await project.client.post(f"{API}/track", content='{"events": []}')) == snapshot


async def test_an_empty_batch_is_no_mistake(project: HttpProject) -> None:
    """Nothing sent, nothing accepted."""
    assert (await project.track()).json() == {"accepted": 0, "duplicates": 0, "rejected": []}


async def browser_rows(connection: psycopg.AsyncConnection) -> list[dict[str, Any]]:
    """What the log keeps of browser events, in order."""
    names = (
        "event_type, event_name, event_data, pathname, full_url, referrer, session_id, visitor_id,"
        " occurred_at, utm"
    )
    query = f"select {names} from event_log where source = 'browser' order by position"
    cursor = await connection.execute(query)
    return [dict(zip(names.replace(",", "").split(), row, strict=True)) for row in await cursor.fetchall()]
