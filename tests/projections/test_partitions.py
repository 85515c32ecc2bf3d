"""Partitions by month: made ahead, made when missing, forgotten without a hole in dedupe, migrated to."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from app.database import connect, prepare_database
from app.decoding import decode_track
from app.event_rows import Horizon
from app.log_writer import LogWriter
from projections.chain import verify_chain
from projections.event_ids import new_event_id
from projections.event_log import NewEvent, append, append_facts, read_head
from projections.generations import catch_up_live, rebuild
from projections.migrate import migrations
from projections.partitions import (
    ForgottenError,
    ensure_partitions,
    forget_old_ids,
    forgotten_before,
    log_partitions,
    make_room,
)
from projections.results import read_live, read_past
from tests import citus
from tests.projections.log_of_events import Seen, browser_event, new_project, plan, write

FAR = datetime(2031, 5, 20, 10, tzinfo=UTC)
EXPERIMENT = plan()


async def test_months_are_made_ahead(connection) -> None:
    """This month and two more for the log; for the ledger those of the horizon and two more; once."""
    made = await ensure_partitions(connection, FAR)

    assert made == [
        *(f"event_log_2031_{month}" for month in ("05", "06", "07")),
        *(f"event_ledger_2031_{month}" for month in ("04", "05", "06", "07")),
    ]
    assert await ensure_partitions(connection, FAR) == []


async def test_a_month_ends_where_the_next_one_begins(connection) -> None:
    """The turn of a year and of a month leave no moment without a partition, in any time zone."""
    await connection.execute("set time zone 'Pacific/Auckland'")
    await ensure_partitions(connection, datetime(2031, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC))

    found = [partition for partition in await log_partitions(connection) if partition.begin.year >= 2031]

    assert [partition.begin for partition in found] == [
        datetime(2031, 11, 1, tzinfo=UTC),
        datetime(2031, 12, 1, tzinfo=UTC),
        datetime(2032, 1, 1, tzinfo=UTC),
    ]
    assert [partition.end for partition in found[:-1]] == [partition.begin for partition in found[1:]]


async def test_processes_that_make_months_at_once_make_each_once(database_url) -> None:
    """One makes them, the others find them made."""
    connections = [await connect(database_url) for _ in range(5)]

    made = await asyncio.gather(*(ensure_partitions(connection, FAR) for connection in connections))

    assert sorted(len(tables) for tables in made) == [0, 0, 0, 0, 7]
    for connection in connections:
        await connection.close()


@citus.knows_not("attach beside writers")
async def test_months_are_made_while_a_commit_is_open(database_url, connection) -> None:
    """Neither does the new partition wait for a writer, nor a writer for it."""
    project_id = await new_project(connection)
    async with await connect(database_url) as other, connection.transaction():
        await append(connection, {project_id: [Seen("ann", 1).row()]}, lambda: datetime.now(UTC))
        await other.execute("set lock_timeout = '1s'")
        async with other.transaction():
            assert len(await ensure_partitions(other, FAR)) == 7
            await connection.execute("set local lock_timeout = '1s'")
            await append(connection, {project_id: [Seen("ann", 2).row()]}, lambda: datetime.now(UTC))


@pytest.mark.parametrize("clock", [FAR, datetime(2019, 2, 1, tzinfo=UTC)], ids=["ahead", "back"])
async def test_an_event_without_a_partition_is_not_lost(database_url, connection, clock) -> None:
    """A writer whose clock stepped, or that ran for months without upkeep, makes what is missing."""
    project_id = await new_project(connection)
    writer = LogWriter(lambda: connect(database_url), now=lambda: clock)
    await writer.start()
    events = [_event_at(clock + timedelta(hours=hour)) for hour in range(3)]

    outcomes = await writer.write(project_id, events)
    again = await writer.write(project_id, events)
    await writer.stop()

    assert [outcome.refused or outcome.duplicate for outcome in outcomes] == [False] * 3
    assert [outcome.duplicate for outcome in again] == [True] * 3
    assert (await verify_chain(connection, project_id)).events == 3


async def test_a_clock_that_steps_back_stays_in_the_month_of_the_head(database_url, connection) -> None:
    """The time of a log never runs backwards, so that its months stay in order."""
    project_id = await new_project(connection)
    for clock in (FAR, FAR - timedelta(days=100)):
        writer = LogWriter(lambda: connect(database_url), now=lambda clock=clock: clock)
        await writer.start()
        await writer.write(project_id, [_event_at(clock)])
        await writer.stop()

    row = await (await connection.execute("select count(*) from event_log_2031_05")).fetchone()
    assert row[0] == 2


async def test_a_fact_without_a_partition_is_not_lost(connection) -> None:
    """A management command makes the month that it needs."""
    project_id = await new_project(connection)

    async with connection.transaction():
        last = await append_facts(connection, project_id, [EXPERIMENT.created(), EXPERIMENT.started()], FAR)

    assert last == 2
    assert (await verify_chain(connection, project_id)).fault is None


async def test_ids_that_are_not_of_this_world_make_no_thousand_tables(connection) -> None:
    """An append whose ids spread over centuries is a defect, and says so."""
    months = [FAR + timedelta(days=31 * number) for number in range(300)]

    with pytest.raises(ValueError, match="300 partitions"):
        await make_room(connection, [new_event_id(month) for month in months], [])


async def test_what_dedupe_forgets_is_refused_before_and_after(database_url, connection) -> None:
    """Months behind the horizon are dropped, and no event comes twice: at the edge, or with a wrong clock."""
    now = FAR
    horizon = Horizon(timedelta(days=30), timedelta(days=1))
    project_id = await new_project(connection)
    await ensure_partitions(connection, now - timedelta(days=80))
    old, edge = now - timedelta(days=70), now - timedelta(days=29, hours=23)
    [old_event], [edge_event] = (_decoded(project_id, time, time, horizon) for time in (old, edge))
    writer = LogWriter(lambda: connect(database_url), now=lambda: now)
    await writer.start()
    await writer.write(project_id, [old_event])
    await writer.write(project_id, [edge_event])
    assert _decoded(project_id, old, now, horizon) == []

    dropped = await _forget_all(connection, now)

    assert "event_ledger_2031_03" in dropped
    assert "event_ledger_2031_04" not in dropped
    assert await forgotten_before(connection) == datetime(2031, 4, 1, tzinfo=UTC)
    assert _decoded(project_id, old, now, horizon) == []
    assert _decoded(project_id, edge, now, horizon) == [edge_event]
    [again] = await writer.write(project_id, [edge_event])
    assert again.duplicate
    # A server whose clock runs behind takes the old event at its door, and it goes no further.
    [first, second] = await writer.write(project_id, [old_event, _event_at(now)])
    assert "cannot be told" in first.refused
    assert not second.refused
    # Of many they are refused together, in as many commits as the others take.
    many = [_decoded(project_id, old + timedelta(seconds=at), old, horizon)[0] for at in range(50)]
    commits = writer.commits
    outcomes = await writer.write(project_id, [*many, _event_at(now - timedelta(hours=1)), *many[:2]])
    assert [outcome.refused is None for outcome in outcomes] == [False] * 50 + [True] + [False] * 2
    assert [await writer.write(project_id, many[:3])] == [outcomes[:3]]
    assert writer.commits == commits + 1
    await writer.stop()
    assert (await read_head(connection, project_id)).next_position == 5


async def test_what_was_forgotten_is_not_made_again(connection) -> None:
    """A longer horizon does not bring back months whose ids are gone."""
    await ensure_partitions(connection, FAR)
    await _forget_all(connection, FAR + timedelta(days=90))

    made = await ensure_partitions(connection, FAR, past=timedelta(days=100))

    assert not [table for table in made if "ledger" in table and table < "event_ledger_2031_06"]
    with pytest.raises(ForgottenError):
        await make_room(connection, [new_event_id(FAR)], [])


@citus.knows_not("detach concurrently")
async def test_forgetting_holds_up_no_writer(database_url, connection) -> None:
    """While a long transaction keeps a month from being dropped, events are taken as ever."""
    project_id = await new_project(connection)
    await ensure_partitions(connection, FAR)
    async with await connect(database_url) as reader, await connect(database_url) as dropper:
        async with reader.transaction():
            await reader.execute("select count(*) from event_ledger")
            dropping = asyncio.create_task(forget_old_ids(dropper, FAR + timedelta(days=90)))
            await _until_waiting(connection)
            await connection.execute("set lock_timeout = '1s'")
            await write(connection, project_id, Seen("ann", 1), EXPERIMENT.created())
            assert not dropping.done()
        assert len(await dropping) == 1


@citus.knows_not("detach concurrently")
async def test_a_drop_that_was_killed_is_finished_by_the_next(database_url, connection) -> None:
    """A month that is half out, or out and still there, is gone after the next time."""
    await ensure_partitions(connection, FAR)
    async with (
        await connect(database_url) as reader,
        await connect(database_url) as dropper,
        reader.transaction(),
    ):
        await reader.execute("select count(*) from event_ledger")
        dropping = asyncio.create_task(forget_old_ids(dropper, FAR + timedelta(days=90)))
        await _until_waiting(connection)
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query like 'alter table%concurrently' and datname = current_database()"
        )
        with pytest.raises(psycopg.OperationalError):
            await dropping
    await connection.execute("alter table event_ledger detach partition event_ledger_2031_05")

    dropped = await forget_old_ids(connection, FAR + timedelta(days=90))

    assert "event_ledger_2031_05" in dropped
    cursor = await connection.execute("select to_regclass('event_ledger_2031_05')")
    assert (await cursor.fetchone())[0] is None


@pytest.fixture
async def old_database(postgres, monkeypatch):
    """The address of a database as it was before partitions, but with the tables that this program derives."""
    name = f"test_{uuid.uuid4().hex}"
    url = psycopg.conninfo.make_conninfo(postgres, dbname=name)
    old = [migration for migration in migrations() if migration.name[:4] in {"0001", "0003", "0005", "0008"}]
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f"create database {name}")
    with monkeypatch.context() as patched:
        patched.setattr("projections.migrate.migrations", lambda: old)
        patched.setattr("app.database.ensure_partitions", _nothing)
        await prepare_database(url, {"fsync", "full_page_writes"})
    yield url
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f"drop database {name} with (force)")


async def test_a_database_from_before_partitions_keeps_all_it_has(old_database) -> None:
    """Log and ledger are as before; the chain holds; what is sent again is still known."""
    async with await connect(old_database) as connection, await connect(old_database) as other:
        project_id = await new_project(connection)
        events = [
            Seen(f"v{n}", n, experiment=EXPERIMENT.experiment_id, variant=EXPERIMENT.variants[n % 2].id).row()
            for n in range(20)
        ]
        for number, month in enumerate((3, 6)):
            time = datetime(2026, month, 5, tzinfo=UTC)
            await append(connection, {project_id: [Seen(f"early{number}", 1).row()]}, lambda time=time: time)
        await append_facts(connection, project_id, [EXPERIMENT.created(), EXPERIMENT.started()], datetime.now(UTC))
        await append(connection, {project_id: events}, lambda: datetime.now(UTC))
        # As facts were before: with random ids.
        await connection.execute("insert into event_ledger values (%s, %s)", (project_id, uuid.uuid4()))

        applied = await prepare_database(old_database, {"fsync", "full_page_writes"})

        assert applied[0] == "0002_partitions.sql"
        report = await verify_chain(connection, project_id)
        assert (report.events, report.fault) == (24, None)
        assert (await log_partitions(connection))[0].begin == datetime(2026, 3, 1, tzinfo=UTC)
        again = await append(connection, {project_id: [*events, Seen("new", 1).row()]}, lambda: datetime.now(UTC))
        assert len(again.fresh) == 1
        await append_facts(connection, project_id, [EXPERIMENT.stopped(600)], datetime.now(UTC))
        await catch_up_live(connection, project_id)
        found = await read_live(connection, project_id, EXPERIMENT.experiment_id)
        assert sum(row.visitors for row in found.visitors) == 20
        assert await rebuild(connection, other) == []
        assert await read_past(other, project_id, EXPERIMENT.experiment_id, found.position) == found


async def test_an_empty_database_from_before_partitions_is_migrated(old_database) -> None:
    """Nothing was there, and months are made as in a new one."""
    applied = await prepare_database(old_database, {"fsync", "full_page_writes"})
    assert applied[0] == "0002_partitions.sql"

    async with await connect(old_database) as connection:
        assert len(await log_partitions(connection)) == 3


async def _nothing(*_: object) -> None:
    pass


async def _forget_all(connection, now: datetime) -> list[str]:
    """As upkeep does over many days."""
    dropped = []
    while tables := await forget_old_ids(connection, now):
        dropped += tables
        await connection.execute("update forgotten_ids set forgotten_at = forgotten_at - interval '1 day'")
    return dropped


async def _until_waiting(connection) -> None:
    """Until a detach waits for transactions that began before it."""
    query = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and query like 'alter table%concurrently' and datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not (await (await connection.execute(query)).fetchone())[0]:
            await asyncio.sleep(0.01)


def _event_at(time: datetime) -> NewEvent:
    return NewEvent(new_event_id(time), Seen("ann", 1).row().row)


def _decoded(project_id: uuid.UUID, time: datetime, now: datetime, horizon: Horizon) -> list[NewEvent]:
    """A browser event of a time, as a server takes it now; nothing when it is refused."""
    event = browser_event(timestamp=int(time.timestamp() * 1000))
    track = decode_track(msgspec.json.encode({"projectId": str(project_id), "events": [event]}), now, horizon)
    return [] if track is None else track.events
