"""No process that stands still in the middle of a commit holds up the log for others."""

import asyncio
from datetime import UTC, datetime

from app.database import connect
from app.upkeep import keep_writing
from projections.event_log import append, append_facts
from tests.app.http_project import open_client
from tests.projections.log_of_events import Seen, new_project, plan


async def test_a_server_looks_for_such_processes_again_and_again(database_url, connection, monkeypatch) -> None:
    """A command that waits behind one goes on, and what stood still has written nothing."""
    monkeypatch.setattr("app.upkeep.LOOK_FOR_STALLED_SECONDS", 0.05)
    monkeypatch.setattr("app.upkeep.STALLED_SECONDS_MAX", 0.2)
    project_id = await new_project(connection)
    async with open_client(database_url), await connect(database_url) as still:
        await still.execute("begin")
        await append(still, {project_id: [Seen("ann", 1).row()]}, lambda: datetime.now(UTC))

        async with asyncio.timeout(20):
            last = await append_facts(connection, project_id, [plan().created()], datetime.now(UTC))
        await still.close()
    assert last == 1


async def test_a_look_that_fails_is_not_the_last(database_url, monkeypatch) -> None:
    """While the database cannot be reached nothing is seen, and later on it is."""
    monkeypatch.setattr("app.upkeep.LOOK_FOR_STALLED_SECONDS", 0.01)
    looks: list[str] = []

    async def looked(_connection, _seconds):
        looks.append("looked")
        if len(looks) < 3:
            raise ConnectionResetError if len(looks) == 1 else ZeroDivisionError
        return 0

    monkeypatch.setattr("app.upkeep.end_stalled", looked)
    watching = asyncio.create_task(keep_writing(database_url))
    async with asyncio.timeout(20):
        while len(looks) < 4:
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
