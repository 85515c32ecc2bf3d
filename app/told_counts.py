"""Counts of what clients were told: duplicates and refusals, by project, day and reason.

Such events are not in the log, so nothing about them can be derived. A server counts them in memory and adds
them to a table every few seconds and when it stops; one that is killed loses the seconds since.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import psycopg

from projections.queries import queries

EVERY_SECONDS = 5.0
# In memory, until they are added to the table. Reasons are words of our own, and there are few of them.
KINDS_MAX = 10_000
REASON_CHARACTERS_MAX = 200

_log = logging.getLogger("prooflog.told_counts")


class Told(NamedTuple):
    """How often clients of a project were told that an event is a duplicate, or rejected for a reason."""

    outcome: str
    reason: str
    events: int


class _Pool(Protocol):
    def connection(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]: ...


class ToldCounts:
    """What this process has told and not added to the table yet."""

    def __init__(self) -> None:
        self._pending: Counter[tuple[UUID, date, str, str]] = Counter()
        self._stopping = asyncio.Event()

    def add(self, project_id: UUID, duplicates: int, reasons: Iterable[str] = ()) -> None:
        """Count duplicates, and a refusal for each reason; beyond what is kept in memory, none."""
        today = datetime.now(UTC).date()
        if duplicates:
            self._count((project_id, today, "duplicate", "is in the log already"), duplicates)
        for reason in reasons:
            self._count((project_id, today, "rejected", reason[:REASON_CHARACTERS_MAX]), 1)

    async def keep(self, pool: _Pool) -> None:
        """Add to the table every few seconds, and a last time once stopped."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY_SECONDS)
            await self.flush(pool)

    def stop(self) -> None:
        """Let `keep` add what is pending and end."""
        self._stopping.set()

    async def flush(self, pool: _Pool) -> None:
        """Add what is pending to the table; what cannot be added now stays."""
        pending, self._pending = self._pending, Counter()
        if not pending:
            return
        # In one order everywhere, so that two servers never wait for each other.
        keys = sorted(pending, key=lambda key: (key[0].bytes, *key[1:]))
        projects, days, outcomes, reasons = (list(column) for column in zip(*keys, strict=True))
        parameters = {"projects": projects, "days": days, "outcomes": outcomes, "reasons": reasons}
        events = [pending[key] for key in keys]
        try:
            async with pool.connection() as connection:
                await connection.execute(queries("told")["add_counts"], {**parameters, "events": events})
        except (psycopg.Error, OSError) as error:
            _log.warning("counts of duplicates and refusals wait for the database (%s)", error)
            for key in keys:
                self._count(key, pending[key])

    def _count(self, key: tuple[UUID, date, str, str], events: int) -> None:
        if key in self._pending or len(self._pending) < KINDS_MAX:
            self._pending[key] += events


async def read_told(
    connection: psycopg.AsyncConnection[Any], project_id: UUID, first: date, last: date
) -> list[Told]:
    """What clients of a project were told from one day to another, the most frequent reasons first."""
    parameters = {"project_id": project_id, "first": first, "last": last}
    rows = await (await connection.execute(queries("told")["counts"], parameters)).fetchall()
    return [Told(*row) for row in rows]
