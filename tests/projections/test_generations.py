"""Rebuild, verify and lag: what is derived can always be derived again."""

import asyncio
import contextlib
from datetime import UTC, datetime

import psycopg
import pytest

from app import worker as worker_of
from app.database import connect, prepare_database
from app.worker import ProjectionWorker
from domain.events import ExperimentDetailsChanged
from domain.experiment import Goal
from projections import generations, steps
from projections.catch_up import LogGapError, catch_up, create_staging, derived_tables, past_tables
from projections.conversions import in_order
from projections.event_log import append
from projections.generations import (
    OtherLayoutError,
    RebuildRunningError,
    catch_up_live,
    live_schema,
    logs,
    rebuild,
    status,
    verify,
)
from projections.results import read_live, read_past
from tests.projections.log_of_events import START, Seen, new_project, plan, write

EXPERIMENT = plan()


@pytest.fixture
async def project_id(connection):
    """A project with one experiment, twenty exposed visitors and ten purchases, all counted."""
    project_id = await new_project(connection)
    visits = [
        Seen(f"v{i}", i, experiment=EXPERIMENT.experiment_id, variant=EXPERIMENT.variants[i % 2].id)
        for i in range(20)
    ]
    buys = [Seen(f"v{i}", i + 5, "conversion", "purchase", data='{"amount": 12.5}') for i in range(0, 20, 2)]
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started(), *visits, *buys)
    await create_staging(connection)
    await _catch_up(connection, project_id)
    return project_id


async def test_catching_up_again_changes_nothing(connection, project_id) -> None:
    """A second run finds nothing to do and leaves the tallies as they are."""
    before = await read_live(connection, project_id, EXPERIMENT.experiment_id)

    progress = await catch_up(connection, project_id, await live_schema(connection))

    assert progress.position == progress.head
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == before


async def test_two_projectors_at_once_count_everything_once(database_url, connection, project_id) -> None:
    """The checkpoint's compare-and-swap lets only one of two count a range."""
    await write(connection, project_id, *(Seen(f"late{i}", i, "conversion", "purchase") for i in range(20)))
    workers = [ProjectionWorker(database_url, sweep_seconds=0.01) for _ in range(3)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    while any(project.head > project.position for project in await status(connection)):
        await asyncio.sleep(0.01)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*running)

    async with await connect(database_url) as replayer:
        assert await verify(replayer, connection, project_id) == (52, [])


async def test_verify_finds_a_tally_that_was_changed_by_hand(database_url, connection, project_id) -> None:
    """A tally that does not follow from the log is named with its table."""
    schema = await live_schema(connection)
    await connection.execute(f"update {schema}.goal_tally set converters = converters + 1")

    async with await connect(database_url) as replayer:
        _, differences = await verify(replayer, connection, project_id)

    assert [difference.table for difference in differences] == ["goal_tally"]


async def test_a_rebuild_heals_and_says_what_was_wrong(database_url, connection, project_id) -> None:
    """After a rebuild the tallies follow from the log again; what the old ones had otherwise is told."""
    before = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    old = await live_schema(connection)
    await connection.execute(f"update {old}.variant_tally set visitors = visitors + 7")

    async with await connect(database_url) as builder:
        differences = await rebuild(builder, connection)

    assert [difference.table for difference in differences] == ["variant_tally"]
    assert await live_schema(connection) != old
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == before


async def test_tables_of_another_version_are_derived_anew_at_start(database_url, connection, project_id) -> None:
    """A program whose derived tables differ from those that live derives its own before it reads any."""
    before = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    old = await live_schema(connection)
    # All of another layout may be different, but for the checkpoint.
    for table in (*derived_tables(), *past_tables(), "projection_snapshot"):
        await connection.execute(f"drop table {old}.{table}")
    await connection.execute("update projection_generation set layout = 1")

    await asyncio.gather(*(prepare_database(database_url, ("fsync", "full_page_writes")) for _ in range(2)))

    assert await live_schema(connection) != old
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == before


async def test_a_log_with_a_gap_keeps_no_other_project_from_being_derived_anew(
    database_url, connection, project_id, caplog
) -> None:
    """It is counted up to the gap, which is named; what only asks derives nothing anew."""
    before = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    other = await new_project(connection)
    await write(
        connection, other, EXPERIMENT.created(), EXPERIMENT.started(), *(Seen(f"v{i}", i) for i in range(9))
    )
    await create_staging(connection)
    await _catch_up(connection, other)
    await connection.execute("delete from event_log where project_id = %s and position = 5", (other,))
    old = await live_schema(connection)
    await connection.execute("update projection_generation set layout = layout - 1")

    await prepare_database(database_url, ("fsync", "full_page_writes"), derive=False)
    assert await live_schema(connection) == old

    await prepare_database(database_url, ("fsync", "full_page_writes"))
    assert await live_schema(connection) != old
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == before
    assert {each.project_id: each.position for each in await status(connection)} == {project_id: 32, other: 2}
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert f"project {other} stand still" in told
    # Whoever asks for a rebuild of tables that are whole hears of it before any is taken away.
    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        with pytest.raises(LogGapError):
            await rebuild(builder, keeper)


