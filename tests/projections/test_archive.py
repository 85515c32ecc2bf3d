"""The archive: whole months move into files, and everything that reads the log reads them."""

import asyncio
import errno
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pyarrow.parquet as pq
import pytest

from app.database import connect
from app.export import export_events
from projections import archive, archive_files, archive_write
from projections.archive import ArchiveRunningError, archive_closed
from projections.archive_files import Manifest
from projections.archived_log import ArchiveError
from projections.catch_up import LogGapError, catch_up, create_staging
from projections.chain import verify_chain
from projections.event_log import read_head
from projections.generations import catch_up_live, live_schema, rebuild, verify
from projections.log_months import closed_partitions, sizes
from projections.partitions import make_room
from projections.results import read_live, read_past
from tests import citus
from tests.projections.log_of_events import Seen, new_project, plan, write
from tests.projections.past_months import MAY, past_log, write_at

EXPERIMENT = plan()
EVENTS = 3 * (20 + 1 + 1 + 7) + 2 + 1
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def small_files(monkeypatch) -> None:
    """Files of some batches, so that a month has several."""
    monkeypatch.setattr(archive_write, "FILE_EVENTS_MAX", 10)
    monkeypatch.setattr(archive_write, "_GROUP_EVENTS_MAX", 5)


@pytest.fixture
async def project_id(connection):
    """A project since March, all counted."""
    project_id = await past_log(connection, EXPERIMENT)
    await catch_up_live(connection, project_id)
    return project_id


async def test_results_are_the_same_before_and_after_and_rebuilt(database_url, connection, project_id, tmp_path):
    """At each position, from the table, from files, and from files into a new generation."""
    positions = [1, 2, 10, 23, 24, 25, 31, 32, 60, EVENTS - 1, EVENTS]
    before = [await _at(database_url, project_id, position) for position in positions]
    live = await read_live(connection, project_id, EXPERIMENT.experiment_id)

    archived = await _archive(connection, tmp_path)

    assert [month.events for month in archived] == [31, 29, 29]
    assert [month.state for month in await sizes(connection)][:4] == ["archived"] * 3 + ["attached"]
    row = await (await connection.execute("select count(*) from event_log")).fetchone()
    assert row[0] == 1
    assert [await _at(database_url, project_id, position, tmp_path) for position in positions] == before
    async with await connect(database_url) as session:
        for position, found in [*zip(positions, before, strict=True)][::-1] * 2:
            assert await read_past(session, project_id, EXPERIMENT.experiment_id, position, tmp_path) == found
    async with await connect(database_url) as replayer:
        assert await verify(replayer, connection, project_id, tmp_path) == (EVENTS, [])
    async with await connect(database_url) as builder:
        assert await rebuild(builder, connection, archive=tmp_path) == []
    assert await read_live(connection, project_id, EXPERIMENT.experiment_id) == live


async def test_an_archived_file_is_read_once_for_the_moments_in_it(
    database_url, connection, project_id, tmp_path, monkeypatch
):
    """Its rows stay in the session from replay to replay, until one needs others."""
    await _archive(connection, tmp_path)
    read, read_file = [], archive_files.read_file

    def noted(path, sha256):
        read.append(path.name)
        return read_file(path, sha256)

    monkeypatch.setattr(archive_files, "read_file", noted)
    async with await connect(database_url) as session:
        for position in (5, 9, 20, 5):
            assert await read_past(session, project_id, EXPERIMENT.experiment_id, position, tmp_path) is not None
    assert len(read) == 1


async def test_what_is_exported_is_the_same_to_the_byte(connection, project_id, tmp_path):
    """Every column of every row comes out of the files as it went into the log; the chain says so too."""
    before = await _exported(connection, project_id)
    report = await verify_chain(connection, project_id)

    await _archive(connection, tmp_path)

    assert await _exported(connection, project_id, tmp_path) == before
    assert await verify_chain(connection, project_id, archive=tmp_path) == report
    assert report.events == EVENTS
    assert report.fault is None


