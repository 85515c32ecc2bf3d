"""How far projects are counted, for open pages: one query a second in all, none while nobody looks."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from app.log_writer import Overloaded
from projections.generations import Standing, standings

POLL_SECONDS = 1.0
_log = logging.getLogger("prooflog.live")


class Live:
    """Watches the checkpoints of the projects that somebody looks at, whichever process moves them."""

    WATCHERS_MAX = 500

    def __init__(self, pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]]) -> None:
        self._pool = pool
        self._watched: Counter[UUID] = Counter()
        self._known: dict[UUID, Standing] = {}
        self._looked = asyncio.Condition()
        self._polling: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether the server is about to end."""
        return self._ended.is_set()

    @asynccontextmanager
    async def watching(self, project_id: UUID) -> AsyncIterator[None]:
        """Watch a project for as long as this is open; Overloaded when too many watch already."""
        if self.is_closed or self._watched.total() >= self.WATCHERS_MAX:
            raise Overloaded
        self._watched[project_id] += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name="live")
        try:
            yield
        finally:
            self._watched[project_id] -= 1
            if not self._watched[project_id]:
                del self._watched[project_id]
                self._known.pop(project_id, None)

    async def moved(self, project_id: UUID, after: int, seconds: float) -> Standing | None:
        """Where a watched project stands, as soon as it is not at `after`, or else once this time is over.

        None while nothing is known of it yet.
        """

        def has_moved() -> bool:
            known = self._known.get(project_id)
            return self.is_closed or (known is not None and known.position != after)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._looked:
                await self._looked.wait_for(has_moved)
        return self._known.get(project_id)

    async def close(self) -> None:
        """Wake everybody who waits, for good: open pages must not hold up the end of the server."""
        self._ended.set()
        async with self._looked:
            self._looked.notify_all()
        if self._polling is not None:
            await asyncio.wait({self._polling})

    async def _poll(self) -> None:
        while self._watched and not self.is_closed:
            try:
                async with self._pool.connection() as connection:
                    found = await standings(connection, list(self._watched))
                self._known.update({each.project_id: each for each in found if each.project_id in self._watched})
            except (psycopg.Error, PoolTimeout, OSError) as error:
                _log.warning("cannot see how far projects are counted (%s); trying again", error)
            async with self._looked:
                self._looked.notify_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), POLL_SECONDS)
