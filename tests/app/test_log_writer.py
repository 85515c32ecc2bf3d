"""The log writer: shared commits, bounded queue, one bad event refused alone, retries that never double."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import psycopg
import pytest

from app import log_writer
from app.database import connect
from app.log_writer import LogWriter, Overloaded, Unavailable
from projections.event_ids import new_event_id
from projections.event_log import IdempotencyKey, NewEvent, append, encode_row
from tests.projections.log_of_events import Seen, browser_event, decoded, new_project


@pytest.fixture
async def writer(database_url) -> AsyncIterator[LogWriter]:
    """A running writer."""
    writer = LogWriter(lambda: connect(database_url))
    await writer.start()
    yield writer
    await writer.stop()


async def test_what_is_acknowledged_is_in_the_log(writer, connection) -> None:
    """When write returns, another connection sees the event."""
    project_id = await new_project(connection)

    [outcome] = await writer.write(project_id, [Seen("ann", 1).row()])

    assert outcome.duplicate is False
    assert await _count(connection, project_id) == 1


async def test_requests_that_wait_together_share_a_commit(writer, connection) -> None:
    """Two hundred concurrent requests need far fewer than two hundred commits."""
    project_id = await new_project(connection)

    await asyncio.gather(*(writer.write(project_id, [Seen(f"v{i}", 1).row()]) for i in range(200)))

    assert await _count(connection, project_id) == 200
    assert writer.commits < 20


async def test_concurrent_repeats_are_written_once(writer, connection) -> None:
    """Of fifty equal requests one is told new and the others duplicate."""
    project_id = await new_project(connection)

    answers = await asyncio.gather(
        *(writer.write(project_id, decoded(project_id, browser_event())) for _ in range(50))
    )

    assert sorted(outcome.duplicate for [outcome] in answers) == [False] + [True] * 49
    assert await _count(connection, project_id) == 1


async def test_one_event_that_the_database_refuses_costs_no_other(writer, connection) -> None:
    """A poisoned event is found by halving; its neighbours in the request and in the commit are kept."""
    project_id = await new_project(connection)
    good = [Seen(f"v{i}", 1).row() for i in range(9)]

    mixed, other = await asyncio.gather(
        writer.write(project_id, [*good[:4], _poison(), *good[4:]]),
        writer.write(project_id, [Seen("other", 1).row()]),
    )

    assert [bool(outcome.refused) for outcome in mixed] == [False] * 4 + [True] + [False] * 5
    assert not other[0].refused
    assert await _count(connection, project_id) == 10


async def test_a_full_queue_refuses_and_forgets_nothing_it_took(database_url, connection, monkeypatch) -> None:
    """Beyond the bound write raises Overloaded at once; what was taken before is written."""
    monkeypatch.setattr(log_writer, "QUEUED_EVENTS_MAX", 10)
    project_id = await new_project(connection)
    writer = LogWriter(lambda: connect(database_url))  # not started: nothing leaves the queue yet

    taken = [asyncio.create_task(writer.write(project_id, [Seen(f"v{i}", 1).row()])) for i in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await writer.write(project_id, [Seen("one too many", 1).row()])

    await writer.start()
    await asyncio.gather(*taken)
    await writer.stop()
    assert await _count(connection, project_id) == 10


async def test_stopping_writes_what_is_queued(database_url, connection) -> None:
    """A graceful stop loses nothing that was taken."""
    project_id = await new_project(connection)
    writer = LogWriter(lambda: connect(database_url))
    taken = [asyncio.create_task(writer.write(project_id, [Seen(f"v{i}", 1).row()])) for i in range(30)]
    await asyncio.sleep(0)
    await writer.start()

    await writer.stop()

    await asyncio.gather(*taken)
    assert await _count(connection, project_id) == 30
    with pytest.raises(Overloaded):
        await writer.write(project_id, [Seen("late", 1).row()])


async def test_a_cut_connection_neither_loses_nor_doubles(database_url, connection) -> None:
    """While its connection is killed again and again, each request is acknowledged and stands there once."""
    project_id = await new_project(connection)
    writer = LogWriter(lambda: connect(database_url))
    await writer.start()

    async def kill_again_and_again() -> None:
        while True:
            commits = writer.commits
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            while writer.commits == commits:  # a slow machine may need longer to open a session
                await asyncio.sleep(0.001)
            await asyncio.sleep(random.uniform(0, 0.02))

    killing = asyncio.create_task(kill_again_and_again())
    answers = []
    for _ in range(20):
        answers += await asyncio.gather(
            *(writer.write(project_id, [_keyed(uuid.uuid4()), Seen("v", 1).row()]) for _ in range(10))
        )
    killing.cancel()
    await writer.stop()

    assert len(answers) == 200
    assert await _count(connection, project_id) == 400
    assert all(not outcome.duplicate for keyed, _ in answers for outcome in [keyed])


async def test_without_a_database_a_request_is_refused_in_the_end(monkeypatch) -> None:
    """Nothing is acknowledged and the caller is told to try again."""
    monkeypatch.setattr(log_writer, "GIVE_UP_SECONDS", 0.2)

    async def unreachable() -> psycopg.AsyncConnection:
        raise psycopg.OperationalError("no route to host")

    writer = LogWriter(unreachable)
    await writer.start()
    with pytest.raises(Unavailable):
        await writer.write(uuid.uuid4(), [Seen("ann", 1).row()])
    await writer.stop()


@pytest.mark.parametrize("error", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure])
async def test_a_transaction_in_the_way_is_waited_for_and_not_for_ever(writer, connection, monkeypatch, error):
    """A few times it goes well in the end; when it never does the caller is refused, after few tries."""
    monkeypatch.setattr(log_writer, "GIVE_UP_SECONDS", 1.0)
    project_id = await new_project(connection)
    tries, failing = 0, 3

    async def commit(*arguments, **options):
        nonlocal tries
        tries += 1
        if tries <= failing:
            raise error("in the way")
        return await committed(*arguments, **options)

    committed = log_writer.commit_new
    monkeypatch.setattr(log_writer, "commit_new", commit)
    [outcome] = await writer.write(project_id, [Seen("ann", 1).row()])
    assert (tries, outcome.duplicate, outcome.refused) == (4, False, None)

    failing = 1_000_000
    with pytest.raises(Unavailable):
        await writer.write(project_id, [Seen("bob", 1).row()])
    assert tries < 20

    failing = 0
    await writer.write(project_id, [Seen("cid", 1).row()])
    assert await _count(connection, project_id) == 2


async def test_two_writers_on_one_project_keep_positions_dense(database_url, connection) -> None:
    """Two server processes' worth of writers interleave without a gap."""
    project_id = await new_project(connection)
    writers = [LogWriter(lambda: connect(database_url)) for _ in range(2)]
    for writer in writers:
        await writer.start()

    await asyncio.gather(
        *(writers[i % 2].write(project_id, [Seen(f"v{i}", 1).row()] * (1 + i % 3)) for i in range(150))
    )
    for writer in writers:
        await writer.stop()

    row = await (
        await connection.execute(
            "select count(*), max(position), min(position) from event_log where project_id = %s", (project_id,)
        )
    ).fetchone()
    assert row == (150, 150, 1)