async def test_a_manifest_says_what_its_files_hold(connection, project_id, tmp_path):
    """Positions, times, sizes and digests, one directory for a project's month; any Parquet reader can use it."""
    await _archive(connection, tmp_path)

    places = sorted((tmp_path / str(project_id)).iterdir())
    manifests = [msgspec.json.decode((place / "manifest.json").read_bytes(), type=Manifest) for place in places]

    assert all(len(manifest.files) > 1 for manifest in manifests)
    assert [place.name for place in places] == ["2026-03_1-31", "2026-04_32-60", "2026-05_61-89"]
    assert [manifest.digest_before for manifest in manifests[1:]] == [
        manifest.digest_after for manifest in manifests[:-1]
    ]
    for place, manifest in zip(places, manifests, strict=True):
        tables = [pq.read_table(place / entry.name) for entry in manifest.files]
        positions = [position for table in tables for position in table["position"].to_pylist()]
        assert positions == list(range(manifest.first_position, manifest.last_position + 1))
        assert sorted(path.name for path in place.iterdir()) == sorted(
            ["manifest.json", *(entry.name for entry in manifest.files)]
        )


@pytest.mark.parametrize("moment", ["_record", "_check_files", "detach", "_drop_archived", "drop"])
async def test_a_run_that_is_killed_is_finished_by_the_next(
    database_url, connection, project_id, tmp_path, monkeypatch, moment
):
    """Wherever it ends, all of the log can be read, and the next run goes on from there."""
    before = await _at(database_url, project_id, EVENTS)
    with monkeypatch.context() as patched:
        patched.setattr(archive, moment, _killed)
        with pytest.raises(InterruptedError):
            await _archive(connection, tmp_path)

    assert await _at(database_url, project_id, EVENTS, tmp_path) == before
    assert (await verify_chain(connection, project_id, archive=tmp_path)).events == EVENTS
    await _archive(connection, tmp_path)
    assert await closed_partitions(connection, NOW) == []
    assert await _at(database_url, project_id, EVENTS, tmp_path) == before
    assert not list(tmp_path.rglob("*.partial"))


@citus.knows_not("detach concurrently")
async def test_a_detach_that_was_cut_off_is_finished_by_the_next(database_url, connection, project_id, tmp_path):
    """A partition that is half out is read from its files, and goes."""
    async with (
        await connect(database_url) as archiver,
        await connect(database_url) as reader,
        reader.transaction(),
    ):
        await reader.execute("select count(*) from event_log")
        archiving = asyncio.create_task(_archive(archiver, tmp_path))
        await _until_detaching(connection)
        await write_at(connection, project_id, datetime.now(UTC), Seen("meanwhile", 1))
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query like 'alter table%concurrently' and datname = current_database()"
        )
        with pytest.raises(psycopg.OperationalError):
            await archiving
    assert "detaching" in " ".join(size.state for size in await sizes(connection))
    assert (await verify_chain(connection, project_id, archive=tmp_path)).events == EVENTS + 1

    assert len(await _archive(connection, tmp_path)) == 3


async def test_readers_at_work_see_all_of_the_log(database_url, connection, project_id, tmp_path):
    """Replays that run while months go are never short of an event."""
    before = await _at(database_url, project_id, EVENTS)
    archiving = asyncio.create_task(_archive_alone(database_url, tmp_path))
    found = []
    while not archiving.done():
        found.append(await _at(database_url, project_id, EVENTS, tmp_path))
        assert (await verify_chain(connection, project_id, archive=tmp_path)).events == EVENTS

    assert len(await archiving) == 3
    assert found
    assert all(snapshot == before for snapshot in found)


@pytest.mark.usefixtures("project_id")
async def test_a_step_that_has_begun_is_waited_for(database_url, connection, tmp_path, monkeypatch):
    """No month goes under the feet of a step; when it takes too long the archive says so."""
    monkeypatch.setattr(archive, "_LOCK_WAIT_MS", 20)
    monkeypatch.setattr(archive, "_LOCK_TRIES", 2)
    monkeypatch.setattr(archive, "_LOCK_PAUSE_SECONDS", 0.01)
    async with await connect(database_url) as stepping, stepping.transaction():
        await stepping.execute("select from archived_range")
        with pytest.raises(ArchiveError, match="long transactions"):
            await _archive(connection, tmp_path)

    assert len(await _archive(connection, tmp_path)) == 3


