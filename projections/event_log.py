"""The event log: appends with exact dedupe, dense positions and a hash chain; reads in order.

One append is one transaction: ledgers say what is new, the batch table's key fences the next
positions, COPY writes the rows. Nothing is acknowledged before its commit.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncClientCursor, AsyncConnection, Error
from psycopg.adapt import Dumper
from psycopg.errors import CheckViolation, InternalError_, UniqueViolation
from psycopg.pq import Format, TransactionStatus
from psycopg.pq.abc import PGresult

from domain.events import Fact, encode_fact, fact_type
from projections import partitions
from projections.event_ids import new_event_id
from projections.exchange import exchange
from projections.queries import queries

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_COPY_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_SIXTEEN = struct.pack(">i", 16)
_ROW_FIELDS = 18
_PIECE_ROWS = 5_000
# All but project, position and time, which the digest takes in by themselves.
ROW_FIELDS_HASHED = _ROW_FIELDS - 3
_UUID_OID = 2950
_UUID_ARRAY_OID = 2951
_SETTLE_MS_MAX = 10_000


class AlreadyKnownError(Exception):
    """Some event of an append that was thought all new is in the log."""


class IdempotencyKey(NamedTuple):
    """A caller's key and what it stood for, both as 16-byte hashes."""

    key_hash: bytes
    body_hash: bytes


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event ready to append: its id, its row in binary COPY form, and its key if it has one."""

    event_id: bytes
    row: bytes
    idempotency: IdempotencyKey | None = None


class Head(NamedTuple):
    """Where a project's log ends: the position to write next, the newest time, the chain so far."""

    next_position: int
    received_at: datetime
    digest: bytes


_EMPTY_HEAD = Head(1, datetime(1970, 1, 1, tzinfo=UTC), bytes(32))


class Known(NamedTuple):
    """What an idempotency key stood for when it was first used."""

    event_id: bytes
    body_hash: bytes


class Appended(NamedTuple):
    """What one transaction wrote: ids of new events, earlier uses of idempotency keys, where logs end now."""

    fresh: set[bytes]
    known: dict[tuple[UUID, bytes], Known]
    last_positions: dict[UUID, int]


async def append(
    connection: AsyncConnection[Any],
    batches: Mapping[UUID, Sequence[NewEvent]],
    clock: Callable[[], datetime],
) -> Appended:
    """Write the events that are new, in order, inside the caller's transaction.

    No event id and no idempotency key may stand twice in `batches`.
    """
    ordered = _in_order(batches)
    fresh, known = await _remember(connection, ordered)
    new = {
        project_id: rows
        for project_id, events in ordered.items()
        if (rows := [event.row for event in events if event.event_id in fresh])
    }
    return Appended(fresh, known, await _write(connection, new, clock) if new else {})


async def commit_new(
    connection: AsyncConnection[Any],
    batches: Mapping[UUID, Sequence[NewEvent]],
    clock: Callable[[], datetime],
) -> Appended:
    """Write events that are thought all new, in order, and commit; AlreadyKnownError and nothing where one is not.

    In one exchange, where `append` takes six. No event id and no idempotency key may stand twice in `batches`.
    """
    ordered = _in_order(batches)
    new = {project_id: [event.row for event in events] for project_id, events in ordered.items()}
    begin = [queries("event_log")["begin"], *_remembering(connection, ordered)]
    try:
        last = await _write(connection, new, clock, begin, ["commit"])
    except Error as error:
        if connection.info.transaction_status == TransactionStatus.INERROR:
            await connection.rollback()
        # Citus passes a shard's violation on as an internal error.
        if isinstance(error, UniqueViolation | InternalError_):
            raise AlreadyKnownError from error
        raise
    except BaseException:  # cancelled: nobody knows how far it came
        await connection.close()
        raise
    return Appended({event.event_id for events in batches.values() for event in events}, {}, last)


def binary_rows(project_id: UUID, first_position: int, received: datetime, rows: Sequence[bytes]) -> bytes:
    """A whole binary COPY of rows at consecutive positions."""
    return b"".join((_COPY_HEADER, *_rows(project_id, first_position, postgres_us(received), rows), _COPY_TRAILER))


def copy_pieces(project_id: UUID, rows: Iterable[tuple[int, int, bytes]]) -> Iterator[bytes]:
    """A binary COPY of rows, each with its position and when it was received, as by `postgres_us`."""
    project, pack, rest = project_id.bytes, _ROW_START.pack, iter(rows)
    yield _COPY_HEADER
    while some := list(islice(rest, _PIECE_ROWS)):
        yield b"".join(
            [pack(_ROW_FIELDS, 16, project, 8, position, 8, time) + row for position, time, row in some]
        )
    yield _COPY_TRAILER


