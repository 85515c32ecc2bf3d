"""The log: dense positions in commit order, each event once, a chain that shows what was there."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import msgspec
import psycopg
import pytest

from app.database import connect
from projections import chain, event_log
from projections.chain import ChainReport, verify_chain
from projections.event_log import (
    AlreadyKnownError,
    IdempotencyKey,
    NewEvent,
    append,
    append_facts,
    commit_new,
    end_stalled,
    position_at,
    read_head,
    received_at,
    settle,
)
from projections.exchange import exchange
from projections.queries import queries
from tests import citus
from tests.projections.log_of_events import START, Seen, browser_event, decoded, new_project, plan

NOW = datetime(2026, 3, 2, tzinfo=UTC)


async def test_an_append_gives_the_next_positions(connection) -> None:
    """Positions are 1, 2, 3 in the order given, whatever came before in other projects."""
    first, second = await new_project(connection), await new_project(connection)

    await append(connection, {first: [Seen("ann", 1).row(), Seen("ann", 2).row()]}, lambda: NOW)
    await append(connection, {first: [Seen("bob", 3).row()], second: [Seen("cid", 4).row()]}, lambda: NOW)

    assert await _positions(connection, first) == [(1, "ann"), (2, "ann"), (3, "bob")]
    assert await _positions(connection, second) == [(1, "cid")]


async def test_an_event_that_was_seen_before_takes_no_position(connection) -> None:
    """Equal visitorId, timestamp, eventType and pathname make one event, however often it is sent."""
    project_id = await new_project(connection)
    events = decoded(project_id, browser_event(), browser_event(visitorId="other"))

    first = await append(connection, {project_id: events}, lambda: NOW)
    again = await append(
        connection, {project_id: [*events, *decoded(project_id, browser_event(pathname="/b"))]}, lambda: NOW
    )

    assert len(first.fresh) == 2
    assert len(again.fresh) == 1
    assert [position for position, _ in await _positions(connection, project_id)] == [1, 2, 3]


async def test_the_same_event_of_two_projects_counts_in_both(connection) -> None:
    """Dedupe is local to a project."""
    projects = [await new_project(connection), await new_project(connection)]

    for project_id in projects:
        await append(connection, {project_id: decoded(project_id, browser_event())}, lambda: NOW)

    assert [len(await _positions(connection, project_id)) for project_id in projects] == [1, 1]


async def test_a_batch_of_duplicates_writes_no_batch_row(connection) -> None:
    """Nothing new is nothing written: the head stays where it was."""
    project_id = await new_project(connection)
    events = decoded(project_id, browser_event())
    await append(connection, {project_id: events}, lambda: NOW)
    before = await read_head(connection, project_id)

    await append(connection, {project_id: events}, lambda: NOW)

    assert await read_head(connection, project_id) == before


async def test_an_idempotency_key_tells_what_it_stood_for(connection) -> None:
    """The second use of a key appends nothing and shows event and body of the first."""
    project_id = await new_project(connection)
    key = IdempotencyKey(b"k" * 16, b"b" * 16)
    first, second = (msgspec.structs.replace(Seen("ann", minute).row(), idempotency=key) for minute in (1, 2))

    await append(connection, {project_id: [first]}, lambda: NOW)
    appended = await append(connection, {project_id: [second]}, lambda: NOW)

    assert appended.fresh == set()
    assert appended.known == {(project_id, key.key_hash): (first.event_id, key.body_hash)}


@pytest.mark.parametrize("writes", [commit_new, append])
@pytest.mark.parametrize("first_commits", [True, False])
async def test_who_waited_for_positions_takes_the_next_ones(database_url, first_commits, writes) -> None:
    """Who finds positions claimed waits, then goes behind them, or takes them if they were given back.

    Its events are received then: whoever has settled a time meanwhile may rely on it.
    """
    async with await connect(database_url) as first, await connect(database_url) as second:
        project_id = await new_project(first)
        transaction = first.transaction(force_rollback=not first_commits)
        async with transaction:
            await append(first, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)
            waiting = asyncio.create_task(
                writes(second, {project_id: [Seen("bob", 1).row(), Seen("bob", 2).row()]}, lambda: NOW)
            )
            await _until_it_waits(database_url, second)
            await asyncio.sleep(0.3)

        assert (await waiting).last_positions == {project_id: 3 if first_commits else 2}
        found = await _positions(first, project_id)
        assert [visitor for _, visitor in found] == (["ann", "bob", "bob"] if first_commits else ["bob", "bob"])
        received = await received_at(first, project_id, len(found))
        assert received is not None
        assert NOW + timedelta(seconds=0.3) <= received < NOW + timedelta(seconds=30)
        assert (await verify_chain(first, project_id)).fault is None


async def test_what_is_written_while_a_log_is_verified_is_no_fault(connection, database_url, monkeypatch) -> None:
    """A batch that comes between the last look at batches and the look for rows outside them is in its place."""
    project_id = await new_project(connection)
    await commit_new(connection, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)
    look = chain._batches  # noqa: SLF001

    async def look_before_others_write(*asked: Any) -> list[Any]:
        found = await look(*asked)
        if not found:
            async with await connect(database_url) as other:
                await commit_new(other, {project_id: [Seen("bob", 1).row()]}, lambda: NOW)
        return found

    monkeypatch.setattr(chain, "_batches", look_before_others_write)

    assert await verify_chain(connection, project_id) == ChainReport(1, 1, None, ANY)


async def test_events_that_wait_are_received_when_they_get_their_positions(database_url) -> None:
    """The time of a commit is not from before its wait: whoever settles a time meanwhile may rely on it."""
    async with await connect(database_url) as first, await connect(database_url) as second:
        project_id = await new_project(first)
        event = Seen("ann", 1).row()
        async with first.transaction(force_rollback=True):
            await append(first, {project_id: [event]}, lambda: NOW)
            # Waits for what becomes of the same event, before it asks for positions.
            waiting = asyncio.create_task(commit_new(second, {project_id: [event]}, lambda: NOW))
            await _until_it_waits(database_url, second)
            await asyncio.sleep(0.2)
        await waiting

        received = await received_at(first, project_id, 1)
        assert received is not None
        assert NOW + timedelta(seconds=0.2) <= received < NOW + timedelta(seconds=30)


async def test_what_is_committed_as_new_must_be_new(connection) -> None:
    """An event id or an idempotency key that is known writes nothing, and the session goes on."""
    project_id = await new_project(connection)
    key = IdempotencyKey(b"k" * 16, b"b" * 16)
    keyed, keyed_again = (msgspec.structs.replace(Seen("ann", minute).row(), idempotency=key) for minute in (1, 2))
    plain = Seen("bob", 1).row()
    await commit_new(connection, {project_id: [keyed, plain]}, lambda: NOW)

    for again in (keyed_again, plain):
        with pytest.raises(AlreadyKnownError):
            await commit_new(connection, {project_id: [Seen("cid", 1).row(), again]}, lambda: NOW)

    await commit_new(connection, {project_id: [Seen("cid", 1).row()]}, lambda: NOW)
    assert await _positions(connection, project_id) == [(1, "ann"), (2, "bob"), (3, "cid")]
    assert (await verify_chain(connection, project_id)).fault is None


async def test_what_postgresql_refuses_is_told_as_it_tells_it(connection) -> None:
    """A row that cannot be stored, a month that has no partition: its own error, and the session goes on."""
    project_id = await new_project(connection)
    broken = msgspec.structs.replace(Seen("ann", 1).row(), row=Seen("ann", 1).row().row[:-1] + b"x")

    for event, now, refusal in (
        (broken, NOW, psycopg.DataError),
        (Seen("bob", 1).row(), NOW + timedelta(days=9_000), psycopg.errors.CheckViolation),
    ):
        with pytest.raises(refusal):
            await commit_new(connection, {project_id: [Seen("cid", 1).row(), event]}, lambda now=now: now)

    await commit_new(connection, {project_id: [Seen("cid", 1).row()]}, lambda: NOW)
    assert await _positions(connection, project_id) == [(1, "cid")]


@pytest.mark.parametrize(
    "stands", ["before its claim", "before its rows", "before its commit", "behind a command"]
)
async def test_a_process_that_stands_still_with_positions_claimed_is_not_waited_for(
    database_url, connection, stands
) -> None:
    """Its session is ended, nothing of it is in the log, and who waited takes the positions."""
    project_id = await new_project(connection)
    event = Seen("bob", 1).row()
    event_id = uuid.UUID(bytes=event.event_id)
    async with await connect(database_url) as still, await connect(database_url) as waiting:
        if stands == "before its rows":
            claim = f"select * from claim_positions('{project_id}', 1, sha256(''), now())"
            statements = (queries("event_log")["begin"], claim, queries("event_log")["copy_events"], "commit")
            still.pgconn.send_query(";".join(statements).encode())
            still.pgconn.flush()
        else:
            await still.execute("begin")
            if stands == "before its claim":
                await still.execute("insert into event_ledger values (%s, %s)", (project_id, event_id))
            elif stands == "before its commit":
                await append(still, {project_id: [event]}, lambda: NOW)
            else:
                await append_facts(still, project_id, [plan().created()], NOW)
                await still.execute("select 1")
        await _until_it_holds_what_others_want(connection, still)
        written = asyncio.create_task(commit_new(waiting, {project_id: [event]}, lambda: datetime.now(UTC)))
        await _until_it_waits(database_url, waiting)

        assert await end_stalled(connection, 30) == 0
        await asyncio.sleep(0.1)
        assert await end_stalled(connection, 0.1) == 1
        await written
        await still.close()
    assert await _positions(connection, project_id) == [(1, "bob")]


async def test_nobody_else_s_session_is_ended(database_url, connection) -> None:
    """Not one that has claimed nothing, waits for positions, got them just now, or restores a dump."""
    project_id = await new_project(connection)
    async with (
        await connect(database_url) as person,
        await connect(database_url) as restoring,
        await connect(database_url) as first,
        await connect(database_url) as second,
    ):
        await person.execute("begin isolation level read committed")
        await person.execute("select count(*) from log_batch")
        restoring.pgconn.send_query(b"copy log_batch from stdin")
        restoring.pgconn.flush()
        await first.execute("begin")
        await append(first, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)
        await second.execute("begin")
        waiting = asyncio.create_task(append(second, {project_id: [Seen("bob", 1).row()]}, lambda: NOW))
        await _until_it_waits(database_url, second)
        await asyncio.sleep(0.6)
        await first.execute("commit")
        await waiting

        assert await end_stalled(connection, 0.5) == 0
        await second.execute("commit")
        await person.execute("commit")
        await restoring.close()


async def test_what_is_cut_off_leaves_nothing_behind(database_url, connection, monkeypatch) -> None:
    """A commit that is cancelled while it waits, and a defect in the middle of one, close the session."""
    project_id = await new_project(connection)
    events = {project_id: [Seen("bob", 1).row()]}
    async with await connect(database_url) as first, await connect(database_url) as second:
        await first.execute("begin")
        await append(first, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)
        waiting = asyncio.create_task(commit_new(second, events, lambda: NOW))
        await _until_it_waits(database_url, second)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert second.closed
        await first.execute("rollback")

        monkeypatch.setattr(event_log, "_rows", lambda *_: 1 / 0)
        await first.execute("begin")
        with pytest.raises(ZeroDivisionError):
            await append(first, events, lambda: NOW)
        assert first.closed
        monkeypatch.undo()

    await commit_new(connection, events, lambda: NOW)
    assert await _positions(connection, project_id) == [(1, "bob")]


async def test_a_session_s_own_isolation_keeps_nobody_from_going_behind(database_url, connection) -> None:
    """Where all is serializable by default, a commit still sees what was committed while it waited."""
    project_id = await new_project(connection)
    async with await connect(database_url) as second:
        await second.execute("set default_transaction_isolation = 'serializable'")
        await connection.execute("begin")
        await append(connection, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)
        waiting = asyncio.create_task(commit_new(second, {project_id: [Seen("bob", 1).row()]}, lambda: NOW))
        await _until_it_waits(database_url, second)
        await connection.execute("commit")
        assert (await waiting).last_positions == {project_id: 2}


async def test_everybody_locks_in_one_order(connection, monkeypatch) -> None:
    """Ledgers before keys before positions, each by project, ids in order: no two commits wait for each other."""
    projects = sorted([await new_project(connection) for _ in range(3)], key=lambda each: each.bytes)
    key = IdempotencyKey(uuid.uuid4().bytes, b"b" * 16)
    sent: list[str] = []

    async def exchanged(connection, statements, copied):
        sent.extend(statements)
        return await exchange(connection, statements, copied)

    monkeypatch.setattr(event_log, "exchange", exchanged)
    rows = [Seen("ann", minute).row() for minute in range(20, 0, -1)]
    keyed = msgspec.structs.replace(Seen("bob", 1).row(), idempotency=key)
    batches = {project_id: [keyed, *rows] for project_id in (projects[2], projects[0], projects[1])}
    await commit_new(connection, batches, lambda: NOW)

    for project, ledger, keys, claim in zip(projects, sent[1:4], sent[4:7], sent[7:10], strict=True):
        assert all(project.hex in statement for statement in (ledger, keys, claim))
        assert ledger.startswith("insert into event_ledger")
        assert keys.startswith("insert into idempotency_key")
        assert "claim_positions" in claim
        assert ",".join(sorted(row.event_id.hex() for row in rows)) in ledger


async def test_a_session_that_began_early_never_reads_all_batches(connection) -> None:
    """A plan that was made when PostgreSQL knew of three batches, and is kept, goes by the key as well."""
    project_id = await new_project(connection)
    await connection.execute("alter table log_batch set (autovacuum_enabled = off)")
    for number in range(15):
        if number == 3:
            await connection.execute("vacuum analyze log_batch")
        await commit_new(connection, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)

    await connection.execute("select pg_stat_force_next_flush()")
    await connection.execute("select 1")
    read = await connection.execute("select seq_tup_read from pg_stat_user_tables where relname = 'log_batch'")
    assert await read.fetchone() == (0,)


async def test_new_events_of_many_projects_share_a_commit(connection) -> None:
    """Each project has its own positions; all are there, or none."""
    projects = [await new_project(connection) for _ in range(3)]
    batches = {project_id: [Seen("ann", minute).row() for minute in range(3)] for project_id in projects}
    await commit_new(connection, {projects[1]: batches[projects[1]][:1]}, lambda: NOW)

    with pytest.raises(AlreadyKnownError):
        await commit_new(connection, batches, lambda: NOW)
    counts = [len(await _positions(connection, project_id)) for project_id in projects]
    rest = {**batches, projects[1]: batches[projects[1]][1:], await new_project(connection): []}
    appended = await commit_new(connection, rest, lambda: NOW)

    assert counts == [0, 1, 0]
    assert appended.last_positions == dict.fromkeys(projects, 3)
    for project_id in projects:
        assert (await verify_chain(connection, project_id)).fault is None


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
            assert (await verify_chain(watching, project_id)).fault is None


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


_COPIED = (
    "insert into event_log (project_id, position, received_at, occurred_at, event_id, source, event_type)"
    " select project_id, {position}, {time}, occurred_at, event_id, source, event_type"
    " from event_log where position = 4"
)
CHANGES = {
    "a field of a row": "update event_log set full_url = 'https://else.example/' where position = 2",
    "a row that was removed": "delete from event_log where position = 2",
    "a batch that was removed": "delete from log_batch where first_position = 1",
    "the last batch, removed": "delete from log_batch where first_position = 4",
    "the time of a batch": "update log_batch set received_at = received_at + interval '1 second'",
    "the time of a row": "update event_log set received_at = received_at + interval '1 second' where position = 2",
    "a row that took the place of another batch": "update event_log set position = 3 where position = 4",
    "the last row, there twice": _COPIED.format(position="position", time="received_at + interval '1 second'"),
    "a row before the first": _COPIED.format(position="0", time="received_at"),
    "two rows, exchanged": (
        "update event_log set position = case position when 2 then -3 when 3 then -2 end where position in (2, 3);"
        "update event_log set position = -position where position < 0"
    ),
}


@citus.knows_not("an update by a stable function")
@pytest.mark.parametrize("change", CHANGES)
async def test_the_chain_shows_what_was_changed_by_hand(connection, change) -> None:
    """An untouched log is intact to its end; after any change there is a fault."""
    project_id = await new_project(connection)
    await append_facts(connection, project_id, [plan().created()], NOW)
    pages = decoded(project_id, browser_event(), browser_event(pathname="/b"))
    await append(connection, {project_id: pages}, lambda: NOW)
    later = datetime.now(UTC) + timedelta(seconds=1)
    await append(connection, {project_id: [Seen("ann", 1).row()]}, lambda: later)
    head = await read_head(connection, project_id)
    assert await verify_chain(connection, project_id) == (3, 4, None, head.digest)

    await connection.execute(CHANGES[change])

    assert (await verify_chain(connection, project_id)).fault


async def test_the_proof_of_large_batches_takes_few_at_once(connection, monkeypatch) -> None:
    """However large batches are, one at least is read, and rows of no more than some thousand events."""
    monkeypatch.setattr(chain, "EVENTS_AT_ONCE", 3)
    project_id = await new_project(connection)
    for number in range(4):
        rows = [Seen(f"{number}-{at}", 1).row() for at in range(1 + number)]
        await append(connection, {project_id: rows}, lambda: NOW)
    seen: list[int] = []

    report = await verify_chain(connection, project_id, seen.append)

    assert report[:3] == (4, 10, None)
    assert seen == [3, 6, 10]


async def test_received_at_never_goes_backwards(connection) -> None:
    """A clock that is set back does not disorder the log."""
    project_id = await new_project(connection)

    for now in (NOW, NOW - timedelta(hours=1), NOW + timedelta(hours=1)):
        await append(connection, {project_id: [Seen("ann", 1).row()]}, lambda now=now: now)

    times = [await received_at(connection, project_id, position) for position in (1, 2, 3)]
    first, second, third = [time - NOW for time in times if time is not None]
    assert timedelta(0) <= first == second < timedelta(minutes=1)
    assert timedelta(hours=1) <= third < timedelta(hours=1, minutes=1)


async def test_a_time_finds_the_last_position_received_by_then(connection) -> None:
    """Before the first event the position is 0; at a time between two batches it is the earlier one's end."""
    project_id = await new_project(connection)
    await append(connection, {project_id: [Seen("ann", 1).row(), Seen("bob", 1).row()]}, lambda: NOW)
    await append(connection, {project_id: [Seen("cid", 1).row()]}, lambda: NOW + timedelta(minutes=10))

    found = [
        await position_at(connection, project_id, NOW + timedelta(minutes=minutes)) for minutes in (-1, 1, 9, 11)
    ]

    assert found == [0, 2, 2, 3]


