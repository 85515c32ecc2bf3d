"""Measures the write path and the projections against PostgreSQL's own ceiling, in one run.

    python -m bench [--events N] [--json FILE]

Every figure is a ratio or stands beside its ceiling: machines differ and are shared.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Coroutine
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL

from app.database import connect, prepare_database
from app.decoding import decode_with_care
from app.event_rows import Horizon
from bench.figures import Figure
from bench.load import Load, bodies, send
from bench.projecting import measure_projecting
from bench.server import Server, database, started_server
from projections.event_log import binary_rows
from projections.generations import status

HORIZON = Horizon(timedelta(days=30), timedelta(days=1))
CONNECTIONS_BATCH = 128
CONNECTIONS_SINGLE = 128


async def measure(url: str, disk: Path | None, events: int, log_events: int, processes: int) -> list[Figure]:
    """All figures, in order; `disk` is a folder beside the database's, where that is on this machine."""
    await prepare_database(url)
    figures: list[Figure] = []
    copy_rate = await _copy_ceiling(url, events)
    figures.append(Figure("raw COPY", copy_rate, "events/s"))
    with ExitStack() as stack:
        # One of them projects, as the first process of `prooflog serve` does.
        servers = [stack.enter_context(started_server(url, with_worker=at == 0)) for at in range(processes)]
        figures += await _http(url, servers, disk, events, copy_rate)
    figures += await _disk(url)
    if log_events:
        figures += await measure_projecting(url, log_events, copy_rate)
    return figures


