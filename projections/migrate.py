"""Applies migrations/ in order, each once, each with its record."""

import hashlib
from importlib import resources
from typing import LiteralString, NamedTuple

from psycopg import AsyncConnection

# Any fixed number: two servers that start at once take turns.
_MIGRATION_LOCK = 7_306_087_155


class Migration(NamedTuple):
    """One numbered SQL file."""

    name: str
    sql: LiteralString
    checksum: str


class MigrationChangedError(Exception):
    """A migration that was applied to this database reads otherwise now."""


def migrations() -> list[Migration]:
    """All migrations in their order."""
    files = sorted(
        (file for file in resources.files("migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return [
        Migration(file.name, text, hashlib.sha256(text.encode()).hexdigest())
        for file in files
        for text in [file.read_text("utf-8")]
    ]


async def migrate(connection: AsyncConnection) -> list[str]:
    """Bring the database to the newest schema; the names of what was applied now."""
    applied_now: list[str] = []
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        await connection.execute(
            "create table if not exists migration ("
            " name text primary key, checksum text not null, applied_at timestamptz not null default now())"
        )
        rows = await (await connection.execute("select name, checksum from migration")).fetchall()
        known: dict[str, str] = dict(rows)
        for migration in migrations():
            if migration.name in known:
                if known[migration.name] != migration.checksum:
                    raise MigrationChangedError(
                        f"{migration.name} was changed after it was applied to this database"
                    )
                continue
            await connection.execute(migration.sql)
            await connection.execute(
                "insert into migration (name, checksum) values (%s, %s)", (migration.name, migration.checksum)
            )
            applied_now.append(migration.name)
    return applied_now