@pytest.mark.usefixtures("project_id")
async def test_nothing_waits_for_a_rebuild(database_url, connection) -> None:
    """Commands and servers that start meanwhile go on; a second rebuild says that one is at work."""
    async with await connect(database_url) as rebuilding:
        await rebuilding.execute("select pg_advisory_lock(%s)", (generations._GENERATION_LOCK,))  # noqa: SLF001
        async with asyncio.timeout(10):
            await prepare_database(database_url, ("fsync", "full_page_writes"))
            async with await connect(database_url) as builder:
                with pytest.raises(RebuildRunningError):
                    await rebuild(builder, connection)


async def test_tables_of_a_newer_version_stay_until_somebody_asks_for_others(
    database_url, connection, project_id, caplog
) -> None:
    """An old program that is started once more takes no results away from the servers of the new one."""
    before, newer = (
        await read_live(connection, project_id, EXPERIMENT.experiment_id),
        await live_schema(connection),
    )
    await connection.execute("update projection_generation set layout = layout + 1")

    await prepare_database(database_url, ("fsync", "full_page_writes"))

    assert await live_schema(connection) == newer
    assert "newer version of prooflog: replace this server" in caplog.text
    with pytest.raises(OtherLayoutError):
        await read_live(connection, project_id, EXPERIMENT.experiment_id)
    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        assert await rebuild(builder, keeper) == []
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == before

    await connection.execute("update projection_generation set layout = layout - 1")
    with pytest.raises(OtherLayoutError, match="an older version of prooflog: start this one again"):
        await read_live(connection, project_id, EXPERIMENT.experiment_id)


async def test_a_worker_does_not_wait_for_more_events_where_many_wait(
    connection, database_url, monkeypatch
) -> None:
    """Each step ends at a snapshot; the pause in which events gather comes after the last one."""
    monkeypatch.setattr(steps, "COMMON_END_EVENTS", 10)
    monkeypatch.setattr(worker_of, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(worker_of, "GATHER_SECONDS_MAX", 60.0)
    project_id = await new_project(connection)
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started())
    await create_staging(connection)
    await _catch_up(connection, project_id)
    await write(connection, project_id, *[Seen(f"v{i}", i, "conversion", "purchase") for i in range(48)])
    working = asyncio.create_task(ProjectionWorker(database_url, sweep_seconds=0.01).run())
    async with asyncio.timeout(20):
        while (await status(connection))[0].position < 50:
            await asyncio.sleep(0.02)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_worker_writes_no_tables_of_another_version(connection, database_url, monkeypatch, caplog) -> None:
    """Between a migration and the restart of a server its steps would be wrong: it stands still, and says so."""
    monkeypatch.setattr(worker_of, "OTHER_LAYOUT_SECONDS", 0.01)
    project_id = await new_project(connection)
    await write(connection, project_id, EXPERIMENT.created(), EXPERIMENT.started())
    await connection.execute("update projection_generation set layout = layout + 1")
    working = asyncio.create_task(ProjectionWorker(database_url, sweep_seconds=0.01).run())
    await asyncio.sleep(0.5)
    assert (await status(connection))[0].position == 0
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    with pytest.raises(OtherLayoutError):
        await catch_up_live(connection, project_id)
    assert [(each.counted, each.head) for each in await logs(connection)] == [(0, 2)]

    await connection.execute("update projection_generation set layout = layout - 1")
    async with asyncio.timeout(20):
        while (await status(connection))[0].position < 2:
            await asyncio.sleep(0.02)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


