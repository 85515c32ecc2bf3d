"""All that the database holds, to look for what must not be there."""

import psycopg


async def everything_stored(connection: psycopg.AsyncConnection) -> str:
    """Every row of every table of ours, as text; bytea as the text that it may hold."""
    cursor = await connection.execute(
        "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    )
    parts = []
    for schema, table in await cursor.fetchall():
        rows = await connection.execute(f'select t::text from "{schema}"."{table}" t')  # type: ignore[arg-type]
        parts += [text for (text,) in await rows.fetchall()]
    keys = await connection.execute("select encode(key_hash, 'escape') from secret_key")
    return "\n".join([*parts, *(text for (text,) in await keys.fetchall())])