async def test_a_past_time_is_settled_once_a_commit_under_way_is_over(database_url, connection) -> None:
    """A batch that was received before and is committed late is waited for, and no position is lost by that."""
    project_id = await new_project(connection)
    await append(connection, {project_id: [Seen("ann", 1).row()]}, lambda: NOW)
    async with await connect(database_url) as writing:
        async with writing.transaction():
            await append(writing, {project_id: [Seen("bob", 1).row()]}, lambda: NOW)
            settling = asyncio.create_task(settle(connection, project_id, NOW + timedelta(seconds=50)))
            await asyncio.sleep(0.2)
            assert not settling.done()
        await settling
        assert await position_at(connection, project_id, NOW + timedelta(seconds=50)) == 2

        await append(writing, {project_id: [Seen("cid", 1).row()]}, lambda: NOW + timedelta(minutes=1))
        assert (await verify_chain(connection, project_id))[:3] == (3, 3, None)


def test_equal_times_in_another_spelling_are_one_event() -> None:
    """1.5e3, 1500 and 1500.0 are the same timestamp; 1500.25 is another one."""
    project_id = uuid.uuid4()
    base = int(START.timestamp() * 1000)

    ids = [
        decoded(project_id, browser_event(timestamp=timestamp))[0].event_id for timestamp in (base, float(base))
    ]
    other = decoded(project_id, browser_event(timestamp=base + 0.25))[0].event_id

    assert ids[0] == ids[1] != other