@pytest.mark.parametrize("ending", ["cancelled", "renamed"])
@pytest.mark.parametrize("reads", [0, 4, 5, 6])
async def test_a_read_that_fails_where_it_would_be_prepared_harms_no_later_one(
    database_url, project_id, reads, ending
) -> None:
    """A session in which a read is cancelled, or meets a table that is gone, answers the next ones."""
    tested = EXPERIMENT.experiment_id
    async with await connect(database_url) as reader, await connect(database_url) as locker:
        for _ in range(reads):  # psycopg prepares what it has sent five times
            await read_live(reader, project_id, tested)
        async with locker.transaction():
            if ending == "cancelled":
                await locker.execute("lock table projection_1.experiment_plan in access exclusive mode")
            else:
                await locker.execute("alter table projection_1.experiment_plan rename to gone")
            read = asyncio.create_task(read_live(reader, project_id, tested))
            await asyncio.sleep(0.2)
            if ending == "cancelled":
                read.cancel()
                await asyncio.wait([read])
        with contextlib.suppress(psycopg.errors.UndefinedTable, asyncio.CancelledError):
            await read
        if ending == "renamed":
            await locker.execute("alter table projection_1.gone rename to experiment_plan")
        for _ in range(2):
            assert await read_live(reader, project_id, tested) is not None


async def test_results_never_go_backwards_while_a_rebuild_flips_under_load(database_url, project_id) -> None:
    """With writers and a worker at work, the position that results show only grows across the flip."""
    worker = ProjectionWorker(database_url, sweep_seconds=0.01)
    working = asyncio.create_task(worker.run())
    stop = asyncio.Event()
    async with (
        await connect(database_url) as writing,
        await connect(database_url) as reading,
        await connect(database_url) as builder,
        await connect(database_url) as keeper,
    ):

        async def keep_writing() -> None:
            while not stop.is_set():
                rows = [Seen(f"w{i}", i, "conversion", "purchase").row() for i in range(5)]
                async with writing.transaction():
                    await append(writing, {project_id: rows}, lambda: datetime.now(UTC))
                await asyncio.sleep(0.005)

        seen: list[int] = []

        async def keep_reading() -> None:
            while not stop.is_set():
                snapshot = await read_live(reading, project_id, EXPERIMENT.experiment_id)
                assert snapshot is not None
                seen.append(snapshot.position)
                await asyncio.sleep(0.002)

        tasks = [asyncio.create_task(keep_writing()), asyncio.create_task(keep_reading())]
        await asyncio.sleep(0.1)
        differences = await rebuild(builder, keeper)
        await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*tasks)
    worker.stop()
    await working

    assert differences == []
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


async def test_a_replay_to_a_position_shows_what_was_known_then(database_url, connection, project_id) -> None:
    """The tallies as of a position equal what the live ones were at that position."""
    then = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    assert then is not None
    await write(connection, project_id, *(Seen(f"v{i}", i + 5, "conversion", "purchase") for i in range(20)))
    await _catch_up(connection, project_id)
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) != then

    async with await connect(database_url) as replaying:
        replayed = await read_past(replaying, project_id, EXPERIMENT.experiment_id, then.position)

    assert replayed == then


async def test_projections_stand_still_at_a_gap(connection, project_id) -> None:
    """A position that is missing stops the projector instead of being skipped."""
    await write(connection, project_id, Seen("ann", 1), Seen("bob", 1), Seen("cid", 1))
    await connection.execute("delete from event_log where project_id = %s and position = 34", (project_id,))

    with pytest.raises(LogGapError):
        await _catch_up(connection, project_id)

    [lagging] = await status(connection)
    assert (lagging.position, lagging.head) == (32, 35)


async def test_a_draft_whose_goals_change_starts_from_nothing(connection) -> None:
    """What was counted under other goals is dropped, and so it is in a replay."""
    project_id = await new_project(connection)
    await create_staging(connection)
    seen = Seen("ann", 1, experiment=EXPERIMENT.experiment_id, variant=EXPERIMENT.variants[0].id)
    bought = Seen("ann", 2, "conversion", "purchase")
    signup = Goal(name="purchase", event_type="signup", kind="conversion", role="primary")
    changed = ExperimentDetailsChanged(
        at=START, actor="test", experiment_id=EXPERIMENT.experiment_id, goals=(signup,)
    )
    await write(connection, project_id, EXPERIMENT.created(), seen, bought, changed, EXPERIMENT.started())

    await _catch_up(connection, project_id)

    snapshot = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    assert snapshot is not None
    assert (snapshot.visitors, snapshot.impressions, snapshot.outcomes) == ([], {}, [])


async def _catch_up(connection, project_id) -> None:
    schema = await live_schema(connection)
    while True:
        progress = await catch_up(connection, project_id, schema)
        if progress.position >= progress.head:
            return


def test_the_order_of_reasons_follows_no_collation() -> None:
    """The digest covers them: it must be the same where a database sorts capitals or underscores otherwise."""
    assert in_order([("apple", 1), ("Zebra", 1)]) == [("Zebra", 1), ("apple", 1)]


