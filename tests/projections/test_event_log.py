"""The log: dense positions in commit order, each event once, a chain that shows what was there."""

import asyncio
import struct
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connect
from projections.event_log import (
    EMPTY_HEAD,
    IdempotencyKey,
    NewEvent,
    append,
    append_facts,
    chain_digest,
    position_at,
    read_head,
    received_at,
)
from tests.projections.log_of_events import START, Seen, browser_event, decoded, new_project, plan

NOW = datetime(2026, 3, 2, tzinfo=UTC)


async def test_an_append_gives_the_next_positions(connection) -> None:
    """Positions are 1, 2, 3 in the order given, whatever came before in other projects."""
    first, second = await new_project(connection), await new_project(connection)

    await append(connection, {first: [Seen("ann", 1).row(), Seen("ann", 2).row()]}, {}, NOW)
    await append(connection, {first: [Seen("bob", 3).row()], second: [Seen("cid", 4).row()]}, {}, NOW)

    assert await _positions(connection, first) == [(1, "ann"), (2, "ann"), (3, "bob")]
    assert await _positions(connection, second) == [(1, "cid")]


async def test_an_event_that_was_seen_before_takes_no_position(connection) -> None:
    """Equal visitorId, timestamp, eventType and pathname make one event, however often it is sent."""
    project_id = await new_project(connection)
    events = decoded(project_id, browser_event(), browser_event(visitorId="other"))

    first = await append(connection, {project_id: events}, {}, NOW)
    again = await append(
        connection, {project_id: [*events, *decoded(project_id, browser_event(pathname="/b"))]}, {}, NOW
    )

    assert len(first.fresh) == 2
    assert len(again.fresh) == 1
    assert [position for position, _ in await _positions(connection, project_id)] == [1, 2, 3]


async def test_the_same_event_of_two_projects_counts_in_both(connection) -> None:
    """Dedupe is local to a project."""
    projects = [await new_project(connection), await new_project(connection)]

    for project_id in projects:
        await append(connection, {project_id: decoded(project_id, browser_event())}, {}, NOW)

    assert [len(await _positions(connection, project_id)) for project_id in projects] == [1, 1]


async def test_a_batch_of_duplicates_writes_no_batch_row(connection) -> None:
    """Nothing new is nothing written: the head stays where it was."""
    project_id = await new_project(connection)
    events = decoded(project_id, browser_event())
    await append(connection, {project_id: events}, {}, NOW)
    before = await read_head(connection, project_id)

    await append(connection, {project_id: events}, {}, NOW)

    assert await read_head(connection, project_id) == before


async def test_an_idempotency_key_tells_what_it_stood_for(connection) -> None:
    """The second use of a key appends nothing and shows event and body of the first."""
    project_id = await new_project(connection)
    key = IdempotencyKey(b"k" * 16, b"b" * 16)
    first, second = (Seen("ann", minute).row()._replace(idempotency=key) for minute in (1, 2))

    await append(connection, {project_id: [first]}, {}, NOW)
    appended = await append(connection, {project_id: [second]}, {}, NOW)

    assert appended.fresh == set()
    assert appended.known == {(project_id, key.key_hash): (first.event_id, key.body_hash)}


async def test_writers_with_stale_heads_go_behind_each_other(connection) -> None:
    """A cached head that another writer has passed costs a try, and no position is taken twice."""
    project_id = await new_project(connection)
    stale = {project_id: EMPTY_HEAD}

    for minute in range(3):
        await append(connection, {project_id: [Seen("ann", minute).row()]}, stale, NOW)

    assert [position for position, _ in await _positions(connection, project_id)] == [1, 2, 3]


async def test_many_writers_at_once_leave_no_gap_and_lose_nothing(database_url) -> None:
    """Eight connections append to three projects in overlapping transactions, some of which roll back."""
    async with await connect(database_url) as watching:
        projects = [await new_project(watching) for _ in range(3)]
        written = await asyncio.gather(*(_write_a_lot(database_url, projects, writer) for writer in range(8)))

        for number, project_id in enumerate(projects):
            expected = sorted(visitor for kept in written for visitor in kept[number])
            found = await _positions(watching, project_id)
            assert [position for position, _ in found] == list(range(1, len(expected) + 1))
            assert sorted(visitor for _, visitor in found) == expected
            await _assert_chain(watching, project_id)


async def test_a_reader_never_sees_a_later_event_before_an_earlier_one(database_url) -> None:
    """While writers race, every look at the log sees positions 1 to n without a hole."""
    async with await connect(database_url) as reading:
        project_id = await new_project(reading)
        writing = asyncio.gather(*(_write_a_lot(database_url, [project_id], writer) for writer in range(4)))
        looks = 0
        while not writing.done():
            row = await (
                await reading.execute(
                    "select count(*), coalesce(max(position), 0) from event_log where project_id = %s",
                    (project_id,),
                )
            ).fetchone()
            assert row is not None
            assert row[0] == row[1]
            looks += 1
            await asyncio.sleep(0)
        await writing
        assert looks > 1