async def test_two_archives_at_once_are_one(database_url, connection, project_id, tmp_path):
    """The second is refused, and the first is not disturbed."""
    async with await connect(database_url) as other:
        first = archive_closed(connection, tmp_path, NOW)
        await anext(first)
        with pytest.raises(ArchiveRunningError):
            await _archive(other, tmp_path)
        assert len([month async for month in first]) == 2
    assert (await verify_chain(connection, project_id, archive=tmp_path)).fault is None


async def test_a_file_that_was_changed_is_named(database_url, connection, project_id, tmp_path):
    """Neither results nor proofs come from a file that is not what was written."""
    await _archive(connection, tmp_path)
    victim = sorted(tmp_path.rglob("*.parquet"))[1]
    content = victim.read_bytes()
    victim.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])

    with pytest.raises(ArchiveError, match=victim.name):
        await _at(database_url, project_id, EVENTS, tmp_path)
    with pytest.raises(ArchiveError, match=str(victim)):
        await verify_chain(connection, project_id, archive=tmp_path)
    victim.unlink()
    with pytest.raises(ArchiveError, match="No such file"):
        await _at(database_url, project_id, EVENTS, tmp_path)
    with pytest.raises(ArchiveError, match="PROOFLOG_ARCHIVE_DIR"):
        await _at(database_url, project_id, EVENTS)
    victim.write_bytes(content)
    assert await _at(database_url, project_id, EVENTS, tmp_path) is not None


@pytest.mark.usefixtures("project_id")
async def test_nothing_is_dropped_whose_file_is_gone(connection, tmp_path, monkeypatch):
    """A run that goes on looks at the files of the one before."""
    with monkeypatch.context() as patched:
        patched.setattr(archive, "detach", _killed)
        with pytest.raises(InterruptedError):
            await _archive(connection, tmp_path)
    victim = min(tmp_path.rglob("*.parquet"))
    kept = victim.rename(tmp_path / "elsewhere")

    with pytest.raises(ArchiveError, match=victim.name):
        await _archive(connection, tmp_path)

    assert len(await closed_partitions(connection, NOW)) == 3
    kept.rename(victim)
    assert len(await _archive(connection, tmp_path)) == 3


async def test_a_full_disk_leaves_the_month_in_the_log(
    database_url, connection, project_id, tmp_path, monkeypatch
):
    """What cannot be written is said in a sentence; nothing half-written stays under a name."""
    before = await _at(database_url, project_id, EVENTS)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("projections.archive_files.os.fsync", full)
        with pytest.raises(ArchiveError, match="No space left on device"):
            await _archive(connection, tmp_path)

    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("*.partial"))
    assert await _at(database_url, project_id, EVENTS) == before
    assert len(await _archive(connection, tmp_path)) == 3


async def test_an_archive_directory_must_be_there(connection, project_id, tmp_path):
    """A mount that is missing is not replaced by a directory on the wrong disk."""
    with pytest.raises(ArchiveError, match="does not exist"):
        await _archive(connection, tmp_path / "mount")
    (tmp_path / str(project_id)).write_text("in the way")
    with pytest.raises(ArchiveError, match="cannot be written"):
        await _archive(connection, tmp_path)


@citus.knows_not("an update by a stable function")
@pytest.mark.usefixtures("project_id")
async def test_a_log_that_was_changed_is_not_archived(connection, tmp_path):
    """An archive cannot make a changed row look as if it had been written so."""
    for change, back in (
        ("event_name = 'else'", "event_name = null"),
        ("received_at = received_at + interval '1 second'", "received_at = received_at - interval '1 second'"),
    ):
        await connection.execute(f"update event_log set {change} where position = 40")
        with pytest.raises(ArchiveError, match="log verify"):
            await _archive(connection, tmp_path)
        await connection.execute(f"update event_log set {back} where position = 40")

    row = await (await connection.execute("select count(*) from event_log where position = 40")).fetchone()
    assert row[0] == 1