def _poison() -> NewEvent:
    event_id = new_event_id(datetime.now(UTC))
    row = encode_row(
        occurred_us=0,
        event_id=event_id,
        source="browser",
        event_type="pageview",
        event_data=b"{not json",
    )
    return NewEvent(event_id, row)


def _keyed(key: uuid.UUID) -> NewEvent:
    return msgspec.structs.replace(Seen("buyer", 1).row(), idempotency=IdempotencyKey(key.bytes, key.bytes))


async def _count(connection, project_id) -> int:
    row = await (
        await connection.execute("select count(*) from event_log where project_id = %s", (project_id,))
    ).fetchone()
    return row[0]


@pytest.mark.parametrize("all_new", [True, False])
async def test_an_answer_that_was_lost_after_the_commit_is_not_called_a_duplicate(
    writer, connection, monkeypatch, all_new
) -> None:
    """The first try committed and nobody heard of it: the second finds its own event and says so."""
    project_id = await new_project(connection)
    before = Seen("ann", 1).row()
    await writer.write(project_id, [before])
    known = [] if all_new else [before]
    lost: list[int] = []

    async def losing(*arguments, **options):
        appended = await append(*arguments, **options)
        if not lost:
            lost.append(len(appended.fresh))
            await arguments[0].execute("commit")  # which `append` leaves to its caller
            raise psycopg.OperationalError("the connection was lost")
        return appended

    name = "commit_new" if all_new else "append"
    append = getattr(log_writer, name)
    monkeypatch.setattr(log_writer, name, losing)
    *_, keyed = await writer.write(project_id, [*known, _keyed(uuid.uuid4())])

    assert lost == [1]
    assert (keyed.duplicate, keyed.conflict) == (False, False)
    assert await _count(connection, project_id) == 2


async def test_a_batch_takes_no_more_than_its_limit(writer, connection, monkeypatch) -> None:
    """What waits is written in several commits when it is too much for one."""
    monkeypatch.setattr(log_writer, "BATCH_EVENTS_MAX", 10)
    project_id = await new_project(connection)

    await asyncio.gather(*(writer.write(project_id, [Seen(f"v{i}", 1).row()]) for i in range(95)))

    assert writer.commits >= 10
    assert writer.queued_events == 0
    assert await _count(connection, project_id) == 95


@pytest.mark.parametrize(
    "setting", ["default_transaction_read_only = on", "idle_in_transaction_session_timeout = 50"]
)
async def test_a_session_that_takes_no_writes_is_replaced(database_url, connection, setting) -> None:
    """One of a database that stands by now, or one that PostgreSQL ended while this process stood still."""
    project_id = await new_project(connection)
    sessions = 0

    async def open_session() -> psycopg.AsyncConnection:
        nonlocal sessions
        sessions += 1
        session = await connect(database_url)
        if sessions == 1:
            await session.execute(f"set {setting}")
        return session

    def now() -> datetime:
        if sessions == 1:
            time.sleep(0.3)  # as a machine that sleeps
        return datetime.now(UTC)

    known = Seen("ann", 1).row()
    await append(connection, {project_id: [known]}, lambda: datetime.now(UTC))
    writer = LogWriter(open_session, now=now)
    await writer.start()

    # One of them is known, so that the clock is asked within a transaction.
    outcomes = await writer.write(project_id, [known, Seen("bob", 1).row()])
    await writer.stop()

    assert [(outcome.duplicate, outcome.refused) for outcome in outcomes] == [(True, None), (False, None)]
    assert sessions == 2
    assert await _count(connection, project_id) == 2
