"""The log writer: many requests share one commit, and each hears of its events only after it.

One transaction is in flight at a time and the next one starts as soon as it has committed, so
batches grow with the load by themselves. The queue is bounded; what does not fit is refused.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from projections.event_log import (
    AlreadyKnownError,
    Appended,
    IdempotencyKey,
    NewEvent,
    append,
    commit_new,
    make_room,
)
from projections.partitions import ForgottenError, lacks_partition

QUEUED_EVENTS_MAX = 20_000
QUEUED_BYTES_MAX = 32 * 1024 * 1024
# To decode a batch costs about as much as to write it: better not to begin with what will not fit.
NEARLY_FULL = 0.9
BATCH_EVENTS_MAX = 5_000
# Where so many requests share a commit, the next one first waits this long: those just answered ask again
# at once, and would else miss it. So commits are larger and fewer.
GATHER_SECONDS = 0.001
SHARED_BY_MIN = 8
BATCH_BYTES_MAX = 4 * 1024 * 1024
RECONNECT_SECONDS_MAX = 2.0
GIVE_UP_SECONDS = 30.0
# The month may change, and other processes add and drop partitions, while one that is missing is made.
ROOM_TRIES_MAX = 5

# What says that one row cannot be stored, rather than that PostgreSQL cannot be reached.
_POISON = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
# What says that another transaction was in the way: nothing was written, and it may be gone the next time.
_IN_THE_WAY = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
# What says that this session, or the database it leads to, takes no writes; another session may.
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)

_log = logging.getLogger("prooflog.log_writer")


class Overloaded(Exception):  # noqa: N818  (a refusal, not a defect)
    """The server takes in as much as it can; try again in a second."""


class Unavailable(Exception):  # noqa: N818
    """The database cannot be reached; nothing was acknowledged, try again."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one event: its id in the log, whether it was there before, why it was refused."""

    event_id: bytes
    duplicate: bool = False
    conflict: bool = False
    refused: str | None = None


class _Submission(NamedTuple):
    project_id: UUID
    events: list[NewEvent]
    size_bytes: int
    done: "asyncio.Future[list[Outcome]]"


