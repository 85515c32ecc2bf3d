"""The suite on a Citus of one node: what the documentation distributes is distributed in the template."""

import os
import re
import time
from pathlib import Path

import psycopg
import pytest

# Whether the server that PROOFLOG_TEST_DATABASE_URL names is one, with the extension loaded.
IS_WANTED = bool(os.environ.get("PROOFLOG_TEST_CITUS"))

_PAGE = Path(__file__).parents[1] / "docs" / "citus.md"
_WAIT_SECONDS_MAX = 10


def knows_not(what: str) -> pytest.MarkDecorator:
    """Leave a test out on Citus, for what that cannot do."""
    return pytest.mark.skipif(IS_WANTED, reason=f"Citus knows no {what}")


def make_node(url: str) -> None:
    """Let a new database be its own cluster; its copies are theirs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension citus")
        node = connection.info.host, connection.info.port
        connection.execute("select citus_set_coordinator_host(%s, %s::int)", node)
        connection.execute("select citus_set_node_property(%s, %s::int, 'shouldhaveshards', true)", node)


def distribute(url: str) -> None:
    """Distribute what docs/citus.md says; nobody is connected afterwards, so that the database can be copied."""
    [statements] = re.findall(r"```sql\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements)
        name = connection.info.dbname
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"alter database {name} allow_connections false")  # type: ignore[arg-type]
        ends = time.monotonic() + _WAIT_SECONDS_MAX
        query = "select pg_terminate_backend(pid::int) from pg_stat_activity where datname = %s"
        while connection.execute(query, (name,)).fetchall():
            assert time.monotonic() < ends, "the maintenance of Citus does not end"
            time.sleep(0.05)