async def append_facts(
    connection: AsyncConnection[Any], project_id: UUID, facts: Sequence[Fact], now: datetime
) -> int:
    """Append management facts inside the caller's transaction; the position of the last one."""
    batches = {project_id: [_fact_event(fact, now) for fact in facts]}

    def clock() -> datetime:
        return max(now, datetime.now(UTC))

    try:
        async with connection.transaction():  # a savepoint, should a partition be missing
            appended = await append(connection, batches, clock)
    except CheckViolation as error:
        if not partitions.lacks_partition(error):
            raise
        await make_room(connection, batches, clock())
        appended = await append(connection, batches, clock)
    return appended.last_positions[project_id]


async def make_room(
    connection: AsyncConnection[Any], batches: Mapping[UUID, Sequence[NewEvent]], now: datetime
) -> None:
    """Make the partitions that an append of these found missing; partitions.ForgottenError says why not."""
    ids = [event.event_id for events in batches.values() for event in events if event.idempotency is None]
    # The time of a project never runs backwards, so that a batch may be received in the month of its head.
    times = [max(now, (await read_head(connection, project_id)).received_at) for project_id in batches]
    await partitions.make_room(connection, ids, times)


def _fact_event(fact: Fact, now: datetime) -> NewEvent:
    event_id = new_event_id(now)
    row = encode_row(
        occurred_us=postgres_us(fact.at),
        event_id=event_id,
        source="management",
        event_type=fact_type(fact),
        experiment_id=getattr(fact, "experiment_id", None),
        event_data=encode_fact(fact),
    )
    return NewEvent(event_id, row)


def encode_row(
    *,
    occurred_us: int,
    event_id: bytes,
    source: Literal["browser", "server", "management"],
    event_type: str,
    event_name: str | None = None,
    experiment_id: UUID | None = None,
    variant_id: UUID | None = None,
    visitor_id: str | None = None,
    session_id: str | None = None,
    pathname: str | None = None,
    full_url: str | None = None,
    referrer: str | None = None,
    utm: bytes | None = None,
    event_data: bytes | None = None,
    context: bytes | None = None,
) -> bytes:
    """An event's fields after received_at, in binary COPY form; JSON fields come as checked text.

    `occurred_us` is as `postgres_us` gives it.
    """
    # One text whose characters stand for bytes (Latin-1), made and encoded in one go: a call or a
    # concatenation for each field is what this function would cost.
    texts = f"{event_type}{event_name}{visitor_id}{session_id}{pathname}{full_url}{referrer}"
    if not texts.isascii():
        event_type = event_type.encode().decode("latin-1")
        event_name, visitor_id, session_id, pathname, full_url, referrer = (
            None if text is None else text.encode().decode("latin-1")
            for text in (event_name, visitor_id, session_id, pathname, full_url, referrer)
        )
    size = _SIZES
    named = (
        _TWO_NULLS
        if experiment_id is None and variant_id is None
        else (_uuid(experiment_id) + _uuid(variant_id)).decode("latin-1")
    )
    return _ROW_MIDDLE.pack(8, occurred_us, 16, event_id) + (
        f"{_SOURCES[source]}{named}{size[len(event_type)]}{event_type}"
        f"{_NULL_TEXT if event_name is None else size[len(event_name)] + event_name}"
        f"{_NULL_TEXT if visitor_id is None else size[len(visitor_id)] + visitor_id}"
        f"{_NULL_TEXT if session_id is None else size[len(session_id)] + session_id}"
        f"{_NULL_TEXT if pathname is None else size[len(pathname)] + pathname}"
        f"{_NULL_TEXT if full_url is None else size[len(full_url)] + full_url}"
        f"{_NULL_TEXT if referrer is None else size[len(referrer)] + referrer}"
        f"{_NULL_TEXT if utm is None else _json(utm)}"
        f"{_NULL_TEXT if event_data is None else _json(event_data)}"
        f"{_NULL_TEXT if context is None else _json(context)}"
    ).encode("latin-1")


def postgres_us(time: datetime) -> int:
    """A time as PostgreSQL stores it: microseconds since 2000."""
    return (time - _POSTGRES_EPOCH) // _MICROSECOND


async def read_head(connection: AsyncConnection[Any], project_id: UUID) -> Head:
    """Where the project's log ends now."""
    cursor = await connection.execute(queries("event_log")["head"], {"project_id": project_id})
    row = await cursor.fetchone()
    return Head(row[0], row[1], bytes(row[2])) if row else _EMPTY_HEAD