async def _copy_ceiling(url: str, events: int) -> float:
    """Rows of the same events into a table with the same key, one COPY."""
    project_id = uuid.uuid4()
    now = datetime.now(UTC)
    rows = [
        event.row
        for body in bodies(project_id, events // 50, 50, seed=1)
        for event in decode_with_care(body, now, HORIZON).events
    ]
    data = binary_rows(project_id, 1, now, rows)
    async with await connect(url) as connection:
        await connection.execute("create table copy_ceiling (like event_log)")
        await connection.execute("alter table copy_ceiling add primary key (project_id, position)")
        began = time.perf_counter()
        async with (
            connection.cursor() as cursor,
            cursor.copy("copy copy_ceiling from stdin (format binary)") as copy,
        ):
            await copy.write(data)
        seconds = time.perf_counter() - began
        await connection.execute("drop table copy_ceiling")
        await connection.execute("checkpoint")
    return len(rows) / seconds


async def _http(url: str, servers: list[Server], disk: Path | None, events: int, copy_rate: float) -> list[Figure]:
    project_id = await _project(url)
    ports = [server.port for server in servers]
    fresh = bodies(project_id, events // 50, 50, seed=2)
    before = sum(server.cpu_seconds() for server in servers)
    batch, lag_ms = await _with_lag(
        url, project_id, send(ports, "/api/analytics/track", fresh, connections=CONNECTIONS_BATCH)
    )
    cpu = sum(server.cpu_seconds() for server in servers) - before
    again = await send(ports, "/api/analytics/track", fresh, connections=CONNECTIONS_BATCH)
    empty = await send(ports, "/empty", [b""] * (events // 10), connections=CONNECTIONS_SINGLE)
    ones = bodies(project_id, events // 10, 1, seed=3)
    single = await send(ports, "/api/analytics/track", ones, connections=CONNECTIONS_SINGLE)
    half = bodies(project_id, max(50, int(batch.per_second * 3)), 50, seed=4)
    calm, stall_ms = await _with_disk(
        disk,
        send(ports, "/api/analytics/track", half, connections=CONNECTIONS_BATCH, rate=batch.per_second / 2),
    )
    ones = bodies(project_id, max(50, int(single.per_second * 2)), 1, seed=5)
    calm_single = await send(
        ports, "/api/analytics/track", ones, connections=CONNECTIONS_SINGLE, rate=single.per_second / 2
    )
    rate = batch.per_second * 50
    return [
        Figure("HTTP, 50 events a request", rate, "events/s"),
        Figure("  as a share of COPY", rate / copy_rate, "", "bar 0.25, aim 0.4"),
        Figure("HTTP, 1 event a request", single.per_second, "requests/s"),
        Figure("  empty 202 of the same server", empty.per_second, "requests/s"),
        Figure("  as a share of that", single.per_second / empty.per_second, "", "bar 0.5, aim 0.75"),
        Figure("latency p99 at half the batch load", calm.latency_ms_p99, "ms", "bar 50, aim 20"),
        *([] if stall_ms is None else [Figure("  longest that the disk took meanwhile", stall_ms, "ms")]),
        Figure(
            "latency p99 at half the load of single events", calm_single.latency_ms_p99, "ms", "bar 50, aim 20"
        ),
        Figure("lag of the projections at full ingest, p99", lag_ms, "ms", "bar 2000, aim 500"),
        Figure("duplicates against fresh", again.per_second / batch.per_second, "times", "bar 1.5, aim 3"),
        Figure("server CPU per event, batches", cpu / (batch.requests * 50) * 1e6, "us"),
        Figure(
            "memory of the larger server process",
            max(server.memory_mb() for server in servers),
            "MB",
            "bar 300, aim 150",
        ),
    ]


async def _with_lag(url: str, project_id: uuid.UUID, load: Coroutine[Any, Any, Load]) -> tuple[Load, float]:
    """A load, and for how long (p99, ms) the oldest event that is not counted yet has waited meanwhile."""
    task = asyncio.create_task(load)
    waits: list[float] = []
    async with await connect(url) as connection:
        while not task.done():
            for project in await status(connection):
                if project.project_id == project_id:
                    since = project.waiting_since
                    waits.append((datetime.now(UTC) - since) / timedelta(milliseconds=1) if since else 0.0)
            await asyncio.sleep(0.02)
    return await task, sorted(waits)[int(len(waits) * 0.99)]


async def _with_disk(disk: Path | None, load: Coroutine[Any, Any, Load]) -> tuple[Load, float | None]:
    """A load, and the longest that 8 KB took to be durable beside it, ms, tried ten times a second."""
    if disk is None:
        return await load, None
    task = asyncio.create_task(load)
    waits: list[float] = []
    with (disk / "sync").open("wb", buffering=0) as file:
        while not task.done():
            waits.append(await asyncio.to_thread(_sync, file.fileno()))
            await asyncio.sleep(0.1)
    return await task, max(waits)


def _sync(file: int) -> float:
    began = time.perf_counter()
    os.pwrite(file, b"x" * 8192, 0)
    os.fdatasync(file)
    return (time.perf_counter() - began) * 1000


async def _disk(url: str) -> list[Figure]:
    async with await connect(url) as connection:
        row = await (
            await connection.execute(
                "select (select count(*) from event_log), sum(pg_total_relation_size(c.oid))"
                " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where n.nspname = 'public' and c.relkind = 'r'"
                " and c.relname ~ '^(event_log|event_ledger|log_batch)'"
            )
        ).fetchone()
    return [Figure("disk, indexes included", float(row[1]) / row[0], "B/event", "bar 500, aim 300")] if row else []


async def _project(url: str) -> uuid.UUID:
    project_id = uuid.uuid4()
    async with await connect(url) as connection:
        await connection.execute(
            SQL("insert into project values (%s, 'bench', '{{}}', ''::bytea, now())").format(), (project_id,)
        )
    return project_id


def main() -> None:
    """Print the table; write JSON when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000, help="events of each batch measurement")
    parser.add_argument("--processes", type=int, default=2, help="server processes, as PROOFLOG_WORKERS")
    parser.add_argument("--log", type=int, default=1_000_000, help="events of the projected log; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--url", help="a database of its own; default: an embedded one in a temporary folder")
    chosen = parser.parse_args()
    with database(chosen.url) as (url, directory):
        disk = None if chosen.url else directory
        figures = asyncio.run(measure(url, disk, chosen.events, chosen.log, chosen.processes))
    print("\n".join(figure.line() for figure in figures))
    if chosen.json:
        found: list[dict[str, Any]] = [msgspec.to_builtins(figure) for figure in figures]
        chosen.json.write_text(
            json.dumps({"python": sys.version, "psycopg": psycopg.__version__, "figures": found})
        )


if __name__ == "__main__":
    main()
