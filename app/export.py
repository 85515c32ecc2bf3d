"""Exports: events in the order of the log, results as rows, as CSV, NDJSON or Parquet."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from app.log_writer import Overloaded
from app.results_shape import ComparisonResult, Results
from projections.archived_log import show_log
from projections.event_log import read_head
from projections.queries import queries

Format = Literal["csv", "ndjson", "parquet"]
PAGE_ROWS = 5_000

EVENT_FIELDS = (
    "position",
    "receivedAt",
    "occurredAt",
    "eventId",
    "source",
    "experimentId",
    "variantId",
    "eventType",
    "eventName",
    "visitorId",
    "sessionId",
    "pathname",
    "fullUrl",
    "referrer",
    "utm",
    "eventData",
    "context",
)
# Limits and p-value are those of one planned look, as ever; `decided…` are those that the verdict goes by.
RESULT_FIELDS = (
    "goal",
    "role",
    "kind",
    "variantId",
    "variant",
    "visitors",
    "converters",
    "conversions",
    "rate",
    "valueSum",
    "liftEstimate",
    "liftLow",
    "liftHigh",
    "pValue",
    "alwaysValidPValue",
    "chanceToBeat",
    "verdict",
    "position",
    "digest",
    "isControl",
    "weight",
    "impressions",
    "multipleExposures",
    "method",
    "alpha",
    "decidedLiftLow",
    "decidedLiftHigh",
    "decidedPValue",
    "reason",
)
# What begins a formula (OWASP); the wide ones are signs of Chinese and Japanese spreadsheets.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_JSON_FIELDS = {"utm", "eventData", "context"}


class EventExports:
    """Lets few exports of events run at once in a process: each reads a whole log, as long as it is fetched."""

    RUNNING_MAX = 4

    def __init__(self) -> None:
        self._running = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raise Overloaded when too many run already."""
        if self._running >= self.RUNNING_MAX:
            raise Overloaded
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


async def export_events(
    connection: AsyncConnection[Any],
    project_id: UUID,
    form: Format,
    target: BinaryIO,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    archive: Path | None = None,
) -> int:
    """Write every event of a project, in order, as of now, also those in the archive; how many there were."""
    head = await head_of(connection, project_id)
    async for position, part in event_parts(connection, project_id, form, head, archive):
        target.write(part)
        on_progress(position, head)
    return head


async def head_of(connection: AsyncConnection[Any], project_id: UUID) -> int:
    """The last position of a project's log; 0 when there is none."""
    return (await read_head(connection, project_id)).next_position - 1


async def event_parts(
    connection: AsyncConnection[Any], project_id: UUID, form: Format, until: int, archive: Path | None = None
) -> AsyncIterator[tuple[int, bytes]]:
    """A file of a project's events up to a position, part by part, each with the position it has come to.

    Holds one page of the log at a time, and no transaction between two. Management facts carry the hash of a
    secret key at most, never a key.
    """
    parts = _Parts()
    writer = await asyncio.to_thread(_writer, form, EVENT_FIELDS, parts)
    async for rows in _pages(connection, project_id, until, archive):
        await asyncio.to_thread(writer.write, rows)
        yield rows[-1][0], parts.take()
    writer.close()
    yield until, parts.take()


def export_results(results: Results, form: Format, target: BinaryIO) -> int:
    """Write a row for each goal and variant; how many there were."""
    rows = list(_result_rows(results))
    writer = _writer(form, RESULT_FIELDS, target)
    writer.write(rows)
    writer.close()
    return len(rows)


async def _pages(
    connection: AsyncConnection[Any], project_id: UUID, head: int, archive: Path | None
) -> AsyncIterator[list[tuple[Any, ...]]]:
    after = 0
    while after < head:
        async with connection.transaction():
            until = await show_log(connection, project_id, after + 1, archive) or head
            parameters = {
                "project_id": project_id,
                "after": after,
                "until": min(until, head),
                "rows_max": PAGE_ROWS,
            }
            rows = await (await connection.execute(queries("event_log")["events_page"], parameters)).fetchall()
        yield rows
        after = rows[-1][0]