async def test_the_chain_covers_every_row(connection) -> None:
    """A digest computed anew from the stored rows equals the stored one, and not after a row was changed."""
    project_id = await new_project(connection)
    await append_facts(connection, project_id, [plan().created()], NOW)
    await append(
        connection, {project_id: decoded(project_id, browser_event(), browser_event(pathname="/b"))}, {}, NOW
    )
    await _assert_chain(connection, project_id)

    await connection.execute(
        "update event_log set visitor_id = 'somebody else' where project_id = %s and position = 2", (project_id,)
    )

    with pytest.raises(AssertionError):
        await _assert_chain(connection, project_id)


async def test_received_at_never_goes_backwards(connection) -> None:
    """A clock that is set back does not disorder the log."""
    project_id = await new_project(connection)

    for now in (NOW, NOW - timedelta(hours=1), NOW + timedelta(hours=1)):
        await append(connection, {project_id: [Seen("ann", 1).row()]}, {}, now)

    times = [await received_at(connection, project_id, position) for position in (1, 2, 3)]
    assert times == [NOW, NOW, NOW + timedelta(hours=1)]


async def test_a_time_finds_the_last_position_received_by_then(connection) -> None:
    """Before the first event the position is 0; at a time between two batches it is the earlier one's end."""
    project_id = await new_project(connection)
    await append(connection, {project_id: [Seen("ann", 1).row(), Seen("bob", 1).row()]}, {}, NOW)
    await append(connection, {project_id: [Seen("cid", 1).row()]}, {}, NOW + timedelta(minutes=10))

    found = [
        await position_at(connection, project_id, NOW + timedelta(minutes=minutes)) for minutes in (-1, 0, 9, 10)
    ]

    assert found == [0, 2, 2, 3]


def test_equal_times_in_another_spelling_are_one_event() -> None:
    """1.5e3, 1500 and 1500.0 are the same timestamp; 1500.25 is another one."""
    project_id = uuid.uuid4()
    base = int(START.timestamp() * 1000)

    ids = [
        decoded(project_id, browser_event(timestamp=timestamp))[0].event_id for timestamp in (base, float(base))
    ]
    other = decoded(project_id, browser_event(timestamp=base + 0.25))[0].event_id

    assert ids[0] == ids[1] != other


async def _write_a_lot(url: str, projects: list[uuid.UUID], writer: int) -> list[list[str]]:
    kept: list[list[str]] = [[] for _ in projects]
    heads = dict.fromkeys(projects, EMPTY_HEAD)  # always stale: every append has to find its place
    async with await connect(url) as connection:
        for round_number in range(12):
            names = {project_id: f"{writer}-{round_number}-{at}" for at, project_id in enumerate(projects)}
            batches: dict[uuid.UUID, list[NewEvent]] = {
                project_id: [Seen(name, 1).row(), Seen(name, 2).row()] for project_id, name in names.items()
            }
            try:
                async with connection.transaction():
                    await append(connection, batches, heads, NOW)
                    if round_number % 4 == writer % 4:
                        raise _ChangedMyMindError
            except _ChangedMyMindError:
                continue
            for at, project_id in enumerate(projects):
                kept[at] += [names[project_id]] * 2
    return kept


class _ChangedMyMindError(Exception):
    pass


async def _positions(connection, project_id) -> list[tuple[int, str]]:
    cursor = await connection.execute(
        "select position, visitor_id from event_log where project_id = %s order by position", (project_id,)
    )
    return await cursor.fetchall()


async def _assert_chain(connection, project_id) -> None:
    cursor = await connection.execute(
        "select first_position, event_count, received_at, digest from log_batch"
        " where project_id = %s order by first_position",
        (project_id,),
    )
    previous = bytes(32)
    for first, count, received, digest in await cursor.fetchall():
        rows = await _stored_rows(connection, project_id, first, first + count - 1)
        previous = chain_digest(previous, project_id, first, received, rows)
        assert previous == bytes(digest)


async def _stored_rows(connection, project_id, first, last) -> list[bytes]:
    """What follows received_at in each stored row, in PostgreSQL's own binary form."""
    query = (
        "copy (select occurred_at, event_id, source, experiment_id, variant_id, event_type, event_name,"
        " visitor_id, session_id, pathname, full_url, referrer, utm, event_data, context from event_log"
        f" where project_id = '{project_id}' and position between {first} and {last} order by position)"
        " to stdout (format binary)"
    )
    async with connection.cursor() as cursor, cursor.copy(query) as copy:
        data = b"".join([bytes(part) async for part in copy])
    rows, at = [], 19
    while struct.unpack_from(">h", data, at)[0] != -1:
        begin = at = at + 2
        for _ in range(15):
            length = struct.unpack_from(">i", data, at)[0]
            at += 4 + max(0, length)
        rows.append(data[begin:at])
    return rows
