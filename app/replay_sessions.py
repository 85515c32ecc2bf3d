"""The sessions in which past moments are derived: few, kept for a while with tables and planned statements."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

# One empties its tables, or derives what nobody has asked for yet, while somebody who asks has the other.
SESSIONS_MAX = 2
SESSION_IDLE_SECONDS = 60.0

Connection = psycopg.AsyncConnection[Any]


class ReplaySessions:
    """At most SESSIONS_MAX connections, each for one at a time, closed when nobody needs them for a while."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._turns = asyncio.Semaphore(SESSIONS_MAX)
        # Which nobody uses, the one used last at the end: it is the readiest.
        self._free: list[Connection] = []
        self._idle: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """Wait for one; after an error, or when its user is cancelled, it is closed and the next has another."""
        async with self._turns:
            self._end_idling()
            session = self._free.pop() if self._free else None
            try:
                if session is None or not await _is_alive(session):
                    session = await self._connect()
                yield session
            except BaseException:
                if session is not None:
                    await session.close()
                raise
            self._free.append(session)
            self._end_idling()
            self._idle = asyncio.create_task(self._close_when_idle(), name="idle replays")

    async def close(self) -> None:
        """Close those that nobody uses; call it when nobody uses any."""
        idle = self._idle
        self._end_idling()
        if idle is not None:
            await asyncio.gather(idle, return_exceptions=True)
        await self._close_free()

    def _end_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    async def _close_when_idle(self) -> None:
        await asyncio.sleep(SESSION_IDLE_SECONDS)
        await self._close_free()

    async def _close_free(self) -> None:
        while self._free:
            await self._free.pop().close()


async def _is_alive(session: Connection) -> bool:
    with contextlib.suppress(psycopg.Error):
        await session.execute("")
        return True
    await session.close()
    return False