class LogWriter:
    """Takes events from requests and appends them in shared commits."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]],
        *,
        on_commit: Callable[[set[UUID]], None] = lambda _projects: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`connect` opens a connection of our own; `on_commit` hears which projects grew."""
        self._connect = connect
        self._on_commit = on_commit
        self._now = now
        self._queue: deque[_Submission] = deque()
        self._queued_events = 0
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._connection: psycopg.AsyncConnection[Any] | None = None
        # Whether the next events are likely all new, as the last ones were.
        self._all_new = True
        self._task: asyncio.Task[None] | None = None
        self.commits = 0
        self.events_written = 0

    @property
    def queued_events(self) -> int:
        """How many events wait for their commit."""
        return self._queued_events

    @property
    def is_nearly_full(self) -> bool:
        """Whether a request that is not decoded yet would likely not fit."""
        return (
            self._queued_events > QUEUED_EVENTS_MAX * NEARLY_FULL
            or self._queued_bytes > QUEUED_BYTES_MAX * NEARLY_FULL
        )

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="log writer")

    async def stop(self) -> None:
        """Write what is queued, then end."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        if self._connection is not None:
            await self._connection.close()

    async def write(self, project_id: UUID, events: list[NewEvent]) -> list[Outcome]:
        """Append events; the outcomes, in the same order, once they are durable.

        Raises Overloaded when the queue is full and Unavailable when the database stays away.
        """
        size = sum([len(event.row) for event in events])
        full = (
            self._queued_events + len(events) > QUEUED_EVENTS_MAX or self._queued_bytes + size > QUEUED_BYTES_MAX
        )
        if self._closing or full:
            raise Overloaded
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Submission(project_id, events, size, done))
        self._queued_events += len(events)
        self._queued_bytes += size
        self._arrived.set()
        return await done

    async def _run(self) -> None:
        is_busy = False
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if is_busy:
                await asyncio.sleep(GATHER_SECONDS)
            group = self._take()
            is_busy = len(group) >= SHARED_BY_MIN
            try:
                await self._write_group(group)
            except Exception as error:  # noqa: BLE001  (a defect fails its group, never the writer)
                _log.exception("a group of %d requests could not be written", len(group))
                _fail(group, error)

    def _take(self) -> list[_Submission]:
        group: list[_Submission] = []
        events = size = 0
        while self._queue:
            head = self._queue[0]
            fits = events + len(head.events) <= BATCH_EVENTS_MAX and size + head.size_bytes <= BATCH_BYTES_MAX
            if group and not fits:
                break
            group.append(self._queue.popleft())
            events += len(head.events)
            size += head.size_bytes
        self._queued_events -= events
        self._queued_bytes -= size
        return group

    async def _write_group(self, group: list[_Submission]) -> None:
        """Append a group in one commit; split it when the database refuses its data."""
        try:
            outcomes = await self._commit(group)
        except ForgottenError as error:
            await self._write_remembered(group, error)
            return
        except _POISON as error:
            if len(group) > 1:
                half = len(group) // 2
                await self._write_group(group[:half])
                await self._write_group(group[half:])
            else:
                await self._write_alone(group[0], error)
            return
        for submission, outcome in zip(group, outcomes, strict=True):
            _resolve(submission, outcome)

    async def _write_remembered(self, group: list[_Submission], error: ForgottenError) -> None:
        """Refuse all events of a time whose ids are forgotten, and write the others in one commit."""

        def is_refused(event: NewEvent) -> bool:
            return event.idempotency is None and error.covers(event.event_id)

        loop = asyncio.get_running_loop()
        others = [
            submission._replace(
                events=[event for event in submission.events if not is_refused(event)], done=loop.create_future()
            )
            for submission in group
        ]
        if left := [each for each in others if each.events]:
            await self._write_group(left)
        for submission, other in zip(group, others, strict=True):
            written = iter(await other.done if other.events else [])
            _resolve(
                submission,
                [
                    Outcome(event.event_id, refused=_refusal(error)) if is_refused(event) else next(written)
                    for event in submission.events
                ],
            )

    async def _write_alone(self, submission: _Submission, error: Exception) -> None:
        """Bisect one request's events until only the bad one is refused."""
        events = submission.events
        if len(events) == 1:
            _resolve(submission, [Outcome(events[0].event_id, refused=_refusal(error))])
            return
        half = len(events) // 2
        loop = asyncio.get_running_loop()
        parts = [
            submission._replace(events=part, done=loop.create_future()) for part in (events[:half], events[half:])
        ]
        for part in parts:
            await self._write_group([part])
        _resolve(submission, [outcome for part in parts for outcome in await part.done])

    async def _commit(self, group: list[_Submission]) -> list[list[Outcome]]:
        """Try until the transaction is known to have committed; the ledgers make a retry harmless."""
        batches, firsts = _without_repeats(group)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + GIVE_UP_SECONDS
        pause = 0.05
        uncertain = False
        while True:
            try:
                appended = await self._append(batches, all_new=self._all_new and not uncertain)
                break
            except AlreadyKnownError:
                self._all_new = False
                continue
            except _POISON:
                raise
            except _IN_THE_WAY as error:
                if loop.time() + pause > give_up_at:
                    raise Unavailable from error
                what = error.diag.message_primary or error
                _log.warning("another transaction was in the way (%s); trying again", what)
                # By chance, so that two that were in each other's way do not meet again.
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                pause = min(pause * 2, RECONNECT_SECONDS_MAX)
            except _AWAY as error:
                # The commit may or may not have happened: ask again, the ledgers know.
                uncertain = True
                await self._drop_connection()
                if loop.time() + pause > give_up_at or self._closing:
                    raise Unavailable from error
                _log.warning("the database did not answer (%s); trying again", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, RECONNECT_SECONDS_MAX)
        self._all_new = len(appended.fresh) == sum(map(len, batches.values()))
        self.commits += 1
        self.events_written += len(appended.fresh)
        if appended.last_positions:
            self._on_commit(set(appended.last_positions))
        return _outcomes(group, firsts, appended, uncertain=uncertain)

    async def _append(self, batches: dict[UUID, list[NewEvent]], *, all_new: bool) -> Appended:
        """One transaction; done again where it finds no partition, which is no event's fault."""
        connection = await self._open()
        for _ in range(ROOM_TRIES_MAX):
            try:
                if all_new:
                    return await commit_new(connection, batches, self._now)
                async with connection.transaction():
                    return await append(connection, batches, self._now)
            except psycopg.errors.CheckViolation as error:
                if not lacks_partition(error):
                    raise
            await make_room(connection, batches, self._now())
        raise RuntimeError("partitions go away as fast as they are made")

    async def _open(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        return self._connection

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()


def _without_repeats(
    group: list[_Submission],
) -> tuple[dict[UUID, list[NewEvent]], dict[UUID, dict[bytes, NewEvent]]]:
    """The group's events by project, each id and each key once; `firsts` says who came first."""
    firsts: dict[UUID, dict[bytes, NewEvent]] = {}
    for submission in group:
        remember = firsts.setdefault(submission.project_id, {}).setdefault
        for event in submission.events:
            remember(event.idempotency.key_hash if event.idempotency else event.event_id, event)
    return {project_id: list(events.values()) for project_id, events in firsts.items()}, firsts


def _outcomes(
    group: list[_Submission],
    firsts: dict[UUID, dict[bytes, NewEvent]],
    appended: Appended,
    *,
    uncertain: bool,
) -> list[list[Outcome]]:
    def outcome(project_id: UUID, event: NewEvent) -> Outcome:
        if event.idempotency is not None:
            return keyed(project_id, event, event.idempotency)
        first = firsts[project_id][event.event_id]
        return Outcome(event.event_id, duplicate=first is not event or event.event_id not in appended.fresh)

    def keyed(project_id: UUID, event: NewEvent, key: IdempotencyKey) -> Outcome:
        first = firsts[project_id][key.key_hash]
        known = appended.known.get((project_id, key.key_hash))
        if known is not None and first.event_id not in appended.fresh:
            # After a lost connection our own first try may be what is remembered.
            ours = uncertain and known.event_id == event.event_id
            return Outcome(known.event_id, duplicate=not ours, conflict=known.body_hash != key.body_hash)
        same_body = first.idempotency is not None and first.idempotency.body_hash == key.body_hash
        return Outcome(first.event_id, duplicate=first is not event, conflict=not same_body)

    if len(appended.fresh) == sum(len(submission.events) for submission in group):  # the ordinary case
        return [[Outcome(event.event_id) for event in submission.events] for submission in group]
    return [[outcome(submission.project_id, event) for event in submission.events] for submission in group]


def _refusal(error: Exception) -> str:
    if isinstance(error, ForgottenError):
        return "timestamp is older than what is remembered, so that it cannot be told whether the event is known"
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else error
    _log.warning("an event was refused by the database: %s", primary)
    return "the database cannot store this event"


def _resolve(submission: _Submission, outcomes: list[Outcome]) -> None:
    if not submission.done.done():
        submission.done.set_result(outcomes)


def _fail(group: list[_Submission], error: Exception) -> None:
    for submission in group:
        if not submission.done.done():
            submission.done.set_exception(error)
