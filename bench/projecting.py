"""Projections and results over a small and a large log: speed, and whether either depends on the size."""

import http.client
import time
import uuid
from http import HTTPStatus
from typing import Any

import psutil
import psycopg
from psycopg.sql import SQL, Identifier

from app.database import connect
from app.projects import create_project
from bench.figures import Figure
from bench.project_log import EXPERIMENTS, experiment_id, start_experiments, write_log
from bench.server import started_server
from projections.catch_up import create_staging
from projections.generations import catch_up_live, live_schema, rebuild

SMALL_EVENTS = 10_000
PROBE_EVENTS = 100_000
QUERIES = 400
# A start loads what results need in its second second: before it is over, answers share a processor with that.
WARM_UP_SECONDS = 3.0
PAST_QUERIES = 50


async def measure_projecting(url: str, events: int, copy_rate: float) -> list[Figure]:
    """Grow one project's log from SMALL_EVENTS to `events`; figures at both ends.

    `copy_rate`, raw COPY's events/s in the same run, tells a slow machine from a slow rebuild.
    """
    async with await connect(url) as connection:
        async with connection.transaction():
            project_id, key = await create_project(connection, "bench of projections", (), actor="bench")
        await start_experiments(connection, project_id)
        await create_staging(connection)
        await _grow(connection, project_id, SMALL_EVENTS, seed=1)
        await show_experiments(connection, project_id)
        small_ms = _results_ms_p99(url, key)
        small_kept_ms = _results_ms_p99(url, key, kept=True)
        early = await _grow(connection, project_id, PROBE_EVENTS, seed=2)
        written = SMALL_EVENTS + PROBE_EVENTS
        for seed, part in enumerate(range(written, events, 1_000_000), 3):
            await _grow(connection, project_id, min(1_000_000, events - part), seed=seed)
        late = await _grow(connection, project_id, PROBE_EVENTS, seed=1_000)
        large_ms = _results_ms_p99(url, key)
        large_kept_ms = _results_ms_p99(url, key, kept=True)
        past_ms = _past_results_ms_p99(url, key, events)
        await connection.execute("checkpoint")
        rate, rate_per_core = await _rebuild_rates(url, connection)
    return [
        Figure(f"rebuild, log of {events:,} events, 50 experiments", rate, "events/s"),
        Figure("  for each second of a core", rate_per_core, "events/s", "bar 300k, aim 1M"),
        Figure("  that as a share of COPY", rate_per_core / copy_rate, ""),
        Figure(
            f"cost of an event behind {events:,} against behind 10,000", sum(late) / sum(early), "times", "bar 1.2"
        ),
        Figure("  of its append", late[0] / early[0], "of early"),
        Figure("  of its projection", late[1] / early[1], "of early"),
        Figure("results p99, log of 10,000", small_ms, "ms", "bar 10, aim 3"),
        Figure(f"results p99, log of {events:,}", large_ms, "ms", "bar 10, aim 3"),
        Figure("  kept from the look before, log of 10,000", small_kept_ms, "ms"),
        Figure(f"  kept from the look before, log of {events:,}", large_kept_ms, "ms"),
        Figure("  as of any past position, p99", past_ms, "ms"),
    ]


async def _grow(
    connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID, events: int, seed: int
) -> tuple[float, float]:
    """Append and project that many events; the seconds of each."""
    began = time.perf_counter()
    await write_log(connection, project_id, events, seed)
    written = time.perf_counter()
    await catch_up_live(connection, project_id)
    return written - began, time.perf_counter() - written


async def _rebuild_rates(url: str, connection: psycopg.AsyncConnection[Any]) -> tuple[float, float]:
    """Events a second by the clock, and by the processor time of the program and its PostgreSQL session."""
    row = await (await connection.execute("select sum(event_count) from log_batch")).fetchone()
    async with await connect(url) as builder, await connect(url) as keeper:
        session = psutil.Process(builder.info.backend_pid)
        began, cpu_before = time.perf_counter(), time.process_time() + _cpu_seconds(session)
        differences = await rebuild(builder, keeper)
        seconds = time.perf_counter() - began
        cpu_seconds = time.process_time() + _cpu_seconds(session) - cpu_before
    if differences or row is None:
        raise RuntimeError(f"the rebuilt tallies differ: {differences}")
    return float(row[0]) / seconds, float(row[0]) / cpu_seconds


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def show_experiments(connection: psycopg.AsyncConnection[Any], project_id: uuid.UUID) -> None:
    """Let the results endpoint find the experiments, whose facts were written straight into the log."""
    await connection.execute(
        SQL(
            "insert into experiment select project_id, experiment_id, 1, 'running', now(), state"
            " from {}.experiment_plan where project_id = %s"
        ).format(Identifier(await live_schema(connection))),
        (project_id,),
    )


def _results_ms_p99(url: str, key: str, *, kept: bool = False) -> float:
    """Over HTTP, one request after another, once the server has warmed up; computed anew unless `kept`."""
    with started_server(url) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port)
        took: list[float] = []
        warm_at = time.monotonic() + WARM_UP_SECONDS
        warm = 0
        while len(took) < warm + QUERIES:
            # Results are kept by all that they follow from: another margin each time is another question.
            query = "" if kept else f"?guardrailMargin={0.05 + len(took) / 1e6:.6f}"
            took.append(_ask(client, key, len(took) % EXPERIMENTS, query))
            if time.monotonic() < warm_at:
                warm = len(took)
        client.close()
    return sorted(took[warm:])[int(QUERIES * 0.99)] * 1000


def _past_results_ms_p99(url: str, key: str, events: int) -> float:
    """Over HTTP, positions that are spread over the log."""
    with started_server(url) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port)
        positions = [(number * 2 + 1) * events // (2 * PAST_QUERIES) for number in range(PAST_QUERIES)]
        took = [_ask(client, key, at % EXPERIMENTS, f"?asOf={position}") for at, position in enumerate(positions)]
        client.close()
    return sorted(took)[int(len(took) * 0.99)] * 1000


def _ask(client: http.client.HTTPConnection, key: str, number: int, query: str = "") -> float:
    began = time.perf_counter()
    path = f"/api/analytics/experiments/{experiment_id(number)}/results{query}"
    client.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    answer = client.getresponse()
    body = answer.read()
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"results answered {answer.status}: {body[:200]!r}")
    return time.perf_counter() - began
