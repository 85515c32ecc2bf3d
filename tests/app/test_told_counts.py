"""What clients were told about events that are not in the log is counted beside it."""

import asyncio
import uuid
from datetime import UTC, date, datetime

import httpx
import psycopg
import pytest

from app import told_counts
from app.told_counts import KINDS_MAX, Told, ToldCounts, read_told
from tests.app.http_project import HttpProject, event, impression, open_client, open_project
from tests.app.test_dashboard import address, visitor, words

__all__ = ["visitor"]


async def test_duplicates_and_refusals_are_counted_by_reason(database_url: str, connection) -> None:
    """Of batches and of server events, each time they are told; the table has them once the server has stopped."""
    async with open_client(database_url) as client:
        project = await open_project(client)
        other = await open_project(client)
        once = event()
        await project.track(once, {**event(), "timestamp": 0}, {**event(), "visitorId": ""})
        await project.track(once, once)
        for body in ({}, {"eventName": "other"}):
            await project.server_event(idempotencyKey="a", **body)
            await project.server_event(idempotencyKey="a")
        await project.server_event(timestamp="yesterday")
        await project.server_event(b"{")
        await other.track(event())
    today = datetime.now(UTC).date()
    told = await read_told(connection, project.project_id, today, today)
    assert told == [
        Told("duplicate", "is in the log already", 4),
        Told("rejected", "Expected `str` of length >= 1 - at `$.visitorId`", 1),
        Told("rejected", "idempotencyKey was used with another body before", 1),
        Told("rejected", "is not JSON", 1),
        Told("rejected", "timestamp is more than 30 days old", 1),
        Told("rejected", "timestamp is not an ISO 8601 time", 1),
    ]
    assert await read_told(connection, other.project_id, today, today) == []
    assert await read_told(connection, project.project_id, date(2020, 1, 1), date(2020, 1, 2)) == []


async def test_counts_wait_for_the_database_and_are_bounded(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    """A pool that fails costs nothing but time; reasons beyond the bound are not kept."""
    counts, project_id = ToldCounts(), uuid.uuid4()

    class Away:
        def connection(self) -> object:
            raise psycopg.OperationalError("away")

    counts.add(project_id, 3, ["x" * 1_000])
    await counts.flush(Away())
    counts.add(project_id, 2, [f"reason {number}" for number in range(KINDS_MAX + 5)])
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        class There:
            def connection(self) -> object:
                return _Lent(connection)

        monkeypatch.setattr(told_counts, "EVERY_SECONDS", 0.01)
        keeping = asyncio.create_task(counts.keep(There()))
        today = datetime.now(UTC).date()
        while not (found := await read_told(connection, project_id, today, today)):
            await asyncio.sleep(0.01)
        counts.stop()
        await keeping
    assert found[0] == Told("duplicate", "is in the log already", 5)
    assert len(found) == KINDS_MAX
    assert max(len(told.reason) for told in found) == told_counts.REASON_CHARACTERS_MAX


class _Lent:
    def __init__(self, connection: object) -> None:
        self.connection = connection

    async def __aenter__(self) -> object:
        return self.connection

    async def __aexit__(self, *_error: object) -> None:
        pass


async def test_the_results_page_shows_them(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """In the panel of data quality, apart from what the log holds."""
    experiment = await project.running()
    seen = impression(experiment, 0, "ann")
    await project.track(seen, seen, {**event(), "timestamp": 0})
    await project.results(experiment)
    services = visitor._transport.app.state.services  # noqa: SLF001
    await services.told.flush(services.pool)
    said = words(await visitor.get(address(experiment))).partition("Events that are not in the log")[2]
    assert said.startswith(" 1 duplicate is in the log already 1 rejected timestamp is more than 30 days old")