async def _until_it_holds_what_others_want(
    watching: psycopg.AsyncConnection[Any], writer: psycopg.AsyncConnection[Any]
) -> None:
    asked = (
        "select count(*) from pg_stat_activity join pg_locks using (pid)"
        " where pid = %s and wait_event = 'ClientRead' and mode = 'RowExclusiveLock'"
    )
    while (await (await watching.execute(asked, (writer.info.backend_pid,))).fetchone()) == (0,):
        await asyncio.sleep(0.01)


async def _until_it_waits(url: str, writer: psycopg.AsyncConnection[Any]) -> None:
    async with await connect(url) as watching:
        asked = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        while (await (await watching.execute(asked, (writer.info.backend_pid,))).fetchone()) != (True,):
            await asyncio.sleep(0.01)


async def _write_a_lot(url: str, projects: list[uuid.UUID], writer: int) -> list[list[str]]:
    kept: list[list[str]] = [[] for _ in projects]
    async with await connect(url) as connection:
        for round_number in range(12):
            names = {project_id: f"{writer}-{round_number}-{at}" for at, project_id in enumerate(projects)}
            batches: dict[uuid.UUID, list[NewEvent]] = {
                project_id: [Seen(name, 1).row(), Seen(name, 2).row()] for project_id, name in names.items()
            }
            try:
                async with connection.transaction():
                    await append(connection, batches, lambda: NOW)
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
