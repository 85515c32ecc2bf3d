"""A database that may lose what it confirms is refused, unless allowed by name; so is one of another encoding."""

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner
from psycopg_pool import PoolTimeout

from app.commands import main
from app.database import UnsafeSettingsError, connect, connect_to_write, open_pool, refuse_unsafe
from app.settings import read_settings

ALL = frozenset({"fsync", "full_page_writes", "synchronous_commit"})


@pytest.fixture
def forgetful_url(database_url) -> str:
    """The address of a database whose own settings switch synchronous_commit off."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"alter database {name} set synchronous_commit = off")
    return database_url


@pytest.mark.parametrize(
    "words", [["serve", "--no-demo"], ["worker"], ["demo"], ["migrate"], ["project", "create", "x"]]
)
def test_commands_refuse_a_database_that_forgets(forgetful_url, tmp_path, words) -> None:
    """Exit code 1 and one sentence that names the setting, what it risks and how to allow it."""
    environment = _environment(forgetful_url, tmp_path)
    ended = CliRunner().invoke(main, words, env=environment)

    assert ended.exit_code == 1
    assert "synchronous_commit is off in PostgreSQL: a crash could lose events" in ended.output
    assert "PROOFLOG_ALLOW_UNSAFE=synchronous_commit" in ended.output
    assert "Traceback" not in ended.output


def test_what_is_allowed_by_name_is_served(forgetful_url, tmp_path) -> None:
    """The named setting, and no other one, may be off."""
    allowed = ",".join(sorted(ALL))
    environment = _environment(forgetful_url, tmp_path, PROOFLOG_ALLOW_UNSAFE=allowed)
    assert CliRunner().invoke(main, ["project", "create", "x"], env=environment).exit_code == 0


def test_a_setting_that_nobody_knows_is_wrong_usage(database_url, tmp_path) -> None:
    """A misspelt name must not look as if it allowed something."""
    environment = _environment(database_url, tmp_path, PROOFLOG_ALLOW_UNSAFE="fsync,full_pages")
    ended = CliRunner().invoke(main, ["migrate"], env=environment)

    assert ended.exit_code == 2
    assert "full_pages" in ended.output
    assert "full_page_writes" in ended.output


def test_names_may_be_spaced_and_none_may_be_given() -> None:
    """White space around names is nothing; unset and empty allow nothing."""
    assert read_settings({"PROOFLOG_ALLOW_UNSAFE": " fsync , full_page_writes"}).allow_unsafe == {
        "fsync",
        "full_page_writes",
    }
    assert read_settings({}).allow_unsafe == frozenset()
    assert read_settings({"PROOFLOG_ALLOW_UNSAFE": ""}).allow_unsafe == frozenset()


async def test_every_setting_that_is_off_is_named_at_once(database_url) -> None:
    """Nobody should have to start three times to learn of three settings."""
    async with await connect(database_url) as connection:
        settings = {name: await _setting(connection, name) for name in ("fsync", "full_page_writes")}
        await connection.execute("set synchronous_commit = off")
        with pytest.raises(UnsafeSettingsError) as refused:
            await refuse_unsafe(connection, set())

    off = [name for name, value in settings.items() if value == "off"] + ["synchronous_commit"]
    assert f"PROOFLOG_ALLOW_UNSAFE={','.join(off)}" in str(refused.value)


@pytest.mark.parametrize("level", ["local", "remote_write", "on", "remote_apply"])
async def test_levels_that_flush_before_they_confirm_are_fine(database_url, level) -> None:
    """Whatever a standby is asked for, this machine's own disk has it."""
    async with await connect(database_url) as connection:
        await connection.execute(f"set synchronous_commit = {level}")  # type: ignore[arg-type]
        await refuse_unsafe(connection, {"fsync", "full_page_writes"})


async def test_a_writer_takes_no_new_connection_that_forgets(forgetful_url) -> None:
    """A setting that was changed while the server runs counts from the next connection on."""
    with pytest.raises(UnsafeSettingsError):
        await connect_to_write(forgetful_url)
    await (await connect_to_write(forgetful_url, {"synchronous_commit"})).close()


@pytest.mark.parametrize(("attribute", "level"), [("superuser", "panic"), ("nosuperuser", "error")])
async def test_ids_of_a_commit_stay_out_of_postgresql_s_log_where_they_may(database_url, attribute, level) -> None:
    """A commit is one statement with thousands of ids; a user who may not say so writes all the same."""
    user = f"writer_{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"create role {user} login {attribute}")  # type: ignore[arg-type]
        try:
            async with await connect_to_write(
                psycopg.conninfo.make_conninfo(database_url, user=user)
            ) as connection:
                assert await _setting(connection, "log_min_error_statement") == level
        finally:
            owner.execute(f"drop role {user}")  # type: ignore[arg-type]


async def test_management_facts_are_not_written_where_commits_are_forgotten(forgetful_url) -> None:
    """The pool, which commands use, takes no such connection either, unless it is allowed by name."""
    async with open_pool(forgetful_url) as pool:
        with pytest.raises(PoolTimeout):
            await pool.wait(timeout=1)
    async with open_pool(forgetful_url, {"synchronous_commit"}) as pool:
        await pool.wait(timeout=10)


async def test_who_switches_durability_off_meanwhile_changes_no_session_that_writes(database_url) -> None:
    """What a session was looked at for is its own: a reload of the whole server's settings passes it by."""
    async with (
        await connect_to_write(database_url) as writing,
        open_pool(database_url) as pool,
        pool.connection() as commanding,
    ):
        for session in (writing, commanding):
            found = await session.execute(
                "select setting, source from pg_settings where name = 'synchronous_commit'"
            )
            assert await found.fetchone() == ("on", "session")


@pytest.fixture
def latin_url(postgres) -> Iterator[str]:
    """The address of a new database whose encoding is LATIN1."""
    name = f"latin_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding 'LATIN1' locale 'C' template template0")
    yield psycopg.conninfo.make_conninfo(postgres, dbname=name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.mark.parametrize("words", [["serve", "--no-demo"], ["worker"], ["migrate"]])
def test_a_database_of_another_encoding_is_refused(latin_url, tmp_path, words) -> None:
    """Else one escaped character in an event would stop its project's projection. Nothing is made there."""
    ended = CliRunner().invoke(main, words, env=_environment(latin_url, tmp_path))

    assert ended.exit_code == 1
    assert "the database's encoding is LATIN1" in ended.output
    assert "encoding 'UTF8'" in ended.output
    assert "Traceback" not in ended.output
    with psycopg.connect(latin_url) as connection:
        made = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
    assert made == (0,)


async def test_a_database_that_is_gone_without_a_word_is_noticed(database_url) -> None:
    """Connections carry limits for a network that drops packets; the address may set its own."""
    async with await connect(psycopg.conninfo.make_conninfo(database_url, keepalives_idle=77)) as connection:
        parameters = connection.info.get_parameters()
    assert parameters["keepalives_idle"] == "77"
    assert parameters["tcp_user_timeout"] == "20000"
    assert parameters["connect_timeout"] == "10"


async def _setting(connection: psycopg.AsyncConnection, name: str) -> str:
    row = await (await connection.execute("select current_setting(%s)", (name,))).fetchone()
    assert row is not None
    return row[0]


def _environment(database_url: str, directory: os.PathLike[str], **settings: str) -> dict[str, str]:
    return {
        "PROOFLOG_DATABASE_URL": database_url,
        "PROOFLOG_DATA_DIR": str(directory),
        "PROOFLOG_PORT": "0",
        **settings,
    }
