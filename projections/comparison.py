"""Comparison: whether two sets of derived tables say the same of a project, now and at each snapshot of both."""

from itertools import accumulate
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier, Literal

from projections.catch_up import derived_tables, past_tables
from projections.queries import queries

# A tally that has come back to zero is the same as none.
_COUNTS: dict[str, LiteralString] = {
    "variant_tally": "(visitors <> 0 or multiple_exposures <> 0)",
    "impression_tally": "impressions <> 0",
    "goal_tally": "converters <> 0",
    "visitor_unattributed": "events <> 0",
    "unattributed_tally": "events <> 0",
}


class Difference(NamedTuple):
    """Rows of one table that two derivations of the same log do not share."""

    project_id: UUID
    table: str
    rows: int


async def compare(connection: AsyncConnection[Any], project_id: UUID, schema: str, other: str) -> list[Difference]:
    """Tables of a project that are not the same in two schemas; rows that say zero do not count.

    Where only what snapshots show differs, the table with `_past` is named.
    """
    shown = {
        one: await _in_common(connection, project_id, one, another)
        for one, another in ((schema, other), (other, schema))
    }
    differences = []
    for table in derived_tables():
        columns = await (
            await connection.execute(queries("catch_up")["columns_compared"], {"table": table, "schema": schema})
        ).fetchall()
        compared = _Compared(connection, project_id, table, columns, shown)
        if await compared.sums(schema) == await compared.sums(other):
            continue
        rows, past_rows = await compared.rows_unequal(schema, other)
        if rows:
            differences.append(Difference(project_id, table, rows))
        elif past_rows:
            differences.append(Difference(project_id, f"{table}_past", past_rows))
    return differences


class _Compared:
    """One table of a project, and what older snapshots show of it."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        project_id: UUID,
        table: str,
        columns: list[Any],
        shown: dict[str, list[int]],
    ) -> None:
        self._connection, self._project_id, self._table, self._shown = connection, project_id, table, shown
        self._names = SQL(", ").join(Identifier(name) for name, _ in columns)
        self._values = SQL(", ").join(
            SQL("{}::text").format(Identifier(name)) if is_json else Identifier(name) for name, is_json in columns
        )
        self._has_past = f"{table}_past" in past_tables()

    async def sums(self, schema: str) -> Any:  # noqa: ANN401  (only to be compared)
        """Sums of hashes, which tell equal tables in one pass, without sorting what grows with the visitors.

        A row counts from the first snapshot of both on that shows it, and no longer from the one that shows it
        otherwise. So it does not matter what went and came back in between, which depends on where steps end.
        """
        if not self._has_past:
            rows = self._rows(
                schema, "", SQL("hash_record_extended(row({values}), 0) as begin, null::bigint as until")
            )
        else:
            begin = "hash_record_extended(row({values}), {since}) as begin, "
            rows = SQL("{} union all {}").format(
                self._rows(schema, "", SQL(begin + "null::bigint as until")),
                self._rows(schema, "_past", SQL(begin + "hash_record_extended(row({values}), {until}) as until")),
            )
        sums = SQL("select sum(begin) - coalesce(sum(until), 0), count(*) - count(until) from ({}) found")
        return await self._one(sums.format(rows))

    async def rows_unequal(self, schema: str, other: str) -> tuple[int, int]:
        """How many rows differ, and how many beginnings and ends of rows that snapshots show."""
        rows = [self._rows(each, "", SQL("{values}")) for each in (schema, other)]
        [now] = await self._one(_UNEQUAL.format(*rows))
        if now or not self._has_past:
            return now, 0
        [past] = await self._one(_UNEQUAL.format(self._changes(schema), self._changes(other)))
        return 0, past

    def _changes(self, schema: str) -> Composed:
        """Which rows begin and end at which snapshot; what goes and comes back at one is no change."""
        return SQL(
            "select {names}, snapshot, sum(sign)"
            " from ({now} union all {past} union all {ended}) moved ({names}, snapshot, sign)"
            " group by {names}, snapshot having sum(sign) <> 0"
        ).format(
            names=self._names,
            now=self._rows(schema, "", SQL("{values}, {since}, 1")),
            past=self._rows(schema, "_past", SQL("{values}, {since}, 1")),
            ended=self._rows(schema, "_past", SQL("{values}, {until}, -1")),
        )

    def _rows(self, schema: str, ending: str, selected: SQL) -> Composed:
        shown = Literal(self._shown[schema])
        return SQL("select {} from {}.{} where project_id = %(project_id)s and {}").format(
            selected.format(
                values=self._values,
                since=SQL("({}::int[])[since]").format(shown),
                until=SQL("({}::int[])[until]").format(shown),
            ),
            Identifier(schema),
            Identifier(self._table + ending),
            SQL(_COUNTS.get(self._table, "true")),
        )

    async def _one(self, query: Composed) -> Any:  # noqa: ANN401  (one row)
        return await (await self._connection.execute(query, {"project_id": self._project_id})).fetchone()


async def _in_common(connection: AsyncConnection[Any], project_id: UUID, schema: str, other: str) -> list[int]:
    """For each snapshot in a schema, and for the one to come, how many that both have come before it.

    By number less one: snapshots of a project are numbered in their order, from 1 on and without a gap.
    """
    asked = SQL(
        "select mine.position, theirs.position is not null"
        " from {}.projection_snapshot mine left join {}.projection_snapshot theirs using (project_id, position)"
        " where project_id = %(project_id)s order by mine.position"
    ).format(Identifier(schema), Identifier(other))
    cursor = await connection.execute(asked, {"project_id": project_id})
    are_common = [is_common for _, is_common in await cursor.fetchall()]
    return [0, *accumulate(int(each) for each in are_common)]


_UNEQUAL = SQL("select count(*) from (({0} except all {1}) union all ({1} except all {0})) difference")