async def end_stalled(connection: AsyncConnection[Any], seconds: float) -> int:
    """End sessions that hold positions or ids and have waited so long for their process; how many there were.

    PostgreSQL has no limit for a COPY whose rows do not come, and all that is written would wait for it. One that
    got its turn only now, after so long, may be among them: it has committed nothing, and tries again.
    """
    row = await (await connection.execute(queries("event_log")["end_stalled"], (seconds,))).fetchone()
    return int(row[0]) if row else 0


async def settle(connection: AsyncConnection[Any], project_id: UUID, time: datetime) -> None:
    """Wait until no commit that is under way can carry a past time, or one before it.

    Claims the next positions as a writer does, and gives them back: whoever has claimed them comes first.
    Raises psycopg.errors.LockNotAvailable when that takes too long.
    """
    while (head := await read_head(connection, project_id)).received_at <= time:
        async with connection.transaction(force_rollback=True):
            await connection.execute(f"set local lock_timeout = {_SETTLE_MS_MAX}")
            claim = (project_id, head.next_position, 1, head.received_at, b"")
            cursor = await connection.execute(queries("event_log")["insert_batch"], claim)
            if cursor.rowcount == 1:
                return


async def position_at(connection: AsyncConnection[Any], project_id: UUID, time: datetime) -> int:
    """The last position received at or before a time; 0 when the log began later."""
    parameters = {"project_id": project_id, "time": time}
    row = await (await connection.execute(queries("event_log")["position_at"], parameters)).fetchone()
    return int(row[0]) if row else 0


async def positions_at(connection: AsyncConnection[Any], project_id: UUID, times: Sequence[datetime]) -> list[int]:
    """What `position_at` gives for some times, each once, in order; nothing archived, nothing not settled yet."""
    parameters = {"project_id": project_id, "times": list(times)}
    cursor = await connection.execute(queries("event_log")["positions_at"], parameters)
    return [position for (position,) in await cursor.fetchall()]


async def received_at(connection: AsyncConnection[Any], project_id: UUID, position: int) -> datetime | None:
    """When the event at a position was received; None before the first."""
    parameters = {"project_id": project_id, "position": position}
    row = await (await connection.execute(queries("event_log")["received_at"], parameters)).fetchone()
    return row[0] if row else None


class _UuidArray:
    """Sixteen-byte values sent as uuid[] without a Python object for each."""

    __slots__ = ("data",)

    def __init__(self, values: Sequence[bytes]) -> None:
        head = struct.pack(">iiiiii", 1, 0, _UUID_OID, len(values), 1, 16)
        self.data = head + _SIXTEEN.join(values)


class _UuidArrayDumper(Dumper):
    format = Format.BINARY
    oid = _UUID_ARRAY_OID

    def dump(self, obj: _UuidArray) -> bytes:
        return obj.data


def _in_order(batches: Mapping[UUID, Sequence[NewEvent]]) -> dict[UUID, Sequence[NewEvent]]:
    """Projects with events in one order everywhere, as are ledgers, keys and the ids in them: no deadlocks."""
    return {each: batches[each] for each in sorted(batches, key=lambda each: each.bytes) if batches[each]}