def _result_rows(results: Results) -> Sequence[tuple[Any, ...]]:
    variants = {variant.variant_id: variant for variant in results.variants}
    rows = []
    for goal in results.goals:
        compared = {comparison.variant_id: comparison for comparison in goal.comparisons}
        for arm in goal.variants:
            against, variant = compared.get(arm.variant_id), variants[arm.variant_id]
            rows.append(
                (
                    goal.name,
                    goal.role,
                    goal.kind,
                    str(arm.variant_id),
                    variant.name,
                    arm.visitors,
                    arm.converters,
                    arm.conversions,
                    arm.rate,
                    arm.value.sum if arm.value else None,
                    against.relative.estimate if against else None,
                    against.relative.low if against else None,
                    against.relative.high if against else None,
                    against.p_value if against else None,
                    against.always_valid.p_value if against else None,
                    against.bayes.chance_to_beat if against else None,
                    against.verdict if against else None,
                    results.as_of.position,
                    results.digest,
                    variant.is_control,
                    variant.weight,
                    variant.impressions,
                    variant.multiple_exposures,
                    *(_decided(against) if against else (None,) * 5),
                    against.reason if against else arm.reason,
                )
            )
    return rows


def _decided(against: ComparisonResult) -> tuple[Any, ...]:
    """The method that the verdict follows, its error, its limits of the lift and its p-value."""
    if against.regime == "fixed":
        lift, p_value = against.relative, against.p_value
    else:
        limits = against.group_sequential if against.regime == "group_sequential" else against.always_valid
        assert limits is not None  # noqa: S101  (group sequential limits come with their regime)
        lift, p_value = limits.relative, limits.p_value
    return against.regime, against.alpha, lift.low, lift.high, p_value


class _Parts(io.RawIOBase):
    """A file that is taken away in parts while it is written."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        """For who writes text into it."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  (whatever holds bytes)
        """Add to the part at hand."""
        self._written.append(bytes(data))
        self._length += len(self._written[-1])
        return len(self._written[-1])

    def tell(self) -> int:
        """How much was written, also what was taken away: Parquet notes where its parts begin."""
        return self._length

    def take(self) -> bytes:
        """What was written since the last time."""
        part, self._written = b"".join(self._written), []
        return part


_Target = BinaryIO | _Parts


class _CsvWriter:
    def __init__(self, fields: Sequence[str], target: _Target) -> None:
        self._text = io.TextIOWrapper(cast("BinaryIO", target), "utf-8", newline="", write_through=True)
        self._csv = csv.writer(self._text)
        self._csv.writerow(fields)

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._csv.writerows([[_csv_value(value) for value in row] for row in rows])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _NdjsonWriter:
    def __init__(self, fields: Sequence[str], target: _Target) -> None:
        self._fields = fields
        self._target = target

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        lines = [
            msgspec.json.encode(
                {
                    field: msgspec.Raw(value.encode()) if field in _JSON_FIELDS and value else value
                    for field, value in zip(self._fields, row, strict=True)
                }
            )
            for row in rows
        ]
        self._target.write(b"".join(line + b"\n" for line in lines))

    def close(self) -> None:
        self._target.flush()


class _ParquetWriter:
    def __init__(self, fields: Sequence[str], target: _Target) -> None:
        import pyarrow as pa  # noqa: PLC0415  (slow to import, and other formats do without)
        import pyarrow.parquet as pq  # noqa: PLC0415

        self._pa = pa
        types = {
            "position": pa.int64(),
            "receivedAt": pa.timestamp("us", "UTC"),
            "occurredAt": pa.timestamp("us", "UTC"),
            **dict.fromkeys(
                ("visitors", "converters", "conversions", "impressions", "multipleExposures"), pa.int64()
            ),
            "isControl": pa.bool_(),
            **dict.fromkeys(
                (
                    "rate",
                    "valueSum",
                    "liftEstimate",
                    "liftLow",
                    "liftHigh",
                    "pValue",
                    "alwaysValidPValue",
                    "chanceToBeat",
                    "weight",
                    "alpha",
                    "decidedLiftLow",
                    "decidedLiftHigh",
                    "decidedPValue",
                ),
                pa.float64(),
            ),
        }
        self._schema = pa.schema([(field, types.get(field, pa.string())) for field in fields])
        self._writer = pq.ParquetWriter(target, self._schema, compression="zstd")

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        plain = [tuple(str(value) if isinstance(value, UUID) else value for value in row) for row in rows]
        columns = zip(*plain, strict=True) if plain else [[] for _ in self._schema]
        arrays = [self._pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_Writer = _CsvWriter | _NdjsonWriter | _ParquetWriter


def _writer(form: Format, fields: Sequence[str], target: _Target) -> _Writer:
    writers: dict[Format, type[_Writer]] = {
        "csv": _CsvWriter,
        "ndjson": _NdjsonWriter,
        "parquet": _ParquetWriter,
    }
    return writers[form](fields, target)


def _csv_value(value: object) -> object:
    # A cell that a spreadsheet would run as a formula is quoted as text.
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return "'" + value
    return value
