"""Past moments of experiments, derived from the log; those asked for last are kept."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from app.kept import Kept
from app.log_writer import Overloaded
from app.replay_sessions import Connection, ReplaySessions
from projections.event_log import positions_at
from projections.generations import live_mark
from projections.results import Counted, CountedAt, Detail, read_pasts
from projections.snapshots import make_ready

REPLAYS_WAITING_MAX = 8
# Of all past moments that are kept, by what a row and its numbers take.
PAST_BYTES_MAX = 24 * 1024 * 1024
_ROW_BYTES = 600
# Of those that are derived ahead for one experiment, so that others stay; and how far back.
AHEAD_BYTES_MAX = PAST_BYTES_MAX // 3
AHEAD_EVENTS_MAX = 2_000_000
_LOOKED_AHEAD_MAX = 500
# By then the page is out, and whoever reads it may have asked for another one.
AHEAD_AFTER_SECONDS = 0.3

_log = logging.getLogger("prooflog.replays")

_Told = TypeVar("_Told")


class Past(NamedTuple):
    """What was counted as of a position, and when its newest event was received."""

    counted: Counted
    time: datetime | None

    def size_bytes(self) -> int:
        """About what it takes to keep it."""
        by_day, plan = self.counted.by_day, msgspec.json.encode(self.counted.plan)
        segments = self.counted.segments
        rows = len(self.counted.visitors) + len(self.counted.outcomes)
        rows += len(by_day.visitors) + len(by_day.outcomes) if by_day else 0
        rows += len(segments.visitors) + len(segments.outcomes) if segments else 0
        return len(plan) + _ROW_BYTES * (10 + rows)


class Moment(NamedTuple):
    """A past state of an experiment, in detail or not, and the generation of tables that it was asked of.

    A rebuild may mend what those before have told.
    """

    project_id: UUID
    experiment_id: UUID
    position: int
    detail: Detail | None
    generation: int


class Ahead(NamedTuple):
    """Past states of an experiment that somebody may ask for next, by time; and about what each takes to keep."""

    project_id: UUID
    experiment_id: UUID
    times: tuple[datetime, ...]
    detail: Detail | None
    each_bytes: int

    @property
    def wish(self) -> "Ahead":
        """What two have alike that ask for the same."""
        return self._replace(each_bytes=0)


class Replays:
    """Derives few past states at a time, since each reads the log up to its position, and lets few wait.

    What was counted as of a position never changes, so those asked for last are kept in `known`.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], archive: Path | None = None) -> None:
        self.known: Kept[Past] = Kept(PAST_BYTES_MAX, Past.size_bytes)
        self._sessions, self._archive = ReplaySessions(connect, make_ready), archive
        self._waiting, self._asked, self._answered = 0, asyncio.Event(), asyncio.Event()
        self._answered.set()
        self._replaying: set[asyncio.Task[None]] = set()
        # Each ends once its moment is told or given up, whether who asked for it is still there or not.
        self._under_way: dict[Moment, asyncio.Future[None]] = {}
        self._ahead: Ahead | None = None
        self._wish: Ahead | None = None
        self._looking_ahead: asyncio.Task[None] | None = None
        self._looked_ahead: Kept[Ahead] = Kept(_LOOKED_AHEAD_MAX, lambda _: 1)

    async def derive(self, moment: Moment) -> Past | None:
        """What was counted at a moment; None where the experiment was not known. Overloaded when too many wait."""
        if self._waiting >= REPLAYS_WAITING_MAX:
            raise Overloaded
        found: asyncio.Future[Past | None] = asyncio.get_running_loop().create_future()
        # Who asked need not wait until the session is ready for the next; should they go, it still becomes so.
        task = asyncio.create_task(self._replay(moment, found), name="replay")
        self._replaying.add(task)
        task.add_done_callback(self._replaying.discard)
        # Of one that was ended, maybe before it began, nothing comes any more.
        task.add_done_callback(lambda _: found.cancel())
        self._waiting += 1
        self._asked.set()
        self._answered.clear()
        try:
            return await found
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._answered.set()

    def look_ahead(self, ahead: Ahead) -> None:
        """Derive these too, each on the way to the next, soon and while nobody waits; the last wish counts."""
        if not ahead.times or self._looked_ahead.get(ahead.wish) is not None or ahead.wish == self._wish:
            return
        self._ahead = ahead
        self._asked.set()
        if self._looking_ahead is None or self._looking_ahead.done():
            self._looking_ahead = asyncio.create_task(self._look_ahead(), name="replays ahead")
            self._replaying.add(self._looking_ahead)
            self._looking_ahead.add_done_callback(self._replaying.discard)

    async def close(self) -> None:
        """End what is going on, and the sessions."""
        for task in self._replaying:
            task.cancel()
        await asyncio.gather(*self._replaying, return_exceptions=True)
        await self._sessions.close()

    async def _replay(self, moment: Moment, found: asyncio.Future[Past | None]) -> None:
        try:
            while (other := self._under_way.get(moment)) is not None:
                await asyncio.wait([other])
            past = self.known.get(moment)
            if past is not None or found.done():
                _tell(found, past)
                return
            self._under_way[moment] = told = asyncio.get_running_loop().create_future()
            told.add_done_callback(lambda _: self._under_way.pop(moment, None))
            try:
                async with self._sessions.one() as session:
                    # Meanwhile who asked may have gone, and the moment may have been derived ahead.
                    if (past := self.known.get(moment)) is not None:
                        _tell(found, past)
                    if not found.done():
                        await self._read(session, moment, found, told)
            finally:
                _tell(told, None)
        except Exception as error:  # noqa: BLE001  (it is raised where somebody waits for it)
            if not found.done():
                found.set_exception(error)

    async def _read(
        self,
        session: Connection,
        moment: Moment,
        found: asyncio.Future[Past | None],
        told: asyncio.Future[None],
    ) -> None:
        project_id, experiment_id, position, detail, _ = moment
        pasts = read_pasts(session, project_id, experiment_id, [position], self._archive, detail)
        async with contextlib.aclosing(pasts):
            async for read in pasts:
                _tell(found, self._keep(moment, read))
                _tell(told, None)

    async def _look_ahead(self) -> None:
        while True:
            await self._answered.wait()
            if (ahead := self._ahead) is None:
                return
            self._ahead, self._wish = None, ahead.wish
            await self._rest(AHEAD_AFTER_SECONDS)
            if self._is_asked():
                self._ahead, self._wish = self._ahead or ahead, None
                continue
            try:
                async with self._sessions.one() as session:
                    if await self._derive_ahead(session, ahead):
                        # One that was replaced is looked for again by the next page.
                        self._looked_ahead.put(ahead.wish, ahead)
                    else:
                        self._ahead = self._ahead or ahead
            except Exception as error:  # noqa: BLE001  (who asks for one of them is told)
                _log.info("past moments are not derived ahead: %s", error)
            self._wish = None

    async def _derive_ahead(self, session: Connection, ahead: Ahead) -> bool:
        """Whether all is done: somebody who waits, for these or others, comes first."""
        project_id, experiment_id, times, detail, each_bytes = ahead
        generation, _ = await live_mark(session, project_id)
        positions = await positions_at(session, project_id, times)
        every = 1 + len(positions) * each_bytes // AHEAD_BYTES_MAX
        moments = [
            Moment(project_id, experiment_id, position, detail, generation)
            for position in positions[::every]
            if position > positions[-1] - AHEAD_EVENTS_MAX
        ]
        missing = [moment for moment in moments if self.known.get(moment) is None]
        pasts = read_pasts(
            session, project_id, experiment_id, [each.position for each in missing], self._archive, detail
        )
        clock = asyncio.get_running_loop().time
        began = clock()
        async with contextlib.aclosing(pasts):
            for moment in missing:
                self._keep(moment, await anext(pasts))
                # No more than half of a core, whatever the log.
                await self._rest(clock() - began)
                if self._is_asked():
                    return False
                began = clock()
            await anext(pasts, None)  # ends its transaction
        return True

    async def _rest(self, seconds: float) -> None:
        """Wait for so long, or until somebody asks for something."""
        self._asked.clear()
        if not self._is_asked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._asked.wait()

    def _is_asked(self) -> bool:
        return self._waiting > 0 or self._ahead is not None

    def _keep(self, moment: Moment, read: CountedAt) -> Past | None:
        counted = read.counted.get(moment.experiment_id)
        if counted is None:
            return None
        past = Past(counted, read.received_at)
        self.known.put(moment, past)
        return past


def _tell(found: asyncio.Future[_Told], told: _Told) -> None:
    if not found.done():
        found.set_result(told)