async def _write(
    connection: AsyncConnection[Any],
    new: Mapping[UUID, Sequence[bytes]],
    clock: Callable[[], datetime],
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> dict[UUID, int]:
    """Claim the next positions of each project and copy its rows there, between other statements; the last ones.

    All is sent at once, as whoever has claimed positions keeps others waiting until it has committed.
    """
    cursor = AsyncClientCursor(connection)
    claims = [
        cursor.mogrify(
            queries("event_log")["claim"],
            (project_id, len(rows), hashlib.sha256(b"".join(rows)).digest(), clock()),
        )
        for project_id, rows in new.items()
    ]
    last_positions: dict[UUID, int] = {}

    def copied(results: list[PGresult]) -> bytes:
        data = [_COPY_HEADER]
        for (project_id, rows), claim in zip(new.items(), results[len(before) :], strict=True):
            first_position, received_us = (int(claim.get_value(0, column) or b"") for column in range(2))
            last_positions[project_id] = first_position + len(rows) - 1
            data += _rows(project_id, first_position, received_us, rows)
        return b"".join((*data, _COPY_TRAILER))

    await exchange(connection, [*before, *claims, queries("event_log")["copy_events"], *after], copied)
    return last_positions


def _remembering(connection: AsyncConnection[Any], batches: Mapping[UUID, Sequence[NewEvent]]) -> list[str]:
    """The statements that remember events which are thought new."""
    merge = AsyncClientCursor(connection).mogrify
    sql = queries("event_log")
    ledgers: list[str] = []
    keys: list[str] = []
    for project_id, events in batches.items():
        plain = sorted([event.event_id for event in events if event.idempotency is None])
        keyed = sorted(
            (event.idempotency.key_hash, event.event_id, event.idempotency.body_hash)
            for event in events
            if event.idempotency is not None
        )
        if plain:
            ledgers.append(merge(sql["insert_new_ledger"], (project_id, _uuids_text(plain))))
        if keyed:
            columns = map(_uuids_text, zip(*keyed, strict=True))
            keys.append(merge(sql["insert_new_idempotency_keys"], (project_id, *columns)))
    return [*ledgers, *keys]


def _uuids_text(values: Sequence[bytes]) -> str:
    return f"{{{b''.join(values).hex(',', 16)}}}"


async def _remember(
    connection: AsyncConnection[Any], batches: Mapping[UUID, Sequence[NewEvent]]
) -> tuple[set[bytes], dict[tuple[UUID, bytes], Known]]:
    connection.adapters.register_dumper(_UuidArray, _UuidArrayDumper)
    owners: list[bytes] = []
    plain: list[bytes] = []
    for project, events in batches.items():
        ids = sorted([event.event_id for event in events if event.idempotency is None])
        owners += [project.bytes] * len(ids)
        plain += ids
    keyed = sorted(
        (project.bytes, event.idempotency.key_hash, event.event_id, event.idempotency.body_hash)
        for project, events in batches.items()
        for event in events
        if event.idempotency is not None
    )
    fresh: set[bytes] = set()
    if plain:
        fresh |= await _returned_ids(connection, "insert_ledger", [_UuidArray(owners), _UuidArray(plain)], plain)
    known: dict[tuple[UUID, bytes], Known] = {}
    if keyed:
        columns = [_UuidArray(column) for column in zip(*keyed, strict=True)]
        ids = [row[2] for row in keyed]
        fresh_keyed = await _returned_ids(connection, "insert_idempotency_keys", columns, ids)
        fresh |= fresh_keyed
        if len(fresh_keyed) < len(keyed):
            known = await _known_keys(connection, keyed)
    return fresh, known


async def _returned_ids(
    connection: AsyncConnection[Any], query: str, columns: list[_UuidArray], ids: Sequence[bytes]
) -> set[bytes]:
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(queries("event_log")[query], columns)
        if cursor.rowcount == len(ids):  # the ordinary case: nothing to fetch
            return set(ids)
        return {row[0].bytes for row in await cursor.fetchall()}


async def _known_keys(
    connection: AsyncConnection[Any], keyed: Sequence[tuple[bytes, ...]]
) -> dict[tuple[UUID, bytes], Known]:
    """What is remembered under the keys of these rows, project by project: each key is looked up."""
    known: dict[tuple[UUID, bytes], Known] = {}
    await connection.execute(queries("event_log")["look_up"])
    async with connection.cursor(binary=True) as cursor:
        for project, rows in groupby(keyed, key=itemgetter(0)):
            project_id = UUID(bytes=project)
            asked = project_id, _UuidArray([row[1] for row in rows])
            await cursor.execute(queries("event_log")["known_idempotency_keys"], asked)
            for key_hash, event_id, body_hash in await cursor.fetchall():
                known[project_id, key_hash.bytes] = Known(event_id.bytes, body_hash.bytes)
    return known


def _rows(project_id: UUID, first_position: int, received_us: int, rows: Sequence[bytes]) -> list[bytes]:
    project, pack = project_id.bytes, _ROW_START.pack
    return [
        pack(_ROW_FIELDS, 16, project, 8, position, 8, received_us) + row
        for position, row in enumerate(rows, first_position)
    ]


# The number of fields, then project_id, position and received_at, each behind its length.
_ROW_START = struct.Struct(">hi16siqiq")
# occurred_at and event_id, each behind its length.
_ROW_MIDDLE = struct.Struct(">iqi16s")


class _Sizes(dict[int, str]):
    """The four bytes of a length as text, by length."""

    def __missing__(self, size: int) -> str:
        text = struct.pack(">i", size).decode("latin-1")
        if size < _SIZES_KEPT_MAX:
            self[size] = text
        return text


_SIZES_KEPT_MAX = 4096
_SIZES = _Sizes()


def _json(data: bytes) -> str:
    return _SIZES[len(data)] + data.decode("latin-1")


def _uuid(value: UUID | None) -> bytes:
    return _NULL if value is None else _SIXTEEN + value.bytes


_NULL_TEXT = _NULL.decode("latin-1")
_TWO_NULLS = _NULL_TEXT * 2
_SOURCES = {source: _json(source.encode()) for source in ("browser", "server", "management")}
