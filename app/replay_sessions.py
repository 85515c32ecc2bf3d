"""The sessions in which past moments are derived: few, kept for a while with tables and planned statements."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

# One comes to its end, or derives what nobody has asked for yet, while somebody who asks has the other.
SESSIONS_MAX = 2
SESSION_IDLE_SECONDS = 60.0
# Meanwhile it has the turn of somebody who may come.
MAKING_READY_SECONDS_MAX = 5.0

_log = logging.getLogger("prooflog.replays")

Connection = psycopg.AsyncConnection[Any]


class ReplaySessions:
    """At most SESSIONS_MAX connections, each for one at a time, closed when nobody needs them for a while.

    Who uses the first makes the others be opened too, and made ready, since whoever comes next may come soon.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], make_ready: Callable[[Connection], Awaitable[None]]
    ) -> None:
        self._connect, self._make_ready = connect, make_ready
        self._turns = asyncio.Semaphore(SESSIONS_MAX)
        self._known: set[Connection] = set()
        # Which nobody uses, the one used last at the end: it is the readiest.
        self._free: list[Connection] = []
        self._idle: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """Wait for one; after an error, or when its user is cancelled, it is closed and the next has another."""
        async with self._turns:
            self._end_idling()
            session = self._free.pop() if self._free else None
            try:
                if session is None or not await self._is_alive(session):
                    session = await self._open()
                yield session
            except BaseException:
                if session is not None:
                    await self._close(session)
                raise
            self._free.append(session)
            self._close_later()
            if len(self._known) < SESSIONS_MAX and (self._opening is None or self._opening.done()):
                self._opening = asyncio.create_task(self._open_another(), name="another session for replays")

    async def close(self) -> None:
        """Close those that nobody uses; call it when nobody uses any."""
        ending = [task for task in (self._idle, self._opening) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._close_free()

    async def _open_another(self) -> None:
        """Have a session for who comes while another uses the first; should that fail, who comes is told why."""
        async with self._turns:
            if len(self._known) >= SESSIONS_MAX:
                return
            try:
                async with asyncio.timeout(MAKING_READY_SECONDS_MAX):
                    session = await self._open()
                    try:
                        await self._make_ready(session)
                    except BaseException:
                        await self._close(session)
                        raise
            except Exception as error:  # noqa: BLE001  (who comes is told)
                _log.info("no other session for past moments is ready: %s", error)
                return
            self._free.insert(0, session)
            self._close_later()

    def _close_later(self) -> None:
        self._end_idling()
        self._idle = asyncio.create_task(self._close_when_idle(), name="idle replays")

    def _end_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    async def _close_when_idle(self) -> None:
        await asyncio.sleep(SESSION_IDLE_SECONDS)
        await self._close_free()

    async def _close_free(self) -> None:
        while self._free:
            await self._close(self._free.pop())

    async def _open(self) -> Connection:
        session = await self._connect()
        self._known.add(session)
        return session

    async def _close(self, session: Connection) -> None:
        self._known.discard(session)
        await session.close()

    async def _is_alive(self, session: Connection) -> bool:
        with contextlib.suppress(psycopg.Error):
            await session.execute("")
            return True
        await self._close(session)
        return False
