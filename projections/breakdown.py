"""One experiment's visitors and outcomes by a dimension of their first exposure, now or at a past moment."""

from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed

from projections.queries import queries

Dimension = Literal["device", "browser", "os", "country", "referrer", "utm_source", "utm_medium", "utm_campaign"]


class SegmentVisitors(NamedTuple):
    """Distinct visitors of one variant and epoch with one value of a dimension; None where it is not known."""

    value: str | None
    variant_id: UUID
    epoch: int
    visitors: int


class SegmentOutcomes(NamedTuple):
    """What those visitors achieved for a goal, sums exact."""

    value: str | None
    variant_id: UUID
    epoch: int
    converters: int
    conversions: int
    value_sum: Decimal
    value_squares: Decimal


class Segments(NamedTuple):
    """All rows of a breakdown, of one moment."""

    visitors: list[SegmentVisitors]
    outcomes: list[SegmentOutcomes]


async def read_segments(
    connection: AsyncConnection[Any], when: Literal["now", "then"], parameters: dict[str, Any]
) -> Segments:
    """Visitors, and their outcomes for a goal, by the values of a dimension.

    `now` reads the tables that unqualified names mean; `then` is for a replay, which gives `snapshot` and
    `position` with the other parameters: `project_id`, `experiment_id`, `dimension` and `goal`. Conversions by ids
    that were never exposed belong to no segment. QueryCanceled where it takes too long: it is the one read that
    grows with visitors.
    """
    sql = queries("breakdown")
    for before in ("limit", "read_many"):
        await connection.execute(sql[before])
    cursor = await connection.execute(_statement(when), parameters)
    for after in ("no_limit", "loops"):  # a replay goes on in the same transaction
        await connection.execute(sql[after])
    rows = await cursor.fetchall()
    return Segments(
        [SegmentVisitors(*row[:4]) for row in rows],
        [SegmentOutcomes(*row[:3], *row[4:]) for row in rows if row[4]],
    )


def _statement(when: str) -> Composed:
    sql = queries("breakdown")
    exposed, achieved, described = (SQL(sql[f"{part}_{when}"]) for part in ("exposed", "achieved", "described"))
    return SQL("with exposed as ({}), achieved as ({}), described as ({}), valued as ({}) {}").format(
        exposed, achieved, described, SQL(sql["values"]), SQL(sql["counted"])
    )
