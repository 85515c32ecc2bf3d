"""What pages may show now: read for all that ask together, and kept for a second."""

import asyncio
import functools
import time
from typing import Any
from uuid import UUID

import msgspec

from app.experiments import documented, read_experiments
from app.script import experiments_version


class Running(msgspec.Struct, frozen=True):
    """What a project shows: its running experiments in the documented shape, and a name for just these."""

    experiments: list[dict[str, Any]]
    version: str


class ActiveExperiments:
    """What each project shows now, at most a second old; the pages that ask are many."""

    SECONDS = 1.0
    PROJECTS_MAX = 10_000
    VERSION_SECONDS_MAX = 0.05

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[float, Running]] = {}
        self._reading: dict[UUID, asyncio.Task[Running]] = {}

    async def get(self, connections: Any, project_id: UUID) -> Running:  # noqa: ANN401
        """The running experiments of a project; those who ask together wait for one answer."""
        known = self.known(project_id)
        return known if known is not None else await asyncio.shield(self._read(connections, project_id))

    def known(self, project_id: UUID) -> Running | None:
        """The same where nothing needs to be read for it, as for nearly all that ask."""
        known = self._known.get(project_id)
        return known[1] if known is not None and known[0] > time.monotonic() else None

    async def version(self, connections: Any, project_id: UUID) -> str | None:  # noqa: ANN401
        """The name of what runs, None where that takes longer than an answer to events may wait for it."""
        reading = self._read(connections, project_id)
        await asyncio.wait([reading], timeout=self.VERSION_SECONDS_MAX)
        failed = not reading.done() or reading.cancelled() or reading.exception() is not None
        return None if failed else reading.result().version

    def forget(self, project_id: UUID) -> None:
        """Read the project's experiments anew next time: what is being read now may be older than a change."""
        self._known.pop(project_id, None)
        self._reading.pop(project_id, None)

    def _read(self, connections: Any, project_id: UUID) -> asyncio.Task[Running]:  # noqa: ANN401
        reading = self._reading.get(project_id)
        if reading is None:
            reading = asyncio.create_task(_read_running(connections, project_id), name="running experiments")
            self._reading[project_id] = reading
            reading.add_done_callback(functools.partial(self._keep, project_id))
        return reading

    def _keep(self, project_id: UUID, reading: asyncio.Task[Running]) -> None:
        failed = reading.cancelled() or reading.exception() is not None  # asked, or asyncio would complain
        if self._reading.get(project_id) is not reading:
            return
        del self._reading[project_id]
        if not failed:
            if len(self._known) >= self.PROJECTS_MAX:
                self._known.clear()
            self._known[project_id] = (time.monotonic() + self.SECONDS, reading.result())


async def _read_running(connections: Any, project_id: UUID) -> Running:  # noqa: ANN401
    async with connections.connection() as connection:
        running = await read_experiments(connection, project_id, running_only=True)
    experiments = [documented(experiment) for experiment in running]
    return Running(experiments, experiments_version(experiments))