async def test_no_step_commits_while_a_generation_is_held_still(database_url, connection, project_id) -> None:
    """Neither one of a project that was counted before, nor the first of one that has just appeared."""
    new = await new_project(connection)
    await write(connection, new, Seen("ann", 1))
    await write(connection, project_id, Seen("ann", 1))
    schema = await live_schema(connection)
    waiting = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with (
        await connect(database_url) as keeper,
        await connect(database_url) as first,
        await connect(database_url) as second,
    ):
        async with keeper.transaction():
            positions = await generations._hold_still(keeper, schema)  # noqa: SLF001
            steps = [
                asyncio.create_task(generations.catch_up_live(first, new)),
                asyncio.create_task(generations.catch_up_live(second, project_id)),
            ]
            while await (await connection.execute(waiting)).fetchone() != (2,):
                assert not any(step.done() for step in steps)
                await asyncio.sleep(0.01)
        await asyncio.gather(*steps)

    assert positions == {project_id: 32}
    assert {project.position for project in await status(connection)} == {1, 33}


@pytest.mark.thorough
async def test_readers_and_rebuilds_never_lock_each_other_up(database_url, project_id) -> None:
    """Six readers and a poller go on through ten rebuilds, without an error and without a leftover."""
    stop = asyncio.Event()

    async def keep_reading(read) -> int:
        async with await connect(database_url) as reading:
            count = 0
            while not stop.is_set():
                await read(reading)
                count += 1
            return count

    async with await connect(database_url) as builder, await connect(database_url) as keeper:
        readers = [
            asyncio.create_task(
                keep_reading(lambda reading: read_live(reading, project_id, EXPERIMENT.experiment_id))
            )
            for _ in range(6)
        ]
        readers.append(asyncio.create_task(keep_reading(status)))
        for _ in range(10):
            assert await rebuild(builder, keeper) == []
        stop.set()
        counts = await asyncio.gather(*readers)
        row = await (
            await keeper.execute("select count(*) from pg_namespace where nspname like 'projection\\_%'")
        ).fetchone()

    assert min(counts) > 5
    assert row == (1,)


async def test_a_second_rebuild_is_refused_while_one_runs(database_url, connection) -> None:
    """Two at once would only wait for each other."""
    async with (
        await connect(database_url) as builder,
        await connect(database_url) as keeper,
        await connect(database_url) as other,
    ):
        await other.execute("select pg_advisory_lock(%s)", (generations._GENERATION_LOCK,))  # noqa: SLF001
        with pytest.raises(generations.RebuildRunningError):
            await rebuild(builder, keeper)
        await other.execute("select pg_advisory_unlock(%s)", (generations._GENERATION_LOCK,))  # noqa: SLF001
        assert await rebuild(builder, connection) == []


async def test_only_one_of_two_projectors_counts_a_range(database_url, connection, project_id) -> None:
    """Both read the same checkpoint; the one that moves it second must not count again."""
    await write(connection, project_id, *(Seen(f"v{i}", i + 6, "conversion", "purchase") for i in range(20)))
    schema = await live_schema(connection)
    async with await connect(database_url) as other:
        await create_staging(other)
        for _ in range(20):
            await asyncio.gather(
                catch_up(connection, project_id, schema, events_max=1),
                catch_up(other, project_id, schema, events_max=1),
            )
    await _catch_up(connection, project_id)

    snapshot = await read_live(connection, project_id, EXPERIMENT.experiment_id)
    assert snapshot is not None
    conversions = {row.variant_id: row.conversions for row in snapshot.outcomes if row.goal == "conversions"}
    assert sum(conversions.values()) == 30


async def test_a_log_that_ends_before_its_tallies_stops_a_replay(database_url, connection, project_id) -> None:
    """With the end of the log gone, verify says so instead of waiting for it."""
    await connection.execute("delete from log_batch where project_id = %s and first_position > 30", (project_id,))

    async with await connect(database_url) as replayer:
        with pytest.raises(LogGapError):
            await verify(replayer, connection, project_id)


async def test_a_rebuild_counts_what_nobody_has_counted_yet(database_url, connection, project_id) -> None:
    """With no worker at hand, the new generation reaches the end of the log."""
    await write(connection, project_id, *(Seen(f"v{i}", i + 6, "conversion", "purchase") for i in range(5)))
    other = await new_project(connection)
    await write(connection, other, Seen("ann", 1))

    async with await connect(database_url) as builder:
        assert await rebuild(builder, connection) == []

    assert sorted((project.position, project.head) for project in await status(connection)) == [(1, 1), (37, 37)]
