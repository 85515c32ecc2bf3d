"""Upkeep: partitions made ahead, forgotten behind the horizon, archived behind the retention; no log held up."""

import asyncio
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from random import random
from typing import Any

import psycopg
from psycopg import AsyncConnection

from app.database import connect
from app.settings import Settings
from projections.event_log import end_stalled
from projections.log_months import closed_partitions
from projections.partitions import alone, ensure_partitions, forget_old_ids

EVERY_SECONDS = 3_600
# Processes that start together do not all do it at once.
FIRST_WITHIN_SECONDS = 300

# Longer than any commit waits for its process.
STALLED_SECONDS_MAX = 10.0
LOOK_FOR_STALLED_SECONDS = 10.0

_log = logging.getLogger("prooflog.upkeep")


async def keep_partitions(database_url: str, settings: Settings) -> None:
    """Once an hour, until cancelled; what fails is tried again the next time."""
    await asyncio.sleep(FIRST_WITHIN_SECONDS * random())  # noqa: S311  (no secret)
    while True:
        try:
            async with await connect(database_url) as connection:
                await keep_once(connection, database_url, settings)
        except (psycopg.Error, OSError) as error:
            _log.warning("partitions could not be looked after (%s); trying again in an hour", error)
        except Exception:  # noqa: BLE001  (a defect must not end upkeep without a word)
            _log.exception("partitions could not be looked after; trying again in an hour")
        await asyncio.sleep(EVERY_SECONDS)


async def keep_once(connection: AsyncConnection[Any], database_url: str, settings: Settings) -> None:
    """Make months ahead, forget the oldest ids that may be, archive what is older than the retention."""
    now = await _now(connection)
    past = timedelta(days=settings.horizon_past_days)
    await ensure_partitions(connection, now, past, timedelta(days=settings.horizon_future_days))
    for table in await forget_old_ids(connection, now, past):
        _log.info("dropped %s, whose events are refused as too old", table)
    if settings.retention_days is not None:
        before = now - timedelta(days=settings.retention_days)
        async with alone(connection, "event_log") as is_alone:
            is_due = is_alone and await closed_partitions(connection, now, before)
        if is_due:  # else another process does it
            await _archive(database_url, settings, before)


async def keep_writing(database_url: str) -> None:
    """End sessions whose process stands still with positions claimed, every few seconds, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_FOR_STALLED_SECONDS)
        try:
            async with await connect(database_url) as connection:
                if ended := await end_stalled(connection, STALLED_SECONDS_MAX):
                    _log.warning("ended %d sessions that held up the log while their process stood still", ended)
        except (psycopg.Error, OSError) as error:
            _log.info("whether a process stands still could not be seen: %s", error)
        except Exception:  # noqa: BLE001  (a defect must not end the watch)
            _log.exception("whether a process stands still could not be seen")


async def _now(connection: AsyncConnection[Any]) -> datetime:
    """The earlier of two clocks: what is dropped too early, because one is ahead, does not come back."""
    row = await (await connection.execute("select now()")).fetchone()
    here = datetime.now(UTC)
    return min(here, row[0]) if row else here


async def _archive(database_url: str, settings: Settings, before: datetime) -> None:
    """In a process of its own: it takes a core for a while, and memory."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "log", "archive", "--before", f"{before:%Y-%m-%d}"),
        env={
            **os.environ,
            "PROOFLOG_DATABASE_URL": database_url,
            "PROOFLOG_ARCHIVE_DIR": str(settings.archive_dir),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, told = await child.communicate()
    except asyncio.CancelledError:
        child.terminate()
        await child.wait()
        raise
    if child.returncode:
        _log.error("the archive was not written: %s", told.decode(errors="replace").strip()[-2_000:])
