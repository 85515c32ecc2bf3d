"""A real PostgreSQL for every test: one server a session, one template, a copy of it for each test."""

import asyncio
import os
import shutil
import sys
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import psycopg
import pytest

from app.database import EmbeddedPostgres, connect, prepare_database
from projections.partitions import ensure_partitions
from tests import citus

# Where the events of made-up logs are in time, as in tests/projections/log_of_events.py.
_START = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Tests do not survive a power cut, so that their server need not either.
_CONFIGURATION = """\
fsync = off
synchronous_commit = on
full_page_writes = off
max_connections = 60
max_wal_size = '256MB'
shared_buffers = '64MB'
jit = off
"""


# A database is some 400 small files: made in memory in 30 ms, on an ordinary disk in 400. Where memory is
# scarce, the ordinary place for temporary files is taken.
_MEMORY = Path("/dev/shm")  # noqa: S108  (a directory that nobody else can name is made in it)
_MEMORY_BYTES_MIN = 4 * 2**30

# The commands refuse such a server unless they are told so by name.
os.environ.setdefault("PROOFLOG_ALLOW_UNSAFE", "fsync,full_page_writes")

# How long an example takes tells of the machine, and of who else uses it.
hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")

# Servers in processes of their own start as people start them: what Python compiled once it finds again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of the server that holds the test databases, by default an embedded one."""
    named = os.environ.get("PROOFLOG_TEST_DATABASE_URL")
    if named:
        yield named
        return
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES_MIN
    directory = Path(tempfile.mkdtemp(prefix="prooflog-test-", dir=_MEMORY if has_room else None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = EmbeddedPostgres(directory, _CONFIGURATION)
    yield server.url
    server.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """A migrated, empty database that the tests' databases are copies of."""
    name = f"template_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name}")  # type: ignore[arg-type]
    address = psycopg.conninfo.make_conninfo(postgres, dbname=name)
    if citus.IS_WANTED:
        citus.make_node(address)
    asyncio.run(_prepare(address))
    if citus.IS_WANTED:
        citus.distribute(address)
    yield name
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name}")  # type: ignore[arg-type]


@pytest.fixture
def database_url(postgres: str, template: str) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    with database_like(postgres, template) as url:
        yield url


@contextmanager
def database_like(postgres: str, template: str) -> Iterator[str]:
    """A copy of a database to which nobody is connected, dropped in the end; gives its address."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy file_copy")  # type: ignore[arg-type]
    yield psycopg.conninfo.make_conninfo(postgres, dbname=name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to the test's database."""
    async with await connect(database_url) as connection:
        yield connection


async def _prepare(url: str) -> None:
    await prepare_database(url, {"fsync", "full_page_writes"})
    async with await connect(url) as connection:
        await ensure_partitions(connection, _START)