async def test_events_of_a_clock_behind_are_kept(connection, project_id, tmp_path, monkeypatch):
    """A server that still writes into a month that is over, while that is archived, loses nothing."""
    await _forget_all_after(connection, MAY + timedelta(days=1))
    detach = archive.detach

    async def write_late(*arguments: Any) -> None:
        if arguments[2].table == "event_log_2026_05":
            await write_at(connection, project_id, MAY + timedelta(days=2), Seen("late", 1))
        await detach(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(archive, "detach", write_late)
        with pytest.raises(ArchiveError, match="attached again"):
            await _archive(connection, tmp_path)
    assert (await verify_chain(connection, project_id, archive=tmp_path)).events == EVENTS

    assert [month.events for month in await _archive(connection, tmp_path)] == [1]
    report = await verify_chain(connection, project_id, archive=tmp_path)
    assert (report.events, report.fault) == (EVENTS, None)


async def test_a_month_comes_back_after_it_was_archived(connection, project_id, tmp_path):
    """A clock far behind makes a month again whose first one is in the archive, and that is archived too."""
    await _forget_all_after(connection, MAY + timedelta(days=1))
    await _archive(connection, tmp_path)
    await make_room(connection, [], [MAY])
    await write_at(connection, project_id, MAY + timedelta(days=2), Seen("late", 1))
    assert (await verify_chain(connection, project_id, archive=tmp_path)).events == EVENTS

    assert [month.events for month in await _archive(connection, tmp_path)] == [1]
    assert (await verify_chain(connection, project_id, archive=tmp_path)).events == EVENTS


async def test_a_projection_that_is_months_behind_catches_up(database_url, connection, tmp_path):
    """The worker's session goes from the table to files and back, also with statements prepared for either."""
    project_id = await past_log(connection, EXPERIMENT)
    await _archive(connection, tmp_path)
    other = await new_project(connection)
    await create_staging(connection)
    schema = await live_schema(connection)
    await write(connection, other, EXPERIMENT.created(), EXPERIMENT.started())
    for number in range(12):
        await write(connection, other, Seen(f"v{number}", 1), EXPERIMENT.reweighted(number, 1, 1))
        while (progress := await catch_up(connection, other, schema)).position < progress.head:
            pass

    while (await catch_up(connection, project_id, schema, archive=tmp_path)).position < EVENTS:
        pass
    await write(connection, other, Seen("after", 1))
    progress = await catch_up(connection, other, schema, archive=tmp_path)

    assert progress.position == (await read_head(connection, other)).next_position - 1 == 27
    row = await (await connection.execute("select to_regclass('pg_temp.event_log')")).fetchone()
    assert row[0] is None
    async with await connect(database_url) as replayer:
        assert await verify(replayer, connection, project_id, tmp_path) == (EVENTS, [])


async def test_a_real_gap_is_still_a_gap(connection, project_id, tmp_path):
    """What is neither in the table nor in the archive is missing."""
    await _archive(connection, tmp_path)
    await connection.execute("delete from archived_range where first_position > 31")

    with pytest.raises(LogGapError):
        await read_past(connection, project_id, EXPERIMENT.experiment_id, EVENTS, tmp_path)


async def _forget_all_after(connection, time: datetime) -> None:
    for table in ("event_log", "log_batch"):
        await connection.execute(f"delete from {table} where received_at > %s", (time,))


async def _killed(*_: object) -> None:
    raise InterruptedError


async def _archive(connection, directory: Path) -> list[archive.Archived]:
    return [month async for month in archive_closed(connection, directory, NOW)]


async def _archive_alone(database_url: str, directory: Path) -> list[archive.Archived]:
    async with await connect(database_url) as connection:
        return await _archive(connection, directory)


async def _at(database_url: str, project_id, position: int, directory: Path | None = None):
    async with await connect(database_url) as connection:
        return await read_past(connection, project_id, EXPERIMENT.experiment_id, position, directory)


async def _exported(connection, project_id, directory: Path | None = None) -> bytes:
    target = io.BytesIO()
    await export_events(connection, project_id, "csv", target, archive=directory)
    return target.getvalue()


async def _until_detaching(connection) -> None:
    query = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and query like 'alter table%concurrently' and datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not (await (await connection.execute(query)).fetchone())[0]:
            await asyncio.sleep(0.01)
