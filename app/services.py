"""Wiring: what a running server holds, opened and closed in order."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from app import templates
from app.active_experiments import ActiveExperiments
from app.attempts import Attempts
from app.database import connect, connect_to_write, open_pool
from app.event_rows import Horizon
from app.export import EventExports
from app.json_body import Inflated
from app.kept import Kept
from app.live import Live
from app.log_writer import LogWriter, Overloaded
from app.planning import KnownTraffic
from app.projects import ProjectCache
from app.recent_results import KnownResults, RecentResults
from app.replays import Replays
from app.settings import Settings
from app.templates.charts import OverTime
from app.told_counts import ToldCounts
from app.upkeep import keep_partitions, keep_writing
from app.worker import ProjectionWorker
from stats import special

OVER_TIME_BYTES_MAX = 16 * 1024 * 1024
WARM_UP_AFTER_SECONDS = 1.0
# How long what is warmed up may hold answers back each time: these ask for the interpreter ten times and more.
WARM_UP_TURN_SECONDS = 0.0005


class Services(msgspec.Struct, frozen=True):
    """What handlers use."""

    settings: Settings
    admin_token: str
    horizon: Horizon
    database_url: str
    pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]]
    writer: LogWriter
    worker: ProjectionWorker
    projects: ProjectCache
    active: ActiveExperiments
    replays: Replays
    event_exports: EventExports
    results: KnownResults
    over_time: Kept[OverTime]
    recent: RecentResults
    traffic: KnownTraffic
    live: Live
    told: ToldCounts
    country_header: bytes | None
    attempts: Attempts
    inflated: Inflated

    def shed_load(self) -> None:
        """Refuse a request before any work is put into it, while the queue is nearly full; raises Overloaded."""
        if self.writer.is_nearly_full:
            raise Overloaded

    def changed(self, project_id: UUID) -> None:
        """Say that management facts were appended: caches are stale, projections have work."""
        self.projects.forget(project_id)
        self.active.forget(project_id)
        self.worker.hint({project_id})


@asynccontextmanager
async def open_services(
    settings: Settings, database_url: str, admin_token: str, *, with_worker: bool = True
) -> AsyncIterator[Services]:
    """Open everything; on the way out write what is queued, then end the worker."""
    pool = open_pool(database_url, settings.allow_unsafe)
    await pool.open(wait=True, timeout=30)
    worker = ProjectionWorker(database_url, archive=settings.archive_dir)
    writer = LogWriter(lambda: connect_to_write(database_url, settings.allow_unsafe), on_commit=worker.hint)
    await writer.start()
    working = asyncio.create_task(worker.run(), name="projections") if with_worker else None
    upkeep = asyncio.create_task(keep_partitions(database_url, settings), name="upkeep")
    watching = asyncio.create_task(keep_writing(database_url), name="stalled writers")
    told, live = ToldCounts(), Live(pool)
    replays = Replays(lambda: connect(database_url), settings.archive_dir)
    telling = asyncio.create_task(told.keep(pool), name="told counts")
    warming = asyncio.create_task(_warm_up(), name="statistics")
    try:
        yield Services(
            settings=settings,
            admin_token=admin_token,
            horizon=Horizon(
                timedelta(days=settings.horizon_past_days), timedelta(days=settings.horizon_future_days)
            ),
            database_url=database_url,
            pool=pool,
            writer=writer,
            worker=worker,
            projects=ProjectCache(),
            active=ActiveExperiments(),
            replays=replays,
            event_exports=EventExports(),
            results=KnownResults(),
            over_time=Kept(OVER_TIME_BYTES_MAX, OverTime.size_bytes),
            recent=RecentResults(),
            traffic=KnownTraffic(),
            live=live,
            told=told,
            country_header=settings.country_header.lower().encode() if settings.country_header else None,
            attempts=Attempts(),
            inflated=Inflated(),
        )
    finally:
        upkeep.cancel()
        warming.cancel()
        await live.close()
        await replays.close()
        await writer.stop()
        watching.cancel()
        told.stop()
        worker.stop()
        if working is not None:
            await working
        await asyncio.gather(upkeep, watching, telling, warming, return_exceptions=True)
        await pool.close()


async def _warm_up() -> None:
    """Load what results and pages need before anybody asks for them, once the first answers are out."""
    await asyncio.sleep(WARM_UP_AFTER_SECONDS)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(WARM_UP_TURN_SECONDS)
    try:
        await asyncio.to_thread(special.load)
        await asyncio.to_thread(templates.load)
    finally:
        sys.setswitchinterval(usual)
