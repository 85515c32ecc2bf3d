"""Retention and the archive as an operator meets them: settings, commands, upkeep, answers over HTTP."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner, Result

from app.commands import main
from app.database import connect
from app.secret_keys import rotate_key
from app.settings import Settings, read_settings
from app.upkeep import keep_once, keep_partitions
from projections.generations import catch_up_live, live_schema
from projections.log_months import sizes
from projections.partitions import _DROPPING_LOCKS, forgotten_before
from projections.registry import LAYOUT
from tests.app.http_project import API, open_client
from tests.projections.log_of_events import plan
from tests.projections.past_months import past_log

EXPERIMENT = plan()
EVENTS = 92

Run = Callable[..., Result]


@pytest.fixture
def project_id(database_url) -> Any:
    """A project with events since March, counted, and shown by the results endpoint."""
    return asyncio.run(_past(database_url))[0]


@pytest.fixture
def archive(tmp_path) -> Path:
    """An empty archive directory."""
    directory = tmp_path / "archive"
    directory.mkdir()
    return directory


@pytest.fixture
def run(database_url, tmp_path, archive) -> Run:
    """Runs a command and insists on its exit code; keywords are settings."""

    def run(*words: str, code: int = 0, **settings: str) -> Result:
        environment = {
            "PROOFLOG_DATABASE_URL": database_url,
            "PROOFLOG_DATA_DIR": str(tmp_path),
            "PROOFLOG_ARCHIVE_DIR": str(archive),
            **{f"PROOFLOG_{name.upper()}": value for name, value in settings.items()},
        }
        result = CliRunner().invoke(main, words, env=environment)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.mark.usefixtures("project_id")
def test_what_reads_the_log_says_the_same_after_the_archive(run) -> None:
    """Results of past moments, rebuilds, proofs and exports go on as if nothing had moved."""
    as_of = ["results", str(EXPERIMENT.experiment_id), "--as-of", "70", "--json"]
    before = json.loads(run(*as_of).stdout)
    exported = run("export", "events").stdout
    assert run("log", "partitions").stdout.count("attached") == 6

    told = run("log", "archive").stdout

    assert re.findall(r"archived (\S+): (\d+) events", told) == [
        ("event_log_2026_03", "31"),
        ("event_log_2026_04", "29"),
        ("event_log_2026_05", "29"),
    ]
    months = run("log", "partitions").stdout
    assert (months.count("archived"), months.count("attached")) == (3, 3)
    assert re.search(r"2026-03-01 to 2026-04-01 +31 events", months)
    assert json.loads(run(*as_of).stdout)["digest"] == before["digest"]
    assert run("export", "events").stdout == exported
    assert f"{EVENTS} events" in run("log", "verify").stdout
    assert "equal" in run("projections", "verify").stdout
    assert "equal the ones before" in run("projections", "rebuild").stdout
    assert json.loads(run(*as_of).stdout)["digest"] == before["digest"]
    assert run("log", "archive").stdout == "there is nothing to archive\n"


@pytest.mark.usefixtures("project_id")
def test_an_archive_can_be_tried_and_bounded(run, archive) -> None:
    """--dry-run changes nothing; --before leaves what ended later."""
    assert run("log", "archive", "--dry-run").stdout.count("would archive") == 3
    assert list(archive.iterdir()) == []

    assert (
        "would archive 2026-03-01 to 2026-04-01, 31 events"
        in run("log", "archive", "--dry-run", "--before", "2026-04-01").stdout
    )
    assert run("log", "archive", "--before", "2026-04-30").stdout.count("archived event_log") == 1
    assert run("log", "partitions").stdout.count("attached") == 5


@pytest.mark.usefixtures("project_id")
def test_without_its_directory_nothing_is_archived_or_made_up(run, archive, tmp_path, database_url) -> None:
    """A directory that is not set, or not there, is one sentence; so is a file that is gone."""
    assert "PROOFLOG_ARCHIVE_DIR" in run("log", "archive", code=2, archive_dir="").output
    assert "does not exist" in run("log", "archive", code=1, archive_dir=str(tmp_path / "mount")).output
    run("log", "archive")
    victim = min(archive.rglob("*.parquet"))

    assert "set PROOFLOG_ARCHIVE_DIR" in run("log", "verify", code=1, archive_dir="").output
    victim.unlink()
    for words in (["log", "verify"], ["projections", "rebuild"], ["projections", "verify"], ["export", "events"]):
        told = run(*words, code=1).output
        assert f"{victim} cannot be read" in told
        assert "Traceback" not in told
    run("project", "create", "Another")
    assert "2 events in 1 batches  intact" in run("log", "verify", code=1).output
    # Nor does it keep a version with other tables from deriving those of the other projects.
    with psycopg.connect(database_url) as owner:
        owner.execute("update projection_generation set layout = layout - 1")
    run("migrate")
    with psycopg.connect(database_url) as reader:
        layouts = reader.execute("select layout from projection_generation").fetchall()
    assert layouts == [(LAYOUT,)]
    assert re.search(r"position 2 of 2  0 behind +Another", run("projections", "status").stdout)


@pytest.mark.usefixtures("project_id")
def test_an_archive_that_runs_already_is_one_line(run, database_url) -> None:
    """Another process is at it: exit code 1, no trace."""
    with psycopg.connect(database_url) as other:
        other.execute("select pg_advisory_lock(%s)", (_DROPPING_LOCKS["event_log"],))
        assert run("log", "archive", code=1).output.startswith("Error: another process archives")


def test_retention_without_an_archive_is_refused_at_start(run) -> None:
    """Events that are dropped and in no archive would make every result unprovable."""
    for words in (["serve", "--no-demo"], ["worker"], ["migrate"]):
        told = run(*words, code=2, archive_dir="", retention_days="90").output
        assert "PROOFLOG_RETENTION_DAYS needs PROOFLOG_ARCHIVE_DIR" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETENTION_DAYS", "0"),
        ("HORIZON_PAST_DAYS", "0"),
        ("HORIZON_PAST_DAYS", "100000"),
        ("HORIZON_FUTURE_DAYS", "-1"),
    ],
)
def test_times_that_mean_nothing_are_refused(name, value) -> None:
    """A retention of no days and a horizon of centuries are mistakes."""
    with pytest.raises(ValueError, match=name):
        read_settings({f"PROOFLOG_{name}": value, "PROOFLOG_ARCHIVE_DIR": "/archive"})


async def test_upkeep_archives_what_is_older_than_the_retention(database_url, connection, archive) -> None:
    """And makes months ahead, and forgets what no event can name any more."""
    await past_log(connection, EXPERIMENT)
    days = (datetime.now(UTC) - datetime(2026, 5, 2, tzinfo=UTC)).days
    settings = Settings(archive_dir=archive, retention_days=days, database_url=database_url)

    await keep_once(connection, database_url, settings)

    states = [(size.begin.month, size.state) for size in await sizes(connection)]
    assert states[:3] == [(3, "archived"), (4, "archived"), (5, "attached")]
    assert await forgotten_before(connection) is not None
    now = datetime.now(UTC)
    assert (await sizes(connection))[-1].end > now + timedelta(days=58)


async def test_upkeep_that_fails_says_so_and_goes_on(
    database_url, connection, tmp_path, monkeypatch, caplog
) -> None:
    """An archive directory that is missing is an error in the log of the server, and events are still taken."""
    await past_log(connection, EXPERIMENT)
    monkeypatch.setattr("app.upkeep.FIRST_WITHIN_SECONDS", 0)
    monkeypatch.setattr("app.upkeep.EVERY_SECONDS", 0.01)
    settings = Settings(archive_dir=tmp_path / "mount", retention_days=1, database_url=database_url)

    upkeep = asyncio.create_task(keep_partitions(database_url, settings))
    async with asyncio.timeout(20):
        while "does not exist" not in caplog.text:
            await asyncio.sleep(0.05)
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)

    assert (await sizes(connection))[0].events == 31


async def test_a_missing_file_is_named_over_http(database_url, archive) -> None:
    """Results now are as ever, and those of moments that are kept; other moments answer 503 with its name."""
    project_id, key = await _past(database_url)
    settings = Settings(archive_dir=archive)
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{API}/experiments/{EXPERIMENT.experiment_id}/results"
    async with open_client(database_url, settings) as client:
        before = (await client.get(url, params={"asOf": "70"}, headers=headers)).json()
    async with await connect(database_url) as connection:
        await keep_once(
            connection, database_url, Settings(archive_dir=archive, retention_days=30, database_url=database_url)
        )
        assert (await sizes(connection))[0].state == "archived"
    async with open_client(database_url, settings) as client:
        after = await client.get(url, params={"asOf": "70"}, headers=headers)
        assert after.json()["digest"] == before["digest"]
        # The session still has the first file, where each of these moments begins.
        victim = sorted((archive / str(project_id)).rglob("*.parquet"))[1]
        victim.unlink()

        now = await client.get(url, headers=headers)
        kept = await client.get(url, params={"asOf": "70"}, headers=headers)
        then = await client.get(url, params={"asOf": "69"}, headers=headers)

    assert (now.status_code, kept.json()) == (200, after.json())
    assert then.status_code == 503
    assert then.json()["type"] == "urn:prooflog:problem:archive_unavailable"
    assert victim.name in then.json()["detail"]


async def _past(database_url: str) -> tuple[UUID, str]:
    """A project and its key."""
    async with await connect(database_url) as connection:
        project_id = await past_log(connection, EXPERIMENT)
        issued = await rotate_key(connection, project_id, actor="test")
        await catch_up_live(connection, project_id)
        await connection.execute(
            "insert into experiment select project_id, experiment_id, 1, 'running', now(), state"
            f" from {await live_schema(connection)}.experiment_plan"
        )
        return project_id, issued.secret_key
