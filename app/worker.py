"""The projection worker: keeps the tallies close behind the log."""

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from app.database import connect
from projections.archived_log import ArchiveError
from projections.catch_up import LogGapError, catch_up, create_staging
from projections.generations import OtherLayoutError, lagging, own_schema

# A sweep finds every project that lags, whoever wrote to it; a hint from this process is faster.
SWEEP_SECONDS = 0.1
# Events that arrive within this time share a step. The longer a sweep took, the longer it waits for more of
# them, so that what each step costs by itself is shared by many events when there are many.
GATHER_SECONDS = 0.02
GATHER_SECONDS_MAX = 0.2
GATHER_SHARE = 2.0
RECONNECT_SECONDS_MAX = 5.0
# After so long it is looked whether the live tables are ours again.
OTHER_LAYOUT_SECONDS = 1.0

_log = logging.getLogger("prooflog.worker")


class ProjectionWorker:
    """Catches up all projects, again and again, until it is stopped."""

    def __init__(
        self, database_url: str, *, sweep_seconds: float = SWEEP_SECONDS, archive: Path | None = None
    ) -> None:
        """`archive` is the directory of what was archived, should projections be that far behind."""
        self._url = database_url
        self._archive = archive
        self._sweep_seconds = sweep_seconds
        self._hinted = asyncio.Event()
        self._stopping = self._behind = self._stands_still = False
        self._broken: set[UUID] = set()

    def hint(self, _projects: set[UUID]) -> None:
        """Say that logs have grown; only a shortcut, the sweep would find them."""
        self._hinted.set()

    def stop(self) -> None:
        """Ask the worker to end after the step at hand."""
        self._stopping = True
        self._hinted.set()

    async def run(self) -> None:
        """Work until stopped; a lost connection is opened again."""
        pause = self._sweep_seconds
        while not self._stopping:
            try:
                async with await connect(self._url) as connection:
                    await create_staging(connection)
                    pause = self._sweep_seconds
                    await self._serve(connection)
            except (psycopg.Error, OSError) as error:
                if self._stopping:
                    return
                _log.warning("the worker lost its database (%s); trying again", error)
            except OtherLayoutError as error:
                if not self._stands_still:
                    _log.critical("projections stand still: %s", error)
                self._stands_still, pause = True, max(pause, OTHER_LAYOUT_SECONDS)
            except Exception:  # noqa: BLE001  (a defect must not end projections without a word)
                _log.exception("the worker failed; trying again")
            if not self._stopping:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RECONNECT_SECONDS_MAX)

    async def _serve(self, connection: AsyncConnection[Any]) -> None:
        while not self._stopping:
            began = time.monotonic()
            worked = await self.sweep(connection)
            if self._behind:
                continue
            if worked:
                took = time.monotonic() - began
                await asyncio.sleep(min(max(GATHER_SECONDS, took * GATHER_SHARE), GATHER_SECONDS_MAX))
                continue
            self._hinted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hinted.wait(), self._sweep_seconds)

    async def sweep(self, connection: AsyncConnection[Any]) -> bool:
        """Take one step in each project that lags; whether there was any."""
        worked = self._behind = False
        schema = await own_schema(connection)
        self._stands_still = False
        for project_id in await lagging(connection):
            if self._stopping:
                break
            try:
                progress = await catch_up(connection, project_id, schema, archive=self._archive)
                worked = True
                # Steps end at certain positions: the events for the next one are there already.
                self._behind |= progress.position < progress.head
                self._broken.discard(project_id)
            except (psycopg.errors.UndefinedTable, psycopg.errors.DeadlockDetected):
                return True  # a rebuild has flipped: begin again with its tables
            except (LogGapError, ArchiveError, psycopg.DataError, psycopg.IntegrityError) as error:
                # One project stands still, the others go on.
                if project_id not in self._broken:
                    _log.critical("projections of project %s stand still: %s", project_id, error)
                self._broken.add(project_id)
        return worked
