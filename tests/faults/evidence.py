"""What the log and the tallies hold, against what clients were told: the promises, checked one by one."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from app.database import connect
from domain.events import Fact, decode_fact
from projections.chain import verify_chain
from projections.generations import status
from projections.results import read_live
from tests.faults.traffic import Memory, Project
from tests.projections.compare import assert_expected
from tests.projections.log_of_events import START, Seen
from tests.projections.oracle import Expected

CATCH_UP_SECONDS_MAX = 120.0

_EVENTS = """
select position, received_at, occurred_at, event_id::text, source, experiment_id, variant_id, event_type,
       event_name, visitor_id, event_data::text, coalesce(session_id, event_data ->> 'mark')
from event_log
where project_id = %s and position > %s
order by position
"""


class Figures(NamedTuple):
    """How much was checked."""

    acknowledged: int
    unknown: int
    logged: int


class Evidence:
    """The logs of the projects under load, read once and then as they grow."""

    def __init__(self, url: str, projects: Sequence[Project], memory: Memory) -> None:
        self._url = url
        self._logs = {UUID(project.project_id): _Log() for project in projects}
        self._experiments = {
            UUID(project.project_id): [UUID(experiment["id"]) for experiment in project.experiments]
            for project in projects
        }
        self._memory = memory

    async def check(self) -> Figures:
        """Fail where a promise is broken; the figures otherwise."""
        async with await connect(self._url) as connection:
            for project_id, log in self._logs.items():
                await self._check_log(connection, project_id, log)
            marks = Counter[str]()
            ids: dict[str, str] = {}
            for log in self._logs.values():
                marks.update(log.marks)
                ids |= log.event_ids
            self._check_marks(marks, ids)
            await self._check_tallies(connection)
        acknowledged = len(self._memory.acknowledged)
        return Figures(acknowledged, len(self._memory.sent) - acknowledged, marks.total())

    async def _check_log(self, connection: psycopg.AsyncConnection[Any], project_id: UUID, log: "_Log") -> None:
        # One snapshot: what a client gave up on may be written at this moment.
        async with connection.transaction():
            await connection.execute("set transaction isolation level repeatable read")
            await log.read_on(connection, project_id)
            report = await verify_chain(connection, project_id)
        assert report.fault is None, f"the chain is broken: {report.fault}"
        assert report.events == len(log.entries), f"the chain ends at {report.events} of {len(log.entries)}"

    def _check_marks(self, marks: Counter[str], ids: dict[str, str]) -> None:
        lost = self._memory.acknowledged - marks.keys()
        assert not lost, f"acknowledged, but not in the log: {len(lost)} events, as {sorted(lost)[:3]}"
        twice = [mark for mark, times in marks.items() if times > 1]
        assert not twice, f"in the log more than once: {len(twice)} events, as {twice[:3]}"
        invented = marks.keys() - self._memory.sent
        assert not invented, f"in the log, but never sent: {len(invented)} events"
        for mark, told in self._memory.event_ids.items():
            assert told == {ids[mark]}, f"{mark} stands in the log as {ids[mark]}, but {told} were answered"

    async def _check_tallies(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await self._caught_up(connection)
        for project_id, log in self._logs.items():
            for experiment_id in self._experiments[project_id]:
                found = await read_live(connection, project_id, experiment_id)
                assert found is not None, "projections do not know the experiment"
                if found.position > len(log.entries):
                    await log.read_on(connection, project_id)
                expected = Expected(log.entries[: found.position], experiment_id)
                try:
                    assert_expected(found, expected, expected.plan.goals, expected.variants)
                except AssertionError as error:
                    raise AssertionError(f"tallies are not what the log implies: {error}") from None

    async def _caught_up(self, connection: psycopg.AsyncConnection[Any]) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
        while any(known.position < known.head for known in await status(connection)):
            assert time.monotonic() < deadline, "projections stand still"
            await asyncio.sleep(0.05)


class _Logged(Seen):
    """An event as it stands in the log."""

    __slots__ = ()

    @property
    def occurred_at(self) -> datetime:
        # Minutes as a float tell microseconds apart for some centuries.
        return START + timedelta(minutes=self.minute)


class _Log:
    def __init__(self) -> None:
        self.entries: list[Seen | Fact] = []
        self.marks: Counter[str] = Counter()
        self.event_ids: dict[str, str] = {}
        self._received_at: datetime | None = None

    async def read_on(self, connection: psycopg.AsyncConnection[Any], project_id: UUID) -> None:
        cursor = await connection.execute(_EVENTS, (project_id, len(self.entries)))
        for row in await cursor.fetchall():
            self._take(*row)

    def _take(
        self,
        position: int,
        received_at: datetime,
        occurred_at: datetime,
        event_id: str,
        source: str,
        experiment_id: UUID | None,
        variant_id: UUID | None,
        event_type: str,
        event_name: str | None,
        visitor_id: str | None,
        data: str | None,
        mark: str | None,
    ) -> None:
        assert position == len(self.entries) + 1, f"position {len(self.entries) + 1} is missing before {position}"
        assert self._received_at is None or received_at >= self._received_at, (
            f"time runs backwards at position {position}: {received_at} after {self._received_at}"
        )
        self._received_at = received_at
        if source == "management":
            self.entries.append(decode_fact(data or ""))
            return
        minute = (occurred_at - START) / timedelta(minutes=1)
        self.entries.append(
            _Logged(visitor_id, minute, event_type, event_name, experiment_id, variant_id, data)  # type: ignore[arg-type]
        )
        assert mark is not None
        self.marks[mark] += 1
        self.event_ids[mark] = event_id
