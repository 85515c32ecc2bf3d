"""Past moments of experiments, derived in a session that is kept for a while; those asked for last are kept."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from app.kept import Kept
from app.log_writer import Overloaded
from projections.event_log import received_at
from projections.results import ChooseGoal, Counted, read_pasts

REPLAYS_WAITING_MAX = 8
SESSION_IDLE_SECONDS = 60.0
# Of all past moments that are kept, by what a row and its numbers take.
PAST_BYTES_MAX = 24 * 1024 * 1024
_ROW_BYTES = 600

Connection = psycopg.AsyncConnection[Any]


class Past(NamedTuple):
    """What was counted as of a position, and when its newest event was received."""

    counted: Counted
    time: datetime | None

    def size_bytes(self) -> int:
        """About what it takes to keep it."""
        by_day, plan = self.counted.by_day, msgspec.json.encode(self.counted.plan)
        rows = len(self.counted.visitors) + len(self.counted.outcomes)
        rows += len(by_day.visitors) + len(by_day.outcomes) if by_day else 0
        return len(plan) + _ROW_BYTES * (10 + rows)


class Moment(NamedTuple):
    """A past state of an experiment, with the tallies by day of the goal that is chosen."""

    project_id: UUID
    experiment_id: UUID
    position: int
    choose: ChooseGoal | None


class Replays:
    """Derives one past state at a time, since each reads the log up to its position, and lets few wait.

    What was counted as of a position never changes, so those asked for last are kept in `known`.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], archive: Path | None = None) -> None:
        self.known: Kept[Past] = Kept(PAST_BYTES_MAX, Past.size_bytes)
        self._connect, self._archive = connect, archive
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._replaying: set[asyncio.Task[None]] = set()
        self._session: Connection | None = None
        self._idle: asyncio.Task[None] | None = None

    async def derive(self, moment: Moment) -> Past | None:
        """What was counted at a moment; None where the experiment was not known. Overloaded when too many wait."""
        if self._waiting >= REPLAYS_WAITING_MAX:
            raise Overloaded
        self._waiting += 1
        found: asyncio.Future[Past | None] = asyncio.get_running_loop().create_future()
        # Who asked need not wait until the session is ready for the next; should they go, it still becomes so.
        task = asyncio.create_task(self._replay(moment, found), name="replay")
        self._replaying.add(task)
        task.add_done_callback(self._replaying.discard)
        return await found

    async def close(self) -> None:
        """End what is going on, and the session."""
        for task in self._replaying:
            task.cancel()
        await asyncio.gather(*self._replaying, return_exceptions=True)
        await self._stop_idling()
        if self._session is not None:
            await self._session.close()

    async def _replay(self, moment: Moment, found: asyncio.Future[Past | None]) -> None:
        try:
            async with self._turn:
                # Who had the turn before may have asked for the same.
                past = self.known.get(moment)
                if past is None and not found.done():
                    await self._read(moment, found)
                _tell(found, past)
        except asyncio.CancelledError:
            found.cancel()
            raise
        except Exception as error:  # noqa: BLE001  (it is raised where somebody waits for it)
            if not found.done():
                found.set_exception(error)
        finally:
            self._waiting -= 1

    async def _read(self, moment: Moment, found: asyncio.Future[Past | None]) -> None:
        project_id, experiment_id, position, choose = moment
        async with self._kept_session() as session:
            pasts = read_pasts(session, project_id, experiment_id, [position], self._archive, choose)
            async for counted in pasts:
                past = Past(counted, await received_at(session, project_id, position)) if counted else None
                if past is not None:
                    self.known.put(moment, past)
                _tell(found, past)

    @asynccontextmanager
    async def _kept_session(self) -> AsyncIterator[Connection]:
        """The session for replays, made anew after an error and after some time in which nobody needed it."""
        await self._stop_idling()
        session, self._session = self._session, None
        if session is not None and not await _is_alive(session):
            session = None
        if session is None:
            session = await self._connect()
        try:
            yield session
        except BaseException:
            await session.close()
            raise
        self._session = session
        self._idle = asyncio.create_task(self._close_when_idle(session), name="idle replays")

    async def _close_when_idle(self, session: Connection) -> None:
        await asyncio.sleep(SESSION_IDLE_SECONDS)
        self._session = None
        await session.close()

    async def _stop_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            await asyncio.gather(self._idle, return_exceptions=True)
            self._idle = None


def _tell(found: asyncio.Future[Past | None], past: Past | None) -> None:
    if not found.done():
        found.set_result(past)


async def _is_alive(session: Connection) -> bool:
    with contextlib.suppress(psycopg.Error):
        await session.execute("")
        return True
    await session.close()
    return False
