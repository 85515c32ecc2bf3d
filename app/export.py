"""Exports: events in the order of the log, results as rows, as CSV, NDJSON or Parquet."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from app.results_shape import Results
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
)
_JSON_FIELDS = {"utm", "eventData", "context"}


async def export_events(
    connection: AsyncConnection[Any],
    project_id: UUID,
    form: Format,
    target: BinaryIO,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    archive: Path | None = None,
) -> int:
    """Write every event of a project, in order, as of now, also those in the archive; how many there were.

    Management facts carry the hash of a secret key at most, never a key.
    """
    head = (await read_head(connection, project_id)).next_position - 1
    writer = _writer(form, EVENT_FIELDS, target)
    async for rows in _pages(connection, project_id, head, archive):
        writer.write(rows)
        on_progress(rows[-1][0], head)
    writer.close()
    return head


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
    names = {variant.variant_id: variant.name for variant in results.variants}
    rows = []
    for goal in results.goals:
        compared = {comparison.variant_id: comparison for comparison in goal.comparisons}
        for arm in goal.variants:
            against = compared.get(arm.variant_id)
            rows.append(
                (
                    goal.name,
                    goal.role,
                    goal.kind,
                    str(arm.variant_id),
                    names[arm.variant_id],
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
                )
            )
    return rows


class _CsvWriter:
    def __init__(self, fields: Sequence[str], target: BinaryIO) -> None:
        self._text = io.TextIOWrapper(target, "utf-8", newline="", write_through=True)
        self._csv = csv.writer(self._text)
        self._csv.writerow(fields)

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._csv.writerows([[_csv_value(value) for value in row] for row in rows])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _NdjsonWriter:
    def __init__(self, fields: Sequence[str], target: BinaryIO) -> None:
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
    def __init__(self, fields: Sequence[str], target: BinaryIO) -> None:
        import pyarrow as pa  # noqa: PLC0415  (slow to import, and other formats do without)
        import pyarrow.parquet as pq  # noqa: PLC0415

        self._pa = pa
        types = {
            "position": pa.int64(),
            "receivedAt": pa.timestamp("us", "UTC"),
            "occurredAt": pa.timestamp("us", "UTC"),
            **dict.fromkeys(("visitors", "converters", "conversions"), pa.int64()),
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


def _writer(form: Format, fields: Sequence[str], target: BinaryIO) -> _Writer:
    writers: dict[Format, type[_Writer]] = {
        "csv": _CsvWriter,
        "ndjson": _NdjsonWriter,
        "parquet": _ParquetWriter,
    }
    return writers[form](fields, target)


def _csv_value(value: object) -> object:
    # A cell that a spreadsheet would run as a formula is quoted as text.
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return "'" + value
    return value
